"""Stage 0 of a run: train the encoder without labels, export it with its embeddings, probe it where labels exist."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from hybrid_al.assemble import Project
from hybrid_al.components import make_encoder
from hybrid_al.core.embeddings import PLAIN, USED, Embeddings
from hybrid_al.core.files import write_atomic, write_json
from hybrid_al.core.manifest import Split
from hybrid_al.core.progress import Progress
from hybrid_al.core.registry import component
from hybrid_al.core.rng import derive, derive_seed
from hybrid_al.core.seals import STAGE0, read_json, sealed, sha256_of, whole
from hybrid_al.core.types import IntArray
from hybrid_al.data.bags import Bags
from hybrid_al.data.loaders import blocks
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.learners import patterns
from hybrid_al.learners.predict import embed
from hybrid_al.models.checkpoint import digest_of, seeded
from hybrid_al.models.encoder import Encoder
from hybrid_al.recipe import EmbeddingsSection, Recipe
from hybrid_al.track.base import Trackers, log_to

from . import METHODS, NONE, processes
from .base import Method
from .export import BATCH, damaged, embed_all, export
from .feed import Schedule
from .loop import Job, pretrain
from .probe import probe
from .quality import collapse, quality
from .rotation import Rotation
from .sets import check_sets, make_sets

RANKED, VIEWED = 4096, 1024  # images of a sample, and those of them that are embedded in two views more
AWAITED = 128  # in the place of `VIEWED` where a person waits for the first query


def check(recipe: Recipe) -> Method | None:
    """The method of a recipe with its parameters, None for `none`; raises the errors of stage 0 before data is read.

    Errors: unknown names and keys, invalid numbers, an encoder that does not exist, that cannot take such images or
    that the method cannot use. `start` checks the weights.
    """
    method = _method(recipe)
    if isinstance(method, Rotation) and recipe.views.pretrain is not None:
        raise InputError("recipe: views.pretrain", "null with rotation, which turns images itself", "a pipeline")
    if method is not None:
        Schedule.of(method, method.batch, processes.world())
    size, channels = recipe.data.image_size, recipe.data.channels or 3  # any number will do, as weights come later
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        encoder = make_encoder(recipe.encoder, channels=channels, image_size=size, seed=0, weights=None)
        if method is not None:
            method.network(encoder, torch.zeros(2, channels, size, size))
    return method


def check_project(project: Project) -> None:
    """Raise the errors of stage 0 that need the data, before a training: see `start`, `notes`, `check_sets`."""
    encoder = start(project)
    if any("patterns" in strategy.needs for *_, strategy in project.setting.strategies):
        patterns.check(encoder)
    check_sets(project)
    notes(project)
    _check_records(project, encoder)


def _check_records(project: Project, encoder: Encoder) -> None:
    """Refuse a strategy that reads a record (`csval`) that the method does not write, as one loss on images tells."""
    method, readers = _method(project.recipe), [s for s in project.setting.strategies if "stage0" in s[2].needs]
    pool = project.dataset.manifest.indices("pool")
    if method is None or not readers or len(pool) < 2:
        return
    store, generator = project.store(), seeded(0)
    with torch.random.fork_rng(devices=[]):
        images = store.batch(pool[: max(2, 2 * method.accumulate)])
        loss = method.loss(method.network(encoder, images), images, project.views().pretrain, generator, 0.0)
    written = {"pretext_loss": loss.per_sample, "confidence": loss.confidence, "variability": loss.confidence}
    for key, name, strategy in readers:
        for record in getattr(strategy, "records", ("pretext_loss",)):
            if written[record] is None:
                raise InputError(
                    key, f"a pretraining that records {record}", f"{project.recipe.pretrain.name}, for {name}"
                )


def start(project: Project) -> Encoder:
    """The encoder before stage 0; errors where its weights are of another network or not available."""
    spec, store, seed = project.recipe.encoder, project.store(), derive_seed(project.recipe.seed, "encoder")
    return make_encoder(spec, channels=store.channels, image_size=store.size, seed=seed, weights=spec.weights)


def notes(project: Project) -> list[str]:
    """Notes on a stage 0 before it runs, a line each; errors where the pool is too small for it."""
    method, pool = _method(project.recipe), len(project.dataset.manifest.indices("pool"))
    if method is None:
        return []
    batch = Schedule.of(method, pool, processes.world()).batch
    return [f"stage 0: batches of {batch}, for the pool has {pool} images, not {method.batch}"] * (batch < method.batch)


def _method(recipe: Recipe) -> Method | None:
    if recipe.pretrain.name == NONE:
        for key in recipe.pretrain.params:
            raise UnknownName("pretrain (none)", key, ())
        return None
    return component({**METHODS}, "pretrain", recipe.pretrain.name, recipe.pretrain.params)


def ensure(project: Project, tracker: Trackers, progress: Progress = lambda *_: None) -> dict[str, float]:
    """Run stage 0 where the run directory does not hold it yet; returns its probe metrics.

    Embeddings that are damaged on disk are made again by the encoder in the directory, with a line to stderr.
    """
    folder = project.run.path / "stage0"
    marker = folder / "probe.json"
    if not marker.is_file():
        began = time.perf_counter()
        encoder = _train(project, tracker, progress)
        store = project.store()
        fingerprint = project.dataset.manifest.fingerprint
        embeddings = export(encoder, store, fingerprint, folder, project.device, cache=project.cache)
        sets = make_sets(project, embeddings)
        unlabeled, metrics = _quality(project, encoder, embeddings, folder), _probe(project, embeddings)
        results = {**sets, **unlabeled, **metrics}
        tracker.log({f"stage0/{name}": value for name, value in results.items()}, stage="stage0")
        write_json(folder / "seconds.json", {"seconds": time.perf_counter() - began})
        _commit(folder, metrics)
    elif _grew(project, folder):
        _embed_again(project, folder)
    elif damaged_sets := damaged(folder / "embeddings"):
        print(
            "".join(f"{path}: damaged; the images are embedded again\n" for path in damaged_sets),
            end="",
            file=sys.stderr,
        )
        _embed_again(project, folder)
    (folder / "resume.pt").unlink(missing_ok=True)  # here, for a kill may come between it and the commit
    with whole(sealed(marker)):
        probes: dict[str, float] = json.loads(marker.read_text(encoding="utf-8"))
    return probes


def _commit(folder: Path, metrics: dict[str, float]) -> None:
    """Write the digests of the files of a stage 0, then its probes, whose presence means that it is over."""
    files = [folder / "encoder.safetensors", folder / "records.npz"]
    digests = {file.name: sha256_of(file) for file in files if file.is_file()}
    probes = json.dumps(metrics, indent=1, allow_nan=False) + "\n"
    digests["probe.json"] = hashlib.sha256(probes.encode()).hexdigest()
    write_json(folder / STAGE0, {"digests": digests}, own=True)
    write_atomic(folder / "probe.json", probes)


def _grew(project: Project, folder: Path) -> bool:
    """Whether samples came behind those of the embeddings (`data.grow`), whose images are not embedded yet."""
    names = [PLAIN, *([USED] if project.recipe.embeddings != EmbeddingsSection() else [])]
    files = [folder / "embeddings" / f"{name}.json" for name in names]
    now = project.dataset.manifest.fingerprint
    return project.recipe.data.grow and any(not f.is_file() or read_json(f)["manifest"] != now for f in files)


def _embed_again(project: Project, folder: Path) -> None:
    """Embed all sets of a stage 0 again by its encoder, but for embeddings in the cache beside the runs."""
    spec, store = project.recipe.encoder, project.store()
    weights = str(folder / "encoder.safetensors")
    encoder = make_encoder(spec, channels=store.channels, image_size=store.size, seed=0, weights=weights)
    digest, path = digest_of(encoder), folder / "embeddings" / f"{PLAIN}.npy"
    fingerprint = project.dataset.manifest.fingerprint
    plain = embed_all(encoder.to(project.device), digest, store, fingerprint, path, project.device, cache=project.cache)
    make_sets(project, plain)


def assist(project: Project) -> None:
    """Stage 0 in a process of torchrun other than the first: it trains, without files or messages."""
    if not project.has_stage0:
        _train(project, Trackers(), lambda *_: None)


def _train(project: Project, tracker: Trackers, progress: Progress) -> Encoder:
    recipe, store = project.recipe, project.store()
    encoder, method = start(project), _method(recipe)
    if method is None:
        return encoder.to(project.device)
    if processes.rank() == 0:
        for note in notes(project):
            print(note, file=sys.stderr)
    folder = project.run.path / "stage0"
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        method=method,
        encoder=encoder,
        store=store,
        pool=project.dataset.manifest.indices("pool"),
        views=project.views().pretrain,
        seed=recipe.seed,
        device=project.device,
        resume=folder / "resume.pt",
        records=folder / "records.npz",
    )
    pretrain(job, log=log_to(tracker, stage="stage0"), progress=progress)
    return encoder


def _quality(project: Project, encoder: Encoder, embeddings: Embeddings, folder: Path) -> dict[str, float]:
    """Quality without labels, of a sample of the pool in two weak views: to quality.json, a collapse to stderr."""
    pool, store = project.dataset.manifest.indices("pool"), project.store()
    if len(pool) < 2:
        return {}
    rows = derive(project.recipe.seed, "quality").permutation(pool)[:RANKED]
    generator, weak = seeded(derive_seed(project.recipe.seed, "quality-views")), project.views().weak
    viewed = VIEWED if project.setting.simulated else AWAITED
    view_blocks = list(blocks(rows[:viewed], BATCH))
    first, second = (
        np.concatenate([embed(encoder, weak(store.batch(b).to(project.device), generator)) for b in view_blocks])
        for _ in range(2)
    )
    numbers = quality(embeddings.take(rows), first, second)
    write_json(folder / "quality.json", numbers)
    if warning := collapse(numbers, trained=project.recipe.pretrain.name != NONE):
        print(f"stage 0: {warning}", file=sys.stderr)
    return numbers


def _probe(project: Project, embeddings: Embeddings) -> dict[str, float]:
    """Metrics of the probes, which need labels of the pool: in simulations only. Of bags, on their mean embeddings."""
    if not project.setting.simulated:
        return {}
    if project.dataset.bags:
        embeddings = Bags.of(project.dataset).pooled(embeddings)
    splits = {split: labels for split in ("val", "test") if len((labels := _labeled(project, split))[0])}
    return probe(embeddings, len(project.dataset.classes), _labeled(project, "pool"), splits)


def _labeled(project: Project, split: Split) -> tuple[IntArray, IntArray]:
    truth, rows = project.dataset.truth, project.dataset.manifest.indices(split)
    labeled = rows[truth[rows] >= 0]
    return labeled, np.asarray(truth[labeled])
