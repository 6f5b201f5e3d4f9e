"""Trackers by name: mirrors of a run beside metrics.jsonl; adding one = one file, one line here."""

from __future__ import annotations

from .base import TrackerSettings
from .mlflow import MLflow
from .tensorboard import TensorBoard
from .wandb import Wandb

TRACKERS: dict[str, type[TrackerSettings]] = {
    "mlflow": MLflow,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}
