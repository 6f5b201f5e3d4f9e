"""Bags of rows: names, labels, what contradicts itself, and means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hybrid_al.assemble import open_project
from hybrid_al.core.embeddings import Embeddings
from hybrid_al.data import bags as module
from hybrid_al.data.bags import Bags, block_means, column_of, with_bags
from hybrid_al.data.base import Dataset
from hybrid_al.data.samples import Sample, make_dataset
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.recipe import parse
from tests.helpers.tiny import recipe_of

NAMES = ("a1", "b1", "a2", "c1", "b2", "a3")


def dataset(labels: Sequence[int], splits: str = "pppppp", bags: Sequence[str] = ()) -> Dataset:
    words = {"p": "pool", "v": "val", "t": "test"}
    samples = [
        Sample(name, name, name, words[split], label, digest=name, bag=bags[k] if bags else "")  # type: ignore[arg-type]
        for k, (name, split, label) in enumerate(zip(NAMES, splits, labels, strict=True))
    ]
    names = ["well", "ill", "worse"][: max(labels) + 1]
    return make_dataset(
        samples, lambda i: np.zeros((4, 4, 1), dtype=np.uint8), classes=names, channels=1, holdout={}, seed=0
    )


def test_a_bag_stands_at_its_first_row() -> None:
    made = with_bags(dataset([1, 0, 1, 0, -1, 1], "pvptvp"), "[a-c]")
    bags = Bags.of(made)
    assert made.bags == ("a", "b", "a", "c", "b", "a") and made.truth.tolist() == [1, 0, -1, 0, -1, -1]
    assert bags.first.tolist() == [0, 1, 3] and bags.sizes.tolist() == [3, 2, 1]
    assert [bags.rows(i).tolist() for i in (0, 5, 4, 3)] == [[0, 2, 5], [0, 2, 5], [1, 4], [3]]
    assert [bags.split(made.manifest, s).tolist() for s in ("pool", "val", "test")] == [[0], [1], [3]]


def test_the_source_may_name_the_bags_and_so_may_groups() -> None:
    assert with_bags(dataset([0, 1, 0, 1, 1, 0], bags=list("xyxyyx")), None).bags == tuple("xyxyyx")
    assert with_bags(dataset([0, 1, 0, 1, 1, 0]), "group").bags == NAMES
    assert with_bags(dataset([0, 1, 0, 1, 1, 0]), {"label": "highest"}).bags == NAMES


def test_the_highest_class_may_decide() -> None:
    made = with_bags(dataset([0, 0, 1, -1, 0, 0]), {"pattern": "(.)", "label": "highest"})
    assert made.truth.tolist() == [1, 0, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("labels", "splits", "spec", "message"),
    [
        ([0, 1, 1, 0, 1, 0], "pppppp", "[a-c]", r"bag 'a': expected one label, as well of a1 .*got ill of a2"),
        ([0, 1, 0, 0, 1, 0], "pvppvt", "[a-c]", r"bag 'a': expected one split, as of a1 \(pool\).*got a3 in test"),
        ([0, 1, 0, 0, 1, 0], "pppppp", "[ab]", "a sample in which .* finds a group"),
        ([0, 1, 0, 0, 1, 0], "pppppp", {"pattern": "(", "label": "one"}, "a regular expression"),
        ([0, 1, 0, 0, 1, 0], "pppppp", {"pattern": "[a-c]", "label": "most"}, "data.bag.label"),
    ],
)
def test_what_contradicts_itself_is_refused(labels: list[int], splits: str, spec: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        with_bags(dataset(labels, splits), spec)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_row_without_a_bag_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.bag: a2: expected the name of its bag"):
        with_bags(dataset([0, 1, 0, 0, 1, 0], bags=["a", "b", "", "c", "b", "a"]), None)


def test_columns_are_those_of_tables() -> None:
    assert (
        column_of("slide", "csv") == "slide" and column_of("(.*)_", "folder") == "" and column_of("group", "csv") == ""
    )
    assert column_of({"column": "slide", "label": "highest"}, "csv") == "slide"
    with pytest.raises(InputError, match="only a table"):
        column_of({"column": "slide"}, "npz")
    with pytest.raises(UnknownName, match="colum"):
        column_of({"colum": "slide"}, "csv")
    with pytest.raises(InputError, match="a column or a pattern"):
        column_of({"column": "slide", "pattern": "x"}, "csv")


def test_the_mean_of_a_bag_is_at_its_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    bags, vectors = Bags(np.asarray([0, 1, 0, 2, 1, 0])), np.random.default_rng(0).random((6, 3)).astype(np.float32)
    means = bags.pooled(Embeddings(vectors, "e", "m")).vectors
    np.testing.assert_allclose(
        means[[0, 1, 3]], [vectors[[0, 2, 5]].mean(axis=0), vectors[[1, 4]].mean(axis=0), vectors[3]]
    )
    assert not means[[2, 4, 5]].any()
    mean, deviation = block_means(vectors, np.asarray([0, 2, 3, 5]))
    np.testing.assert_allclose(mean, vectors[[0, 2, 3, 5]].mean(axis=0))
    np.testing.assert_allclose(deviation, vectors[[0, 2, 3, 5]].std(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "classification", "learner": "frozen"}, "task: expected bags"),
        ({"learner": "frozen"}, "learner: expected one that learns from bags"),
        ({"query": "tta_entropy"}, r"query \(tta_entropy\): expected a strategy that bags can feed"),
        ({"train": "mixmatch"}, "train: expected an objective of bags"),
        ({"loop": {"budgets": [8, 9]}}, "at most the pool's 12 bags"),
        ({"data": {**recipe_of("bags")["data"], "bag": None}}, "data.bag: expected what names the bag"),
        ({"data": {**recipe_of("bags")["data"], "grow": True}}, "data.grow: expected false"),
        ({"data": {**recipe_of("bags")["data"], "ids": "hashed"}}, "data.ids: expected plain"),
        ({"data": {**recipe_of("segmentation")["data"], "bag": "group"}}, "one class, got masks"),
        ({"task": "classification", "data": recipe_of("classification")["data"]}, r"learner: expected another one in"),
    ],
)
def test_recipes_that_bags_cannot_play_are_refused(change: dict[str, object], message: str, tmp_path: object) -> None:
    with pytest.raises(InputError, match=message):
        open_project(parse({**recipe_of("bags"), **change}), run_dir=tmp_path / "run")  # type: ignore[operator]
