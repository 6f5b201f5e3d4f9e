"""Encoders and checkpoints: how a network is made, saved and loaded."""
