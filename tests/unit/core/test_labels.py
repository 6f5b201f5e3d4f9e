"""The append-only record of annotations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.labels import LabelStore, stratified_folds
from hybrid_al.core.types import Annotation
from hybrid_al.errors import InputError


def answer(index: int, target: int, round: int = 0, **more: object) -> Annotation:
    return replace(Annotation(index, "class", target, "ann", round), **more)  # type: ignore[arg-type]


SKIPPED = Annotation(4, "skip", None, "ann", 0)


def test_labeled_is_in_the_order_of_annotation() -> None:
    store = LabelStore(6, (answer(3, 1), answer(0, 2), SKIPPED))
    assert store.labeled.tolist() == [3, 0]
    assert store.class_targets().tolist() == [1, 2]
    assert store.answered.tolist() == [3, 0, 4]
    assert store.unlabeled.tolist() == [1, 2, 4, 5]
    assert store.cost == 3.0


def test_empty() -> None:
    store = LabelStore(3)
    assert store.labeled.shape == (0,) and store.unlabeled.tolist() == [0, 1, 2]
    assert store.cost == 0.0 and store.class_targets().shape == (0,)
    assert LabelStore.from_jsonl(3, store.to_jsonl()) == store


def test_a_correction_supersedes_and_costs() -> None:
    store = LabelStore(6, (answer(3, 1), answer(0, 2)))
    corrected = store.add([answer(3, 0, round=1, supersedes=0, cost=0.5)])
    assert corrected.labeled.tolist() == [3, 0]
    assert corrected.class_targets().tolist() == [0, 2]
    assert corrected.cost == 2.5
    assert store.class_targets().tolist() == [1, 2]
    assert corrected.as_of(0) == store


def test_a_second_correction_supersedes_the_first() -> None:
    store = LabelStore(2, (answer(0, 1), answer(0, 2, supersedes=0), answer(0, 3, supersedes=1)))
    assert store.class_targets().tolist() == [3]
    with pytest.raises(InputError, match="supersedes=1"):
        LabelStore(2, (answer(0, 1), answer(0, 2, supersedes=0), answer(0, 3, supersedes=0)))


def test_a_skip_can_be_corrected_and_a_label_withdrawn() -> None:
    store = LabelStore(6, (SKIPPED, answer(1, 1)))
    assert store.add([answer(4, 2, supersedes=0)]).labeled.tolist() == [4, 1]
    assert store.add([replace(SKIPPED, index=1, supersedes=1)]).labeled.size == 0


@pytest.mark.parametrize("annotation", [answer(6, 0), answer(-1, 0), answer(0, 1, supersedes=0)])
def test_annotations_of_nothing_are_refused(annotation: Annotation) -> None:
    with pytest.raises(InputError):
        LabelStore(6, (annotation,))


def test_the_same_sample_twice_needs_a_correction() -> None:
    with pytest.raises(InputError, match="annotation 1 of sample 3"):
        LabelStore(6, (answer(3, 1), answer(3, 2)))


def test_class_targets_refuses_other_kinds() -> None:
    store = LabelStore(3, (Annotation(0, "classes", (0, 2), "ann", 0),))
    with pytest.raises(InputError, match="a class"):
        store.class_targets()


def test_jsonl_round_trip() -> None:
    store = LabelStore(
        9,
        (
            answer(3, 1, time="2026-01-01T00:00:00Z"),
            Annotation(4, "classes", (0, 2), "dr \u2028 é\n", 0, cost=2.5),
            Annotation(5, "mask", "rounds/000/answers/5.png", "ann", 1, region=(0, 0, 8, 8)),
            Annotation(6, "skip", None, "ann", 1),
            answer(3, 0, round=2, supersedes=0),
        ),
    )
    text = store.to_jsonl()
    assert text.count("\n") == 5
    assert LabelStore.from_jsonl(9, text) == store


def test_samples_of_several_labels_are_dealt_by_the_rarest_that_they_have() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 3)) < [0.6, 0.25, 0.1]).astype(np.int64)
    count = targets.sum(axis=0)
    assert len(set(count.tolist())) == 3 and not targets.any(axis=1).all()
    kinds = []
    for row in targets.tolist():
        labels = [k for k in range(3) if row[k]]
        kinds.append(min(labels, key=lambda k: count[k]) if labels else 3)
    fold = stratified_folds(targets, 4, np.random.default_rng(1))
    np.testing.assert_array_equal(fold, stratified_folds(np.asarray(kinds), 4, np.random.default_rng(1)))
    for kind in range(4):
        shares = [sum(k == kind for k, f in zip(kinds, fold.tolist(), strict=True) if f == part) for part in range(4)]
        assert max(shares) - min(shares) <= 1
