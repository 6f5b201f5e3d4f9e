"""Regions: the parts of images that a query may ask about."""
