"""llama.cpp by xllamacpp."""
