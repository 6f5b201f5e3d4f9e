"""Pure functions from probabilities to scores; those of NumPy and of torch side by side."""
