"""Values and decisions of money; no clock, store or wire."""
