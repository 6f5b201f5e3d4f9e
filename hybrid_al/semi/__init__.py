"""Semi-supervised objectives by name; adding one = one file, one line here."""

from __future__ import annotations

from .base import Objective
from .fixmatch import FixMatch
from .mean_teacher import MeanTeacher
from .supervised import Supervised

OBJECTIVES: dict[str, type[Objective]] = {
    "supervised": Supervised,
    "fixmatch": FixMatch,
    "mean_teacher": MeanTeacher,
}
