"""Tasks by name: what labels are, and all that follows from it; adding one = its files, one line here."""

from __future__ import annotations

from .bags import BagTask
from .base import Task
from .classification import Classification
from .multilabel import Multilabel
from .segmentation import Segmentation

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "multilabel": Multilabel,
    "segmentation": Segmentation,
    "bags": BagTask,
}
