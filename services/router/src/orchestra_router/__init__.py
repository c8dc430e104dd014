"""The router: which model answers, failover before the first token, fan-out, and the mesh's public API."""
