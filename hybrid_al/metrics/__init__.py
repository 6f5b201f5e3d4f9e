"""Metrics of predictions and of their calibration; only here are predictions compared with the truth."""
