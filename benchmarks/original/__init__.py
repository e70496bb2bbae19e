"""What the original did differently, and its figures."""
