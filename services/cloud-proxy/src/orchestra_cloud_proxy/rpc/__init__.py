"""Proto in, flow, proto out."""
