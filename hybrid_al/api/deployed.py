"""The model of a round on its own, without run and data: from images to calibrated probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..assemble import device_of
from ..components import make_encoder, setting_of, source, task_of, training
from ..core.files import read_arrays
from ..core.rundir import RunDir
from ..core.seals import sealed, whole
from ..core.temporary import scratch_folder
from ..core.types import FloatArray, IntArray
from ..data.loaders import blocks
from ..data.stores.images import ImageStore
from ..errors import InputError
from ..learners.committee import Networks
from ..learners.finetune import Finetune
from ..learners.frozen import Frozen
from ..learners.linear import Linear
from ..learners.predict import embed
from ..models.checkpoint import load_into, load_weights, save_weights
from ..models.classifier import Classifier, Standardize
from ..models.encoder import Encoder
from ..models.segmenter import network_or_committee
from ..recipe import Recipe, of_run, parse
from ..tasks.segmentation import Segmentation
from .images import Images, data_of
from .pixels_only import pixels_of

FORMAT = 1
BAGS = "bags"  # a task whose models see several images together
NOTE, WEIGHTS = "model.json", "model.safetensors"
PIXELS = ("source", "image_size", "channels", "window", "reader", "axis", "stack", "mask_values")
"""Keys of the `data` of a recipe that decide which pixels a model takes and which values its masks have."""
BLOCK, BLOCK_PIXELS = 256, 2**19  # images, or pixels with classes of their own, at once


@dataclass(frozen=True)
class ModelNote:
    """What a model is beside its weights.

    recipe    the recipe of its run, from which its networks are built
    channels  of the images: 1, 3 or the slices of a stack
    members   networks whose probabilities are averaged
    round, labels  the round that trained it, and on how many labels
    calibrated     whether the probabilities are calibrated: none, or the shape of the scale
    """

    name: str
    task: str
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    channels: int
    members: int
    round: int
    labels: int
    calibrated: tuple[int, ...] = ()
    format: int = FORMAT

    @property
    def image_size(self) -> int:
        """Side of the squares that the model takes, in pixels."""
        return int(self.recipe["data"]["image_size"])


class Deployed(nn.Module):
    """images (B, C, S, S) in [0, 1] -> probabilities.

    (B, K) of classes, (B, L) of each of several labels, or (B, K, S, S) of the classes of pixels. Those of a committee
    are means over its members; calibrated where its round calibrated.

    encoder  before members that take embeddings; None where they take images
    """

    def __init__(self, note: ModelNote, encoder: Encoder | None, members: list[nn.Module]) -> None:
        super().__init__()
        self.note, self.encoder, self.members = note, encoder, nn.ModuleList(members)
        shape = note.calibrated
        if shape:
            self.register_buffer("scale", torch.ones(shape))
            self.register_buffer("bias", torch.zeros(shape[:-1] if len(shape) > 1 else shape))
        self.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes or labels, in the order of the probabilities."""
        return self.note.classes

    @property
    def input_size(self) -> int:
        """Side to which an encoder scales images; 0: they are not scaled."""
        return 0 if self.encoder is None else self.encoder.input_size

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities."""
        x = images if self.encoder is None else self.encoder(images)
        probs = torch.stack([member(x).softmax(dim=1) for member in self.members]).mean(dim=0)
        if self.note.calibrated:
            probs = self._calibrated(probs)
        return probs[:, 1] if self.note.task == "multilabel" else probs

    def _calibrated(self, probs: Tensor) -> Tensor:
        """As `metrics.calibration.Calibration.probs`."""
        z, scale, bias = probs.clamp_min(1e-12).log(), cast(Tensor, self.scale), cast(Tensor, self.bias)
        if scale.ndim == 3:  # a calibration of each label: (B, 2, L)
            return (torch.einsum("lij,bjl->bil", scale, z) + bias.T).softmax(dim=1)
        if scale.ndim == 2:
            z = torch.einsum("ij,bj...->bi...", scale, z)
            scale = torch.ones_like(bias)
        rest = (1, -1) + (1,) * (probs.ndim - 2)
        return (z * scale.view(rest) + bias.view(rest)).softmax(dim=1)

    def of_store(self, store: ImageStore, rows: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
        """(positions, probabilities float32) of decoded images, block by block in the order of `rows`."""
        pixels = self.note.task == "segmentation"
        device = next(self.parameters()).device
        for block in blocks(rows, max(1, BLOCK_PIXELS // store.size**2) if pixels else BLOCK):
            with torch.no_grad():
                yield block, embed(self, store.batch(block).to(device))

    def predict(self, images: Images) -> FloatArray:
        """Probabilities of images: an array (N, H, W) or (N, H, W, C), paths, or a folder, sorted by path."""
        with scratch_folder() as scratch:
            data = data_of(images, Path(scratch), self.note.image_size)
            kept = pixels_of(parse(self.note.recipe))
            data |= {key: value for key, value in kept.items() if key == "window" or data["source"] != "npz"}
            dataset = source(parse({"name": "images", "data": data})).load()
            channels = None if dataset.stack > 1 else self.note.channels
            size = self.note.image_size
            store = ImageStore.build(dataset, image_size=size, channels=channels, cache=Path(scratch))
            return np.concatenate([probs for _, probs in self.of_store(store, np.arange(len(store), dtype=np.int64))])

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        save_weights(folder / WEIGHTS, self.state_dict())
        text = json.dumps(asdict(self.note), indent=1, ensure_ascii=False)
        (folder / NOTE).write_text(text + "\n", encoding="utf-8")


def load_model(folder: Path | str, device: str = "cpu") -> Deployed:
    """The model of an export (`hybrid-al export`).

    Errors: no export, one of another format, weights that are not those of its networks.
    """
    folder = Path(folder)
    note = load_note(folder)
    model = _blank(note, parse(note.recipe, folder / NOTE))
    load_into(model, load_weights(folder / WEIGHTS), folder / WEIGHTS)
    return model.to(device_of(device))


def load_note(folder: Path) -> ModelNote:
    """What the model of an export is; errors as those of `load_model`."""
    if not (folder / NOTE).is_file():
        raise InputError(folder, "a folder that hybrid-al export wrote", f"no {NOTE} there")
    with whole(folder / NOTE):
        plain = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if plain.get("format") != FORMAT:
            raise InputError(folder / NOTE, f"a model of format {FORMAT}", str(plain.get("format")))
        return ModelNote(**{**plain, "classes": tuple(plain["classes"]), "calibrated": tuple(plain["calibrated"])})


def recipe_of_run(run: Path) -> Recipe:
    """The recipe of a run directory; error where it is that of a `hal.Loop`, whose model is not kept."""
    plain = of_run(run)
    if plain["data"]["source"] == "own":
        raise InputError(run, "a run of a recipe", "one of a hal.Loop, whose model is the caller's own")
    return parse(plain, run / "recipe.yaml")


def model_of_run(run: Path | str, device: str = "cpu") -> Deployed:
    """The model of the last committed round of a run.

    Errors: no run, no round yet, a learner from outside.
    """
    disk = RunDir(Path(run))
    classes = tuple(map(str, cast(list[str], disk.facts()["classes"])))
    recipe, rounds = recipe_of_run(disk.path), disk.rounds()
    if not rounds:
        raise InputError(disk.path, "a run with a trained model", "no round is committed yet")
    if recipe.task.name == BAGS:
        raise InputError(disk.path, "a run whose model is of single images", f"one of {BAGS}")
    folder, encoder_file = disk.round_path(rounds[-1].index), disk.path / "stage0" / "encoder.safetensors"
    encoder_weights = load_weights(encoder_file)
    _, schedule = training(recipe)
    note = ModelNote(
        name=recipe.name,
        task=recipe.task.name,
        classes=classes,
        recipe=_without_places(recipe),
        channels=encoder_weights["mean"].numel(),
        members=schedule.members * schedule.cycles,
        round=rounds[-1].index,
        labels=rounds[-1].labeled,
        calibrated=_calibration_shape(folder / "calibration.npz"),
    )
    model = _blank(note, recipe)
    if model.encoder is not None:
        load_into(model.encoder, encoder_weights, encoder_file)
    networks: Networks[nn.Module] = Networks.load(
        folder / "model.safetensors", lambda: _member(note, recipe, model.encoder), schedule
    )
    model.members = nn.ModuleList(networks.members)
    if note.calibrated:
        arrays = read_arrays(folder / "calibration.npz")
        cast(Tensor, model.scale).copy_(torch.from_numpy(arrays["scale"]))
        cast(Tensor, model.bias).copy_(torch.from_numpy(arrays["bias"]))
    return model.eval().to(device_of(device))


def _blank(note: ModelNote, recipe: Recipe) -> Deployed:
    """The networks with weights to be replaced."""
    settings = setting_of(recipe).learner[1]
    if not isinstance(settings, Finetune | Frozen | Linear):
        raise InputError("learner", "finetune, frozen or linear, whose networks are known", recipe.learner.name)
    encoder = _encoder(note, recipe) if settings.frozen else None
    return Deployed(note, encoder, [_member(note, recipe, encoder) for _ in range(note.members)])


def _encoder(note: ModelNote, recipe: Recipe) -> Encoder:
    return make_encoder(recipe.encoder, channels=note.channels, image_size=recipe.data.image_size, seed=0, weights=None)


def _member(note: ModelNote, recipe: Recipe, encoder: Encoder | None) -> nn.Module:
    """A network: on the embeddings of `encoder`, or on images where that is None."""
    setting, task = setting_of(recipe), task_of(recipe)
    if isinstance(task, Segmentation):
        objective, _ = training(recipe)
        base, count = _encoder(note, recipe), len(note.classes)
        make = lambda seed: task.build(setting, base, count, seed=seed)  # noqa: E731
        return network_or_committee(make, objective.networks, 0).eval()
    body = _encoder(note, recipe) if encoder is None else encoder
    size = recipe.data.image_size
    with torch.no_grad():
        dim = body.eval()(torch.zeros(1, note.channels, size, size)).shape[1]
    body_of_head = body if encoder is None else _standard(recipe, dim)
    dropout = getattr(setting.learner[1], "dropout", 0.0)  # of no effect here
    return Classifier(
        body_of_head,
        dim,
        len(note.classes),
        dropout=dropout,
        seed=0,
        multilabel=note.task == "multilabel",
        pairs=not isinstance(setting.learner[1], Linear) and getattr(training(recipe)[0], "pairs", False),
        loss_head=getattr(setting.learner[1], "loss_head", 0.0) > 0,
    ).eval()


def _standard(recipe: Recipe, dim: int) -> nn.Module:
    """What is before the head of a network on embeddings."""
    standard, learner = Standardize(torch.zeros(dim), torch.ones(dim)), setting_of(recipe).learner[1]
    return learner.body(standard, training(recipe)[0]) if isinstance(learner, Frozen) else standard


def _without_places(recipe: Recipe) -> dict[str, Any]:
    """The keys of a recipe that decide its networks and the pixels that they take; nothing of where the data lies."""
    plain = recipe.plain()
    kept = {key: plain[key] for key in ("name", "modality", "task", "learner", "train")}
    data = {key: plain["data"][key] for key in PIXELS if plain["data"].get(key) is not None}
    return {**kept, "encoder": {**plain["encoder"], "weights": None}, "data": data}


def _calibration_shape(file: Path) -> tuple[int, ...]:
    return tuple(read_arrays(file)["scale"].shape) if sealed(file).is_file() else ()
