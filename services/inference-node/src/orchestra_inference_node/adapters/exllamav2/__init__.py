"""exllamav2 on CUDA."""
