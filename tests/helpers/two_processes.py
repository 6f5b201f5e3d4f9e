"""Stage 0 by every method on 16 drawn cells, shared by the processes that torchrun starts; process 0 writes what came.

python -m torch.distributed.run --standalone --nproc-per-node 2 tests/helpers/two_processes.py FOLDER
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import pretrain.loop as loop_module
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.policies import ViewPolicy
from hybrid_al.models.checkpoint import digest_of
from hybrid_al.models.encoder import Encoder, build_encoder
from pretrain import METHODS, processes
from pretrain.base import Method
from pretrain.loop import Job

POOL, STEPS, KILL = 48, 6, 4
VIT: dict[str, Any] = {"patch_size": 4, "depth": 2, "embed_dim": 32, "num_heads": 2}
SMALL: dict[str, dict[str, int]] = {"dino": {"codes": 16}}
VIEWS = ViewPolicy(crop=0.7, hflip=True, rotate=20, brightness=0.3, blur=0.3)


class Stop(Exception):
    """The kill."""


def without_batch_norm(method: Method) -> Method:
    """The method with nothing in the place of batch norm, whose statistics are those of one process on CPUs."""

    class Without(type(method)):  # type: ignore[misc]
        def network(self, encoder: Encoder, example: torch.Tensor) -> nn.ModuleDict:
            network: nn.ModuleDict = super().network(encoder, example)
            for module in list(network.modules()):
                for name, child in module.named_children():
                    if isinstance(child, nn.BatchNorm1d):
                        setattr(module, name, nn.Identity())
            return network

    made: Method = Without(**vars(method))
    return made


@dataclass
class Trained:
    """A training by some method: its loss after each epoch, here one step or three long."""

    name: str
    folder: Path
    images: int = 16
    drop: float = 0.0
    accumulate: int = 1
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        store = ImageStore.build(
            Phantom(n_pool=POOL, n_val=0, n_test=5, size=16).load(),
            image_size=16,
            channels=1,
            cache=self.folder / ".cache",
        )
        settings = {"epochs": STEPS * 16 // self.images, "batch": 16, "accumulate": self.accumulate}
        options = {**VIT, "proj_drop_rate": self.drop}
        self.job = Job(
            method=without_batch_norm(replace(METHODS[self.name](), **settings, **SMALL.get(self.name, {}))),  # type: ignore[type-var]
            encoder=build_encoder("vit_tiny_patch16_224", channels=1, image_size=16, seed=0, options=options),
            store=store,
            pool=np.arange(self.images),
            views=VIEWS,
            seed=0,
            device=torch.device("cpu"),
            resume=self.folder / "resume.pt",
            records=self.folder / f"{self.name}.npz",
        )

    def go(self, *, stop_at: int | None = None) -> Trained:
        """Train, or be killed before the checkpoint of step `stop_at`."""

        def progress(done: int, total: int, message: str) -> None:
            if done == stop_at:
                raise Stop

        loop_module.pretrain(
            self.job, log=lambda values, step: self.losses.append(values["stage0/loss"]), progress=progress
        )
        return self

    def came(self) -> dict[str, Any]:
        """What is compared."""
        assert self.job.records is not None
        found = dict(np.load(self.job.records)) if self.job.records.is_file() else {}
        return {
            "losses": self.losses,
            "encoder": digest_of(self.job.encoder),
            "records": {key: values[: self.images].tolist() for key, values in found.items()},
        }


def main(folder: Path) -> None:
    """Every method; and BYOL with dropout, killed in the middle of an epoch and gone on with, against not killed."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: Trained(name, folder).go().came() for name in METHODS}
    found["parts"] = Trained("simclr", folder, accumulate=2).go().came()
    found["whole"] = Trained("byol", folder, images=POOL, drop=0.2).go().came()
    loop_module.CHECKPOINT_SECONDS = -1.0
    with contextlib.suppress(Stop):
        Trained("byol", folder, images=POOL, drop=0.2).go(stop_at=KILL + 1)
    loop_module.CHECKPOINT_SECONDS = 60.0
    found["resumed"] = Trained("byol", folder, images=POOL, drop=0.2).go().came()
    if processes.rank() == 0:
        (folder / "came.json").write_text(json.dumps({**found, "processes": processes.world()}), encoding="utf-8")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
