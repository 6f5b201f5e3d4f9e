"""What travels between the planes: values, protocols, the run directory; no model, no path of the data."""
