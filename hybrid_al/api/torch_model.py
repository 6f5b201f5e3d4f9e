"""`TorchModel`: a torch module with `fit` and `predict_proba`, for `Loop`."""

from __future__ import annotations

import copy
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..assemble import device_of
from ..core.rng import derive, derive_seed
from ..core.types import FloatArray, IntArray
from ..errors import InputError
from ..models.checkpoint import load_into

BLOCK = 512


class TorchModel:
    """A classifier of torch: inputs (B, ...) -> logits (B, C), trained by cross-entropy and AdamW.

    module        it is trained in place, from the weights that it has now, anew in each fit
    epochs        over the labeled samples; batch: samples of a step; lr and weight_decay: those of AdamW
    passes        1, or so many passes with dropout, for strategies that compare them (bald, mean_std, ...)
    seed, device  the same seed trains to the same weights on a CPU

    Floats become float32. Errors: a loss that is not finite, logits of another shape, a device that is not there.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        epochs: int = 100,
        batch: int = 32,
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        passes: int = 1,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        for name, value in (("epochs", epochs), ("batch", batch), ("passes", passes)):
            if value < 1:
                raise InputError(f"TorchModel: {name}", "1 or more", str(value))
        self.module, self.epochs, self.batch, self.lr, self.weight_decay = module, epochs, batch, lr, weight_decay
        self.passes, self.seed, self.device = passes, seed, device_of(device)
        self._start = copy.deepcopy(module.state_dict())

    def fit(self, inputs: npt.NDArray[np.generic], targets: IntArray, /) -> TorchModel:
        """Train on inputs (K, ...) and their classes (K,)."""
        load_into(self.module, self._start, "TorchModel")
        network, rng = self.module.to(self.device).train(), derive(self.seed, "batches")
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        parts = math.ceil(len(targets) / self.batch)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(derive_seed(self.seed, "fit"))
            for _ in range(self.epochs):
                for rows in np.array_split(rng.permutation(len(targets)), parts):
                    truth = torch.as_tensor(targets[rows], device=self.device)
                    loss = nn.functional.cross_entropy(self._logits(inputs[rows]), truth)
                    if not torch.isfinite(loss):
                        raise InputError("TorchModel.fit", "a finite loss", f"{loss.item()} at learning rate {self.lr}")
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
        network.eval()
        return self

    @torch.no_grad()
    def predict_proba(self, inputs: npt.NDArray[np.generic], /) -> FloatArray:
        """Class probabilities (N, C), or (N, passes, C) with dropout on and the rest in eval mode."""
        self.module.to(self.device).eval()
        if self.passes > 1:
            for layer in self.module.modules():
                if isinstance(layer, nn.modules.dropout._DropoutNd):
                    layer.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(derive_seed(self.seed, "predict"))
            passes = [
                torch.cat([self._logits(inputs[i : i + BLOCK]).softmax(dim=1) for i in range(0, len(inputs), BLOCK)])
                for _ in range(self.passes)
            ]
        self.module.eval()
        probs: FloatArray = torch.stack(passes, dim=1).double().cpu().numpy()
        return probs[:, 0] if self.passes == 1 else probs

    def _logits(self, inputs: npt.NDArray[np.generic]) -> Tensor:
        rows = torch.as_tensor(np.ascontiguousarray(inputs), device=self.device)
        logits: Tensor = self.module(rows.float() if rows.is_floating_point() else rows)
        if logits.ndim != 2 or len(logits) != len(rows):
            raise InputError("TorchModel", f"logits ({len(rows)}, C)", str(tuple(logits.shape)))
        return logits
