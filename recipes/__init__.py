"""The shipped recipes, one YAML per modality."""
