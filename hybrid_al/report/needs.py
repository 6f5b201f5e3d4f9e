"""What a recipe would need of memory, disk and time, from its networks and the number of images; beyond the machine it
is refused before it starts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..core.progress import in_words
from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..assemble import Project
    from ..data.stores.images import ImageStore
    from ..models.encoder import Encoder
    from ..recipe import Recipe
    from ..tasks.base import Setting

LIBRARIES = 0.8 * 2**30  # bytes that the imported libraries take
ROW = 1500  # bytes of a sample in the manifest and the records
CHUNK_PIXELS = 2**17  # as `learners.predict.embed` has them
ADAM = 6  # copies of a network in training: weights, gradients, two moments, the teacher, and one that is saved
IN_PLACE = 0.65  # share of the feature maps that are kept for the gradient: activations overwrite their inputs
LONGEST = 60 * 24 * 365.0  # minutes: a year, as the guess is rough and a busy machine doubles it


@dataclass(frozen=True)
class Needs:
    """Bytes of memory and disk, and minutes on this machine's CPU; all rough."""

    memory: float
    disk: float
    minutes: float

    def line(self) -> str:
        """In words, for `check`."""
        return (
            f"  disk about {self.disk / 2**20:.0f} MiB, memory about {self.memory / 2**30:.1f} GiB, "
            f"networks about {in_words(60 * self.minutes)} on this machine's CPU"
        )

    def check(self) -> None:
        """InputError where the machine has less memory, or a run would take longer than `LONGEST`."""
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else self.memory
        if self.memory > there:
            expected = f"what fits into the {there / 2**30:.0f} GiB of memory of this machine"
            raise InputError("recipe", expected, f"a need of about {self.memory / 2**30:.0f} GiB")
        if self.minutes > LONGEST:
            expected = f"a training of at most {LONGEST:.0f} minutes"
            raise InputError("recipe", expected, f"one of about {self.minutes:.0f} minutes")


class Pretraining(Protocol):
    """What a method of stage 0 says of its size."""

    @property
    def epochs(self) -> int:
        """Passes over the pool."""
        ...

    @property
    def batch(self) -> int:
        """Images a step."""
        ...

    @property
    def accumulate(self) -> int:
        """Chunks of a step."""
        ...


def needs(project: Project, store: ImageStore, encoder: Encoder, method: Pretraining | None) -> Needs:
    """The needs of a run of a project whose encoder is that before stage 0, with the method of its stage 0."""
    import torch

    from ..components import training

    recipe, n, pool = project.recipe, len(store), len(project.dataset.manifest.indices("pool"))
    images = torch.zeros(16, store.channels, store.size, store.size)
    kept, largest, dim, seconds = _pass(encoder, images)
    weights = float(4 * sum(p.numel() for p in encoder.parameters()))
    _, schedule = training(recipe)
    frozen = bool(getattr(project.setting.learner[1], "frozen", False))
    fitted = schedule.batch * (1 + 2 * schedule.ratio)  # images in a step: labeled, and two views of each unlabeled
    views, members = _views(project.setting), schedule.members * schedule.cycles
    chunk = max(16, CHUNK_PIXELS // store.size**2)
    parts = [4 * 512 * images[0].numel() + chunk * largest]
    if method is not None:
        batch = min(method.batch, pool)
        parts.append(2 * batch / method.accumulate * kept + ADAM * weights)
    head = 4.0 * dim * 64 if frozen else weights
    parts.append((0 if frozen else fitted * kept * (2 if project.task.drawable else 1)) + (ADAM + 2 * members) * head)
    minutes = _minutes(recipe, project.setting, method, n, pool, seconds)
    mapped = n * (2 * dim * views * frozen + 4 * dim) + store.images.nbytes
    disk = mapped + weights + len(recipe.loop.budgets) * 2 * members * head
    return Needs(LIBRARIES + max(parts) + mapped + ROW * n, disk, minutes)


def guess(recipe: Recipe, method: Pretraining | None, counts: Mapping[str, int], channels: int) -> float:
    """Minutes of the networks of a run on this machine's CPU, before its data are read; rough.

    method  of stage 0
    counts  images in each split
    """
    import torch

    from ..components import make_encoder, setting_of

    size = recipe.data.image_size
    encoder = make_encoder(recipe.encoder, channels=channels, image_size=size, seed=0, weights=None)
    _, _, _, seconds = _pass(encoder, torch.zeros(16, channels, size, size))
    n, pool = sum(counts.values()), counts.get("pool", 0)
    return _minutes(recipe, setting_of(recipe), method, n, pool, seconds)


def _views(setting: Setting) -> int:
    """Views of an image that a frozen learner keeps."""
    return sum(int(getattr(setting.learner[1], name, 0)) for name in ("weak_views", "strong_views"))


def _minutes(recipe: Recipe, setting: Setting, method: Pretraining | None, n: int, pool: int, seconds: float) -> float:
    """Minutes of embedding, stage 0 and all rounds, where a pass of an image takes some seconds."""
    from ..components import training

    _, schedule = training(recipe)
    frozen = bool(getattr(setting.learner[1], "frozen", False))
    fitted = schedule.batch * (1 + 2 * schedule.ratio)
    minutes = n * seconds / 60 * (1 + _views(setting) * frozen)
    if method is not None:
        minutes += 6 * method.epochs * pool * seconds / 60
    steps = schedule.steps * schedule.accumulate * schedule.members * schedule.cycles * len(recipe.loop.budgets)
    return float(minutes + steps * (1e-3 if frozen else 3 * fitted * seconds) / 60)


def _pass(encoder: Encoder, images: object) -> tuple[float, float, int, float]:
    """Of one image: bytes of all feature maps, twice the largest of them, numbers of its embedding, and seconds."""
    import torch

    x = images if isinstance(images, torch.Tensor) else torch.zeros(1)
    sizes: list[float] = [x[0].numel() * 4.0]

    def note(_: object, __: object, out: object) -> None:
        if isinstance(out, torch.Tensor):
            sizes.append(4.0 * out.numel() / len(x))

    leaves = [module for module in encoder.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(note) for module in leaves]
    with torch.no_grad():
        encoder.eval()
        start = time.perf_counter()
        dim = encoder(x).shape[1]
        seconds = (time.perf_counter() - start) / len(x)
    for hook in hooks:
        hook.remove()
    return IN_PLACE * sum(sizes), 3 * max(sizes), dim, seconds
