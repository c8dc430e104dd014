"""Short stories that call ports and ask the domain."""
