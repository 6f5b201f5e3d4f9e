"""Oracles: who answers queries, and how."""
