"""Learners by name: what is trained in a round, and predicts afterwards; adding one = one file, one line here."""

from __future__ import annotations

from typing import Any

from .attention import Attention
from .finetune import Finetune
from .frozen import Frozen
from .linear import Linear

LEARNERS: dict[str, type[Any]] = {
    "finetune": Finetune,
    "frozen": Frozen,
    "linear": Linear,
    "attention": Attention,
}
