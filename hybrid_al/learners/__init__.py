"""Learners: what is trained in a round, and what it says of samples."""
