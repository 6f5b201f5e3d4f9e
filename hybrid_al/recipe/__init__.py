"""Recipes: validated YAML. No code of the loop reads one: `components.py` and `assemble.py` turn it into objects.

A recipe holds only what differs from the defaults.
"""

from .files import is_run, of_run, shipped_recipes
from .reading import changed, load, load_variants, parse
from .sections import (
    PROBE,
    Arms,
    Bench,
    Component,
    Data,
    EmbeddingsSection,
    EncoderSection,
    Recipe,
)

__all__ = [
    "PROBE",
    "Arms",
    "Bench",
    "Component",
    "Data",
    "EmbeddingsSection",
    "EncoderSection",
    "Recipe",
    "changed",
    "is_run",
    "load",
    "load_variants",
    "of_run",
    "parse",
    "shipped_recipes",
]
