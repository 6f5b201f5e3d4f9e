"""Regions: the parts of images that a query asks about."""
