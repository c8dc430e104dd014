"""A server that runs already: llama-server, vLLM or TabbyAPI."""
