"""Trackers by name: mirrors of a run beside metrics.jsonl; adding one = one file, one line here."""

from __future__ import annotations

from .base import TrackerSettings
from .wandb import Wandb

TRACKERS: dict[str, type[TrackerSettings]] = {
    "wandb": Wandb,
}
