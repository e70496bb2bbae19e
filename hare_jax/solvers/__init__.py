"""Searches that know no recourse method: boundary search, argmin with implicit derivatives, local search."""
