"""exllamav2 imports it beside flash_attn, to see that it was built."""
