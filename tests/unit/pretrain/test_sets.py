"""Embedding sets: joined and whitened for strategies as in the recipe, with statistics of the pool alone."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

import pretrain.combine as combine_module
import pretrain.sets as sets_module
from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.recipe import parse
from hybrid_al.track.base import Trackers
from pretrain.combine import SideBySide
from pretrain.probe import cross_validated, groups_to_split
from pretrain.stage0 import ensure

RNG = np.random.default_rng(0)
ONE = RNG.normal(size=(50, 4)).astype(np.float32) * [1, 2, 3, 100] + 7
TWO = RNG.normal(size=(50, 3)).astype(np.float32) * 0.01
POOL = np.arange(5, 45)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combine_module, "BLOCK", 7)


def write(joined: SideBySide, path: Path, whiten: int | None = None) -> FloatArray:
    shape = joined.write(path, None if whiten is None else joined.whitening(whiten))
    vectors: FloatArray = np.load(path)
    assert vectors.shape == shape and vectors.dtype == np.float32
    return vectors


def test_one_set_stays_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(write(SideBySide({"a": ONE}, POOL), tmp_path / "x.npy"), ONE.astype(np.float32))


def test_sets_side_by_side_weigh_alike_over_the_pool(tmp_path: Path) -> None:
    constant = np.full((50, 2), 3.0)
    vectors = write(SideBySide({"a": ONE, "b": TWO, "c": constant}, POOL), tmp_path / "x.npy")
    scales = [1 / np.sqrt(part[POOL].astype(np.float64).var(axis=0).sum()) for part in (ONE, TWO)]
    assert np.allclose(vectors, np.concatenate([ONE * scales[0], TWO * scales[1], constant], axis=1), rtol=1e-5)
    blocks = vectors[POOL][:, :4], vectors[POOL][:, 4:7]
    distances = [np.square(block[:, None] - block[None]).sum(axis=2).mean() for block in blocks]
    assert distances == pytest.approx([2, 2], rel=1e-4)


@pytest.mark.parametrize("directions", [1, 3, 4])
def test_whitening_is_that_of_scikit_learn(tmp_path: Path, directions: int) -> None:
    vectors = write(SideBySide({"a": ONE}, POOL), tmp_path / "x.npy", directions)
    reference = PCA(directions, whiten=True, svd_solver="full").fit(ONE[POOL])
    expected = reference.transform(ONE) * np.sqrt(40 / 39)  # of the pool itself, not of what it is a sample of
    signs = np.sign((vectors * expected).sum(axis=0))
    assert np.allclose(vectors, expected * signs, atol=1e-4)
    assert np.allclose(np.cov(vectors[POOL], rowvar=False, bias=True), np.eye(directions), atol=1e-5)
    explained = SideBySide({"a": ONE}, POOL).whitening(directions).explained
    assert explained == pytest.approx(reference.explained_variance_ratio_.sum())


def test_whitening_looks_at_the_pool_alone_and_repeats(tmp_path: Path) -> None:
    first = SideBySide({"a": ONE, "b": TWO}, POOL).whitening(5)
    changed = ONE.copy()
    changed[np.setdiff1d(np.arange(50), POOL)] = 1e6
    again = SideBySide({"a": changed, "b": TWO}, POOL).whitening(5)
    assert np.array_equal(first.axes, again.axes) and np.array_equal(first.mean, again.mean)
    assert (np.take_along_axis(first.axes, np.abs(first.axes).argmax(axis=0)[None], axis=0) > 0).all()
    turned = SideBySide({"a": -ONE}, POOL).whitening(4).axes
    assert np.allclose(turned, SideBySide({"a": ONE}, POOL).whitening(4).axes)


def test_directions_in_which_nothing_varies_are_left_out(tmp_path: Path) -> None:
    flat = np.concatenate([ONE[:, :2], ONE[:, :2] * 2], axis=1)
    assert write(SideBySide({"a": flat}, POOL), tmp_path / "x.npy", 4).shape == (50, 2)
    with pytest.raises(InputError, match=r"embeddings\.whiten: .*vary over the pool, got the same for every image"):
        SideBySide({"a": np.ones((50, 3))}, POOL).whitening(2)
    broken = ONE.copy()
    broken[7, 1] = np.nan
    with pytest.raises(InputError, match="embedding of sample 7: expected finite"):
        SideBySide({"a": broken}, POOL).whitening(2)
    with pytest.raises(InputError, match=r"same images, got \[49, 50\] rows"):
        SideBySide({"a": ONE, "b": TWO[1:]}, POOL)


def test_memory_holds_no_more_than_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combine_module, "BLOCK", 256)
    rows = np.lib.format.open_memmap(tmp_path / "large.npy", mode="w+", dtype=np.float32, shape=(20_000, 64))
    for start in range(0, 20_000, 2_000):
        rows[start : start + 2_000] = RNG.normal(size=(2_000, 64))
    tracemalloc.start()
    try:
        joined = SideBySide({"a": rows, "b": rows}, np.arange(20_000))
        joined.write(tmp_path / "out.npy", joined.whitening(32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6 < rows.nbytes


def test_the_cross_validated_probe_never_splits_a_group() -> None:
    rng = np.random.default_rng(1)
    groups = np.arange(120) // 4
    targets = groups % 2
    patient = rng.normal(size=(30, 64))[groups]  # tells the patient, not the class
    assert cross_validated(patient, targets, np.arange(120), 2, seed=0) > 0.9  # as if images were apart
    assert cross_validated(patient, targets, groups, 2, seed=0) < 0.75
    good = rng.normal(size=(120, 4)) + 2 * targets[:, None]
    assert cross_validated(good, targets, groups, 2, seed=0) > 0.95
    assert groups_to_split(targets, groups) == 15 and groups_to_split(np.zeros(9, dtype=np.int64), np.arange(9)) == 0
    rare = np.append(targets, 2)
    assert cross_validated(np.append(good, [[9] * 4], 0), rare, np.append(groups, 30), 3, seed=0) > 0.6
    with pytest.raises(InputError, match="two groups each, got 1 groups"):
        cross_validated(good[:8], targets[:8], groups[:8], 2, seed=0)


PLAIN_RECIPE = {
    "name": "tiny",
    "data": {"source": "phantom", "n_pool": 40, "n_val": 20, "n_test": 20, "size": 16, "image_size": 16},
    "pretrain": "none",
    "loop": {"budgets": [5]},
    "track": {"wandb": {"mode": "off"}},
}
VIT = {
    "name": "vit_tiny_patch16_224",
    "options": {"patch_size": 4, "depth": 1, "embed_dim": 16, "num_heads": 2},
}


def project(folder: Path, **changes: object) -> Project:
    opened = open_project(parse({**PLAIN_RECIPE, **changes}), run_dir=folder)
    ensure(opened, Trackers())
    return opened


def read(run: Project, name: str) -> tuple[FloatArray, dict[str, object]]:
    path = run.embeddings(name)
    return np.load(path), json.loads(path.with_suffix(".json").read_text())


def test_strategies_read_the_sets_of_the_recipe(tmp_path: Path) -> None:
    run = project(tmp_path / "run", embeddings={"sets": {"vit": VIT}, "use": ["plain", "vit"], "whiten": 6})
    (plain, first), (vit, second), (used, note) = (read(run, name) for name in ("plain", "vit", "used"))
    assert vit.shape == (80, 16) and used.shape == (80, 6)
    assert note["sets"] == {"plain": first["encoder"], "vit": second["encoder"]}
    whitening = note["whitening"]
    assert isinstance(whitening, dict) and whitening["fitted_on"] == 40 and whitening["directions"] == 6
    pool = run.dataset.manifest.indices("pool")
    expected = SideBySide({"plain": plain, "vit": vit}, pool)
    expected.write(tmp_path / "expected.npy", expected.whitening(6))
    assert np.array_equal(used, np.load(tmp_path / "expected.npy"))
    setup = experiment(run)
    assert np.array_equal(setup.embeddings.vectors, used) and setup.embeddings.encoder == note["encoder"]

    note_of_vit = run.embeddings("vit").with_suffix(".json")
    note_of_vit.write_text(json.dumps({**second, "encoder": "another"}))
    with pytest.raises(InputError, match="made from vit by encoder another, got by"):
        experiment(run)


def test_without_a_section_strategies_read_plain_and_no_other_set_is_written(tmp_path: Path) -> None:
    run = project(tmp_path / "run")
    assert {p.name for p in run.embeddings("plain").parent.iterdir()} == {"plain.npy", "plain.json"}
    assert np.array_equal(experiment(run).embeddings.vectors, read(run, "plain")[0])


@pytest.mark.parametrize("val", [True, False])
def test_a_probe_chooses_by_val_or_the_pool_and_never_by_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, val: bool
) -> None:
    groups_of_probes: list[IntArray] = []

    def cross_validated(vectors: FloatArray, targets: IntArray, groups: IntArray, classes: int, *, seed: int) -> float:
        groups_of_probes.append(np.asarray(groups))
        return float(vectors.shape[1] == 16)  # the set of the vision transformer

    monkeypatch.setattr(sets_module, "cross_validated", cross_validated)
    data = {**PLAIN_RECIPE["data"], "n_val": 60 if val else 0}  # type: ignore[dict-item]
    run = project(tmp_path / "run", data=data, embeddings={"sets": {"vit": VIT}, "use": "probe"})
    manifest = run.dataset.manifest
    allowed = manifest.group_codes[manifest.indices("val" if val else "pool")]
    assert len(groups_of_probes) == 3 and all(set(groups) <= set(allowed) for groups in groups_of_probes)
    used, note = read(run, "used")
    assert note["probed"] == {"plain": 0.0, "vit": 1.0, "plain+vit": 0.0}
    assert np.array_equal(used, read(run, "vit")[0])


def test_a_probe_without_labels_is_refused(tmp_path: Path) -> None:
    data = {**PLAIN_RECIPE["data"], "n_val": 0}  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"embeddings\.use: expected labels of two classes"):
        project(tmp_path / "run", data=data, oracle="worklist", embeddings={"sets": {"vit": VIT}, "use": "probe"})


def test_wrong_sections_are_named_before_anything_is_read(tmp_path: Path) -> None:
    for section, error, message in (
        ({"use": "vitt", "sets": {"vit": VIT}}, UnknownName, r"embeddings\.use: .*did you mean 'vit'"),
        ({"sets": {"plain": VIT}}, InputError, "another name of a set than plain"),
        ({"sets": {"a/b": VIT}}, InputError, "expected letters, digits"),
        ({"use": ["plain", "plain"]}, InputError, "each set once"),
        ({"sets": {"v": {**VIT, "name": "vit_tinny_patch16_224"}}}, UnknownName, r"embeddings\.sets\.v\.name: .*tiny"),
        ({"sets": {"v": {**VIT, "weights": "gone.pth"}}}, InputError, r"sets\.v\.weights: .*gone\.pth: no such file"),
    ):
        with pytest.raises(error, match=message):
            open_project(parse({**PLAIN_RECIPE, "embeddings": section}), run_dir=tmp_path)


def test_old_recipes_stay_the_runs_that_they_are() -> None:
    assert "embeddings" not in parse(PLAIN_RECIPE).identity() and "embeddings" not in parse(PLAIN_RECIPE).plain()
    section = {"sets": {"vit": VIT}, "use": ["plain", "vit"], "whiten": 8}
    recipe = parse({**PLAIN_RECIPE, "embeddings": section})
    assert parse(recipe.plain()) == recipe and recipe.identity()["embeddings"]["whiten"] == 8
