"""Differences of the original implementation, and its results."""
