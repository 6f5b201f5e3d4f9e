"""Trackers: metrics.jsonl (always), Weights & Biases, and the HTML report; mirrors of the run directory."""
