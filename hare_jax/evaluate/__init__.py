"""Metrics, their summaries, and populations of users in one call."""
