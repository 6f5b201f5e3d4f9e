"""Stores: decoded images, masks and rows of numbers on disk, found by what they were made from."""
