"""The model-manager: the right models on the right devices, phase by phase."""
