"""Numbers of a pretraining for every sample: its loss, and the network's confidence over the epochs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybrid_al.core.types import FloatArray, IntArray

from .base import Loss


class Records:
    """Running sums over a training, for N samples; part of its checkpoint.

    An epoch leaves out the images that do not fill a batch, different ones each time, so visits are not equally many.
    """

    def __init__(self, n: int) -> None:
        self._sums: dict[str, FloatArray | IntArray] = {
            "loss": np.full(n, np.nan),
            "confidence": np.full(n, np.nan),
            "squares": np.full(n, np.nan),
            "seen": np.zeros(n, dtype=np.int64),
        }

    def add(self, rows: IntArray, loss: Loss) -> None:
        """Add the loss of one step for the samples `rows` (B,), which are distinct."""
        sums = self._sums
        sums["seen"][rows] += 1
        if loss.per_sample is not None:
            sums["loss"][rows] = loss.per_sample.double().cpu().numpy()
        if loss.confidence is not None:
            confidence = loss.confidence.double().cpu().numpy()
            for name, value in (("confidence", confidence), ("squares", confidence**2)):
                sums[name][rows] = np.nan_to_num(sums[name][rows]) + value

    def arrays(self) -> dict[str, FloatArray | IntArray]:
        """Contents of `stage0/records.npz`; empty where the method has no number per sample.

        pretext_loss  (N,) in the last epoch in which the sample was seen
        confidence    (N,) mean over the epochs: the first axis of a dataset map (Swayamdipta et al., EMNLP 2020, 2.1;
                      for contrastive training as in CSVAL, Chen et al., MIDL 2023)
        variability   (N,) standard deviation over the epochs, its second axis
        epochs_seen   (N,) integers

        Samples without a number (outside the pool, never in a batch) have nan, and 0 in `epochs_seen`.
        """
        visits, columns = np.maximum(self._sums["seen"], 1), {}
        if np.isfinite(self._sums["loss"]).any():
            columns["pretext_loss"] = self._sums["loss"]
        if np.isfinite(self._sums["confidence"]).any():
            mean = self._sums["confidence"] / visits
            columns["confidence"] = mean
            columns["variability"] = np.sqrt(np.maximum(self._sums["squares"] / visits - mean**2, 0))
        return {**columns, "epochs_seen": self._sums["seen"]} if columns else {}

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {name: torch.from_numpy(values.copy()) for name, values in self._sums.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self._sums = {name: values.numpy() for name, values in state.items()}
