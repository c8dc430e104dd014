"""An engine that computes nothing: declared speed, memory and failures."""
