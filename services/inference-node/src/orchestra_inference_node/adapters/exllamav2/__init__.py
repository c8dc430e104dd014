"""exllamav2: the engine of the design, for CUDA cards."""
