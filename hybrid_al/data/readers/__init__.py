"""Readers: what decodes a file."""
