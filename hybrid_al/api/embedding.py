"""`pretrain` and `embed`: images in, an encoder and a vector of each image out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.rundir import RunDir
from ..core.temporary import scratch_folder
from ..core.types import FloatArray
from ..errors import InputError
from ..recipe import EncoderSection, Recipe, of_run, parse
from .images import Images, data_of
from .results import Run, open
from .session import project_of, session, stage0_of

BLOCK = 512


def pretrain(
    images: Images,
    *,
    run_dir: Path | str,
    method: str | Mapping[str, object] = "simclr",
    encoder: str | Mapping[str, object] = "resnet10t",
    image_size: int = 32,
    modality: str = "microscopy",
    seed: int = 0,
    device: str = "cpu",
) -> Run:
    """Stage 0: self-supervised training on images without labels; `.encoder` and `.embeddings` of what comes back.

    images      an array (N, H, W) or (N, H, W, C), paths, or a folder; the embeddings have their order
    run_dir     where encoder and embeddings go; a pretraining that was killed goes on, a finished one is read
    method      a name (simclr, byol, moco_v3, dino, mae, densecl, rotation; none: the encoder as it is), or a mapping
                with its parameters, such as `{"name": "simclr", "epochs": 20}`
    encoder     a timm name, or a mapping: `{"name": ..., "weights": "pretrained" or a path, "input_size": ...}`
    image_size  side in pixels, 8 to 4096, to which images are brought, padded to squares
    modality    whose random views are trained on (docs/views.md)
    seed        of weights, views and batches; device: cpu, cuda, cuda:1, ... or auto

    Errors, each one line: images that cannot be read, an unknown name or parameter, weights of another architecture,
    a run directory of other images or settings.
    """
    folder = Path(run_dir)
    recipe = parse(
        {
            "name": "pretrain",
            "modality": modality,
            "seed": seed,
            "data": data_of(images, folder.resolve(), image_size),
            "encoder": {"name": encoder} if isinstance(encoder, str) else dict(encoder),
            "pretrain": method if isinstance(method, str) else dict(method),
            "oracle": "worklist",
            "track": {},
        },
        "pretrain",
    )
    project = project_of(recipe, folder, device, stage0_alone=True)
    with session(project) as tracker:
        stage0_of(project, tracker)
    return open(folder)


@dataclass(frozen=True)
class _Network:
    """An encoder and how it takes images: side, channels (None: as they come), window of the values."""

    spec: EncoderSection
    weights: str | None
    image_size: int
    channels: int | None = None
    window: object = None


def embed(
    images: Images,
    *,
    encoder: Run | Path | str | Mapping[str, object],
    image_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> FloatArray:
    """The vector of each image, (N, D) float32, in the order of the images.

    images      an array (N, H, W) or (N, H, W, C), paths, or a folder (in the order of its paths)
    encoder     what `pretrain` or `open` gave, a run directory or its stage0/encoder.safetensors; or a timm name
                (random weights, drawn from `seed`) or a mapping as in a recipe, `{"name": ..., "weights": a path or
                "pretrained", "input_size": ...}`
    image_size  side in pixels, 8 to 4096; without it that of the pretraining, or 224 for a named encoder
    device      cpu, cuda, cuda:1, ... or auto

    Nothing is left on disk. Errors: images that cannot be read, an unknown name, weights of another architecture.
    """
    from ..assemble import device_of
    from ..components import make_encoder, source
    from ..data.loaders import blocks
    from ..data.stores.images import ImageStore
    from ..learners.predict import embed as embed_batch

    choice, where = _network(encoder, image_size), device_of(device)
    with scratch_folder() as name:
        data = data_of(images, Path(name), choice.image_size)
        if choice.window is not None:
            data["window"] = choice.window
        dataset = source(_recipe(data, {})).load()
        store = ImageStore.build(dataset, image_size=choice.image_size, channels=choice.channels, cache=Path(name))
        network = make_encoder(
            choice.spec, channels=store.channels, image_size=store.size, seed=seed, weights=choice.weights
        ).to(where)
        rows = np.arange(len(store), dtype=np.int64)
        return np.concatenate([embed_batch(network, store.batch(block).to(where)) for block in blocks(rows, BLOCK)])


def _network(encoder: Run | Path | str | Mapping[str, object], image_size: int | None) -> _Network:
    """The encoder that the argument names."""
    folder = _run_of(encoder)
    if folder is not None:
        return _network_of_run(open(folder), image_size)
    if isinstance(encoder, Path) or (isinstance(encoder, str) and Path(encoder).exists()):
        expected = "a run directory or its stage0/encoder.safetensors; other weights as {name: ..., weights: PATH}"
        raise InputError("encoder", expected, str(encoder))
    plain = {"name": encoder} if isinstance(encoder, str) else dict(encoder) if isinstance(encoder, Mapping) else {}
    spec = _recipe({}, plain).encoder
    return _Network(spec, spec.weights, 224 if image_size is None else image_size)


def _run_of(encoder: Run | Path | str | Mapping[str, object]) -> Path | None:
    """The run directory that an encoder is of; None where it is none."""
    if isinstance(encoder, Run):
        return encoder.path
    if isinstance(encoder, str | Path):
        path = Path(encoder).absolute()
        folder = path.parents[1] if path.is_file() else path
        return folder if RunDir(folder).exists() else None
    return None


def _network_of_run(run: Run, image_size: int | None) -> _Network:
    """The encoder of a stage 0, with the channels that its weights have."""
    from ..models.checkpoint import load_weights

    recipe = parse(of_run(run.path), run.path / "recipe.yaml")
    side = recipe.data.image_size if image_size is None else image_size
    channels = load_weights(run.encoder)["mean"].numel()
    return _Network(recipe.encoder, str(run.encoder), side, channels, recipe.data.params.get("window"))


def _recipe(data: Mapping[str, object], encoder: Mapping[str, object]) -> Recipe:
    return parse({"name": "embed", "data": dict(data), "encoder": dict(encoder)}, "embed")
