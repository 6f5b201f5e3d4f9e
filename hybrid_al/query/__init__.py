"""Queries: which samples to ask about next; strategies, batch makers and the terms that scores are made of."""
