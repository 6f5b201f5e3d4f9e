"""Tasks: what labels are, and all that follows from it."""
