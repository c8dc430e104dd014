"""Proto to flow and back."""
