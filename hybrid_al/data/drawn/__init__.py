"""Masks that are drawn in files of other tools: outlines and runs of pixels, by the names of their classes."""
