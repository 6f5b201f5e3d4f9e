"""The embedding sets of a run: by other encoders than that of stage 0, and which of them the strategies read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from hybrid_al.assemble import Project
from hybrid_al.components import make_encoder
from hybrid_al.core.embeddings import PLAIN, USED, Embeddings
from hybrid_al.core.files import write_json
from hybrid_al.core.manifest import Split
from hybrid_al.core.rng import derive, derive_seed
from hybrid_al.core.seals import sha256_of
from hybrid_al.core.types import IntArray
from hybrid_al.errors import InputError
from hybrid_al.models.checkpoint import digest_of
from hybrid_al.models.encoder import Encoder
from hybrid_al.recipe import PROBE, EmbeddingsSection

from .combine import SideBySide
from .export import embed_all
from .probe import cross_validated, groups_to_split

MOST_LABELS = 5_000
"""Labeled images that a choice between sets uses; a random sample where there are more."""


def make_sets(project: Project, plain: Embeddings) -> dict[str, float]:
    """Embed the images by every set of the recipe, and write the set that strategies read, where it is not `plain`.

    plain: the embeddings of stage 0. Returns `set/<name>` = cross-validated linear AUROC where a probe chose.
    """
    section = project.recipe.embeddings
    if section == EmbeddingsSection():
        return {}
    sets = {PLAIN: plain} | {name: _embed(project, name) for name in section.sets}
    names, scores = (section.use, {}) if section.use != (PROBE,) else _choose(project, sets)
    _write_used(project, {name: sets[name] for name in names}, scores)
    return {f"set/{name}": score for name, score in scores.items()}


def check_sets(project: Project) -> None:
    """Refuse weights of another network than a set names, and a probe without labels."""
    for name in project.recipe.embeddings.sets:
        _encoder(project, name)
    if project.recipe.embeddings.use == (PROBE,):
        _labels(project)


def _encoder(project: Project, name: str) -> Encoder:
    spec, store = project.recipe.embeddings.sets[name], project.store()
    seed = derive_seed(project.recipe.seed, f"encoder {name}")
    return make_encoder(spec, channels=store.channels, image_size=store.size, seed=seed, weights=spec.weights)


def _embed(project: Project, name: str) -> Embeddings:
    encoder, store = _encoder(project, name), project.store()
    path, manifest = project.embeddings(name), project.dataset.manifest.fingerprint
    return embed_all(
        encoder.to(project.device), digest_of(encoder), store, manifest, path, project.device, cache=project.cache
    )


def _choose(project: Project, sets: Mapping[str, Embeddings]) -> tuple[tuple[str, ...], dict[str, float]]:
    """The sets with the best probe, of each alone and all side by side (the first of equals), and all scores."""
    rows, targets = _labels(project)
    groups = project.dataset.manifest.group_codes[rows]
    pool, classes = project.dataset.manifest.indices("pool"), len(project.dataset.classes)
    options = [(name,) for name in sets] + ([tuple(sets)] if len(sets) > 1 else [])
    scores = {}
    for names in options:
        vectors = SideBySide({name: sets[name].vectors for name in names}, pool).read(rows)
        scores["+".join(names)] = cross_validated(vectors, targets, groups, classes, seed=project.recipe.seed)
    best = max(range(len(options)), key=lambda i: (list(scores.values())[i], -i))
    return options[best], scores


def _labels(project: Project) -> tuple[IntArray, IntArray]:
    """Rows and classes that a choice may use: of val; without any, of the pool in a simulation; never of test."""
    manifest, truth = project.dataset.manifest, project.dataset.truth
    splits: tuple[Split, ...] = ("val", "pool") if project.setting.simulated else ("val",)
    for split in splits:
        rows = manifest.indices(split)
        rows = derive(project.recipe.seed, "probed").permutation(rows[truth[rows] >= 0])[:MOST_LABELS]
        if groups_to_split(truth[rows], manifest.group_codes[rows]) > 1:
            return rows, truth[rows]
    raise InputError(
        "embeddings.use", "labels of two classes, of two groups each, in val (probe)", "fewer; name the sets"
    )


def _write_used(project: Project, sets: Mapping[str, Embeddings], scores: Mapping[str, float]) -> None:
    """Write `used.npy`, and after it a JSON with its origin."""
    pool, path = project.dataset.manifest.indices("pool"), project.embeddings(USED)
    path.with_suffix(".json").unlink(missing_ok=True)
    joined = SideBySide({name: embeddings.vectors for name, embeddings in sets.items()}, pool)
    whiten = project.recipe.embeddings.whiten
    projection = None if whiten is None else joined.whitening(whiten)
    note: dict[str, object] = {
        "sets": {name: embeddings.encoder for name, embeddings in sets.items()},
        "scales": joined.scales,
    }
    if projection is not None:
        note["whitening"] = {
            "fitted_on": len(pool),
            "directions": projection.axes.shape[1],
            "explained": projection.explained,
            "sha256": hashlib.sha256(projection.mean.tobytes() + projection.axes.tobytes()).hexdigest(),
        }
    digest = hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
    shape = joined.write(path, projection)
    content = {"manifest": project.dataset.manifest.fingerprint, "encoder": digest, "shape": list(shape), **note}
    content["sha256"] = sha256_of(path)
    write_json(path.with_suffix(".json"), {**content, "probed": dict(scores)})
