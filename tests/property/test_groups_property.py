"""No split and no stack crosses a group, for any data; labels that were not asked for change no pick.

That a strategy asks candidates alone, and looks at nothing of what is held out, is in `testing.check_strategy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_al.core.manifest import SPLITS, Manifest
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.base import Dataset
from hybrid_al.data.growth import grow
from hybrid_al.data.readers.volumes import stack_at
from hybrid_al.data.samples import Sample, make_dataset
from hybrid_al.data.splits import assign
from hybrid_al.errors import InputError
from tests.helpers.command import call
from tests.helpers.tiny import recipe_of

SPLIT_OF_DATA = st.sampled_from([None, None, "pool", "val", "test"])


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
        volume = np.full((count, 2, 2), number, dtype=np.float32) + np.arange(count)[:, None, None] / 10
        for z in range(count):
            around = stack_at(volume, z, stack)
            assert len(around) == stack and (around // 1 == number).all() and (around[stack // 2] == volume[z]).all()


@pytest.mark.slow
def test_labels_that_were_not_asked_for_change_no_pick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds of a hybrid, again with other labels of test and of all that it did not ask about."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("val", 8), ("test", 12)):
        labels = rng.integers(0, 2, count)
        arrays[f"{split}_images"] = rng.integers(0, 150, (count, 16, 16), dtype=np.uint8) + 100 * labels[:, None, None]
        arrays[f"{split}_labels"], arrays[f"{split}_patient"] = (
            labels,
            rng.integers(0, count // 2, count) + 100 * len(split),
        )
    picks = queries(arrays, "first")
    rows = [int(sample.rpartition("/")[2]) for sample in picks]
    others = np.setdiff1d(np.arange(40), rows)
    arrays["train_labels"] = arrays["train_labels"].copy()
    arrays["train_labels"][others] = 1 - arrays["train_labels"][others]
    arrays["test_labels"] = 1 - arrays["test_labels"]
    assert queries(arrays, "second") == picks and len(set(picks)) == 12


def queries(arrays: Mapping[str, np.ndarray], name: str) -> list[str]:
    """What a run asks about, round by round, of images in an NPZ file."""
    np.savez(
        f"{name}.npz", **{key: value.astype(np.uint8) if "images" in key else value for key, value in arrays.items()}
    )
    data = {"source": "npz", "root": f"{name}.npz", "group": "patient", "image_size": 16, "classes": ["a", "b"]}
    recipe = recipe_of("classification", data=data, query="hybrid", loop={"budgets": [4, 4, 4]}, learner="frozen")
    Path(f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert call("run", f"{name}.yaml", "--run-dir", name, "--quiet", "report.random_runs=0") == 0
    run = RunDir(Path(name))
    return [sample for r in range(3) for sample in run.query_ids(r) or ()]
