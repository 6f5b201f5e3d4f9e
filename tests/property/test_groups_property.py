"""No split and no stack crosses a group, for any data; labels that were not asked for change no pick.

That a strategy asks candidates alone, and looks at nothing of what is held out, is in `testing.check_strategy`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hybrid_al import loop
from hybrid_al.assemble import Project, experiment
from hybrid_al.components import check_components, setting_of
from hybrid_al.core.manifest import SPLITS, Manifest, Split
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Need
from hybrid_al.data.base import Dataset
from hybrid_al.data.growth import grow
from hybrid_al.data.readers.volumes import stack_at
from hybrid_al.data.samples import Sample, make_dataset
from hybrid_al.data.splits import assign
from hybrid_al.errors import InputError
from hybrid_al.experiment import Experiment
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.recipe import parse
from hybrid_al.regions.base import Regions
from hybrid_al.track.base import Trackers
from tests.contract.test_strategies import LEAN
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

SPLIT_OF_DATA: st.SearchStrategy[Split | None] = st.sampled_from([None, None, "pool", "val", "test"])


@st.composite
def samples_of_groups(draw: st.DrawFn, most: int = 30, start: int = 0) -> list[Sample]:
    """Samples of a few groups, some without a split, some copies of others, some slices of one file."""
    of_group = draw(st.lists(SPLIT_OF_DATA, min_size=8, max_size=8))
    loose = draw(st.booleans())  # the data parts groups, or leaves rows of them without a split
    samples = []
    for i in range(start, start + draw(st.integers(2, most))):
        group = draw(st.integers(0, 7))
        split = draw(SPLIT_OF_DATA) if loose else of_group[group]
        content = draw(st.integers(0, 12)) if draw(st.booleans()) else 100 + i
        label = draw(st.integers(-1, 2))
        samples.append(Sample(f"{i}", f"{i}.png", f"g{group}", split, label, digest=f"d{content}"))
    return samples


SHARES = st.sampled_from([{}, {"test": 0.2}, {"val": 0.1, "test": 0.2}, {"val": 0.3}])


def dataset_of(samples: list[Sample], holdout: dict[str, float], seed: int) -> Dataset | None:
    """The dataset of samples; None where it is refused in one line."""
    try:
        return make_dataset(
            samples, lambda i: np.zeros((4, 4, 1), np.uint8), classes=("a", "b", "c"), channels=1, holdout=holdout,
            seed=seed,
        )  # fmt: skip
    except InputError as error:
        assert "\n" not in str(error)
        return None


def crosses(manifest: Manifest) -> list[str]:
    """The groups that lie in two splits."""
    held = {split: {manifest.groups[i] for i in manifest.indices(split)} for split in SPLITS}
    return sorted((held["pool"] & held["val"]) | (held["pool"] & held["test"]) | (held["val"] & held["test"]))


@settings(deadline=None, max_examples=150)
@given(samples_of_groups(), SHARES, st.integers(0, 3))
def test_no_split_crosses_a_group(samples: list[Sample], holdout: dict[str, float], seed: int) -> None:
    dataset = dataset_of(samples, holdout, seed)
    if dataset is None:
        return
    manifest = dataset.manifest
    assert not crosses(manifest)
    for sample, split in zip(samples, manifest.splits, strict=True):
        assert sample.split in (None, "pool", split) and (sample.split != "pool" or split == "pool" or holdout)
    drawn = [i for i, s in enumerate(samples) if all(o.split is None for o in samples if o.group == s.group)]
    of_content = {(manifest.digests[i], manifest.splits[i]) for i in drawn}
    assert len(of_content) == len({digest for digest, _ in of_content})  # copies are drawn into one split


@settings(deadline=None, max_examples=100)
@given(st.data(), SHARES, st.integers(0, 3))
def test_no_split_crosses_a_group_when_a_pool_grows(data: st.DataObject, holdout: dict[str, float], seed: int) -> None:
    before = data.draw(samples_of_groups(20))
    began = dataset_of(before, holdout, seed)
    kept = [s for s in before if data.draw(st.integers(0, 5))]
    changed = [replace(s, digest=s.digest + "'") if not data.draw(st.integers(0, 9)) else s for s in kept]
    now = dataset_of([*changed, *data.draw(samples_of_groups(20, start=100))], holdout, seed)
    if began is None or now is None:
        return
    pool = began.manifest.indices("pool").tolist()
    asked = set(data.draw(st.lists(st.sampled_from(pool), max_size=3)))
    try:
        grown = grow(now, began.manifest, asked, drawn=bool(holdout)).manifest
    except InputError as error:
        assert "\n" not in str(error)
        return
    n = len(began.manifest)
    assert not crosses(grown) and grown.ids[:n] == began.manifest.ids and grown.splits[:n] == began.manifest.splits
    assert set(grown.splits[n:]) <= {"pool"}
    held = {began.manifest.digests[i] for split in ("val", "test") for i in began.manifest.indices(split)}
    assert not held & set(grown.digests[n:])  # what is measured comes in by no new name


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), SHARES, st.integers(0, 9))
def test_the_draw_depends_on_no_order_of_rows(codes: list[int], holdout: dict[str, float], seed: int) -> None:
    groups = [f"g{code}" for code in codes]
    order = np.random.default_rng(seed).permutation(len(groups))
    try:
        splits = assign(groups, [None] * len(groups), holdout, seed=seed)
    except InputError:
        return
    again = assign([groups[i] for i in order], [None] * len(groups), holdout, seed=seed)
    assert [splits[i] for i in order] == list(again)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from([1, 3, 5]))
def test_no_stack_crosses_a_volume(slices: list[int], stack: int) -> None:
    for number, count in enumerate(slices):
        volume = np.full((count, 2, 2), number, dtype=np.float32)
        volume += np.arange(count)[:, None, None] / 10
        for z in range(count):
            around = stack_at(volume, z, stack)
            assert len(around) == stack and (around // 1 == number).all() and (around[stack // 2] == volume[z]).all()


BUDGETS = {"budgets": [6, 4, 4]}
COMPUTED: frozenset[Need] = frozenset({"tissue", "proxy", "patterns"})
TARGETED = {"tqs", "lamda", "mada", "stdr", "d2ada"}
OF_MASKS = {"cereals", "dsal", "pld", "quality", "edgeal", "dice_per_outline", "crf_entropy"}
"""Strategies that ask about a domain, and those of masks."""


def blind(project: Project) -> Project:
    """The project with other labels of test and of all of the pool that was not asked about: masks pixel by pixel."""
    dataset, run = project.dataset, project.run
    asked = np.zeros(len(dataset.manifest), dtype=bool)
    asked[list(run.asked(dataset.manifest))] = True
    asked[dataset.manifest.indices("val")] = True
    if dataset.masks is None:
        return replace(project, dataset=replace(dataset, truth=np.where(asked, dataset.truth, 1 - dataset.truth)))
    masks, setup, pixels = dataset.masks, experiment(project), dict[int, np.ndarray]()
    for r in range(len(run.rounds())):
        regions, picks = setup.task.regions.at(r), run.picks(r, dataset.manifest)
        assert isinstance(regions, Regions) and picks is not None
        for i, parts in regions.by_sample(picks).items():
            pixels[i] = regions.mask(i, parts) | pixels.get(i, False)
    val = dataset.manifest.indices("val").tolist()

    def read(i: int) -> np.ndarray:
        labels = masks.read(i)
        return labels if i in val else np.where(pixels.get(i, False), labels, 1 - labels)

    keys = tuple(f"{key} of others" for key in masks.keys)
    return replace(project, dataset=replace(dataset, masks=replace(masks, read=read, keys=keys)))


def asks(project: Project, query: Mapping[str, Any], held: dict[frozenset[Need], Experiment]) -> list[int]:
    """What a strategy asks about behind two rounds that were played; nothing of it stays but experiments, by needs."""
    recipe = parse({**project.recipe.plain(), "query": query, "loop": BUDGETS})
    check_components(recipe)
    *_, (_, *named) = setting_of(recipe).strategies
    needs = named[1].needs & COMPUTED
    if needs not in held:
        held[needs] = experiment(replace(project, recipe=recipe))
    picks = loop.select(replace(held[needs], query=tuple(named)), project.run, 2)
    shutil.rmtree(project.run.round_path(2))
    return picks.tolist()


def check_rounds(project: Project, other: Project, path: Path) -> None:
    """Play the rounds again with other labels: picks and models are the same."""
    again = replace(other, run=RunDir(path), base=project.run.path)
    again.claim()
    loop.run(experiment(again), again.run, Trackers())
    for one, two in zip(again.run.rounds(), project.run.rounds(), strict=True):
        assert one.query == two.query and one.digests["model"] == two.digests["model"]
        assert one.digests["holdout.npz"] != two.digests["holdout.npz"]


def write_images(root: Path) -> None:
    """Images of classes x and y; every third is of domain a, the others of b."""
    rng = np.random.default_rng(0)
    for k in range(36):
        (root / "xy"[k % 2]).mkdir(parents=True, exist_ok=True)
        level = 60 + 90 * (k % 2) + 40 * (k % 3 == 0)
        pixels = rng.integers(level - 60, level + 60, (16, 16)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "xy"[k % 2] / f"{'a' if k % 3 == 0 else 'b'}{k:02d}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [sorted({*STRATEGIES} - TARGETED - OF_MASKS), sorted(TARGETED)], ids=["all", "target"]
)
def test_classes_that_were_not_asked_for_change_no_pick(names: set[str], tmp_path: Path) -> None:
    """Two rounds of a hybrid, again with other labels; then what each strategy would ask about next, with both."""
    write_images(root := tmp_path / "images")
    data = {"source": "folder", "root": str(root), "group": "none", "domain": "/([ab])[0-9]", "image_size": 16,
            "holdout": {"test": 0.2}}  # fmt: skip
    of_all = {"loop": {"budgets": [6, 4]}, "pretrain": {"name": "rotation"}}
    of_target = {"loop": {"budgets": [0, 4]}, "domains": {"source": "a"}}
    changes = of_all if "hybrid" in names else of_target
    recipe = recipe_of("classification", data=data, learner="frozen", query="hybrid", **changes)
    project = play(tmp_path / "run", recipe)
    other = blind(project)
    assert (other.dataset.truth != project.dataset.truth).sum() > 12
    check_rounds(project, other, tmp_path / "again")
    held: tuple[dict[frozenset[Need], Experiment], ...] = ({}, {})
    for name in sorted(names):
        query = {"name": name, **LEAN.get(name, {})}
        assert asks(other, query, held[0]) == asks(project, query, held[1]), name


@pytest.mark.slow
def test_masks_that_were_not_asked_for_change_no_pick(tmp_path: Path) -> None:
    """As with classes, of windows: of an image with a window that was asked about, the others are other ones too."""
    recipe = recipe_of("segmentation", loop={"budgets": [6, 4]}, query="ripu")
    windows = {**recipe["task"], "region": {"name": "windows", "side": 8}}
    project = play(tmp_path / "run", {**recipe, "task": windows})
    other = blind(project)
    check_rounds(project, other, tmp_path / "again")
    for name in ("hybrid", "edgeal", "cereals"):
        assert asks(other, {"name": name}, {}) == asks(project, {"name": name}, {}), name
