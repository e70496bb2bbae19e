"""Searches shared by the recourse methods: boundary search, argmin with implicit derivatives, local search."""
