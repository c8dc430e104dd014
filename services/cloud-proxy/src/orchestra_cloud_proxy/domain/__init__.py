"""Values and decisions: standard library and error kinds only."""
