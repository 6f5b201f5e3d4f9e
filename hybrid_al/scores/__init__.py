"""Pure functions from probabilities to scores, in NumPy and in torch."""
