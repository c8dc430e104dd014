"""Values and decisions: what should be where, and the next step towards it."""
