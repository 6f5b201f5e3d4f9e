"""hybrid-al: self-supervised cold start, semi-supervised training, consistency-scored queries."""

__version__ = "0.1.0"
