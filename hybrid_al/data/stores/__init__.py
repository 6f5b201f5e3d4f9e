"""Stores on disk: decoded images, masks and rows of numbers, under digests of their origin."""
