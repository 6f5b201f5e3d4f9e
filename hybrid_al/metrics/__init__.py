"""Metrics: how good predictions are, and how honest; only here are they compared with the truth."""
