"""The consistency record of maps against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_al.core.consistency import THRESHOLD, Recording
from hybrid_al.errors import InputError
from hybrid_al.scores.pixels import Foreground, Mean, Reduction, Sum
from hybrid_al.scores.samples import jensen_shannon
from hybrid_al.semi.base import Evidence
from hybrid_al.semi.dense.base import PixelEvidence
from hybrid_al.semi.dense.record import MapRecorder

N, C, SIDE, DECAY = 6, 3, 5, 0.8


def visits(count: int) -> list[PixelEvidence]:
    """Evidence of rows 1, 2 and 4; row 4 has padding and comes twice, the others at every visit."""
    rng, evidence = np.random.default_rng(0), []
    for visit in range(count):
        rows = np.asarray([1, 4, 2] if visit < 2 else [2, 1])
        weak, strong = (
            torch.from_numpy(np.moveaxis(rng.dirichlet(np.full(C, 0.15), (len(rows), SIDE, SIDE)), -1, 1)).float()
            for _ in range(2)
        )
        valid = torch.ones(len(rows), SIDE, SIDE, dtype=torch.bool)
        valid[torch.from_numpy(rows == 4), :2] = False
        evidence.append(PixelEvidence(rows, weak, strong, valid))
    return evidence


def slow_reduce(values: np.ndarray, label: np.ndarray, valid: np.ndarray, reduction: Reduction) -> float:
    if isinstance(reduction, Sum):
        return float(values[valid].sum()) / SIDE**2
    part = valid & (label > 0) if isinstance(reduction, Foreground) else valid
    return float(values[part].mean())


@pytest.mark.parametrize("reduction", [Mean(), Sum(), Foreground()])
def test_the_record_equals_a_slow_reference(reduction: Reduction) -> None:
    recorder, visits_of_row = MapRecorder(N, C, reduction, Recording(decay=DECAY)), dict[int, list[list[float]]]()
    areas = dict[int, np.ndarray]()
    for evidence in visits(4):
        recorder.add(evidence)
        for row, w, s, v in zip(
            evidence.indices.tolist(),
            evidence.weak.numpy().astype(np.float64),
            evidence.strong.numpy().astype(np.float64),
            evidence.valid.numpy(),
            strict=True,
        ):
            label, confidence = w.argmax(axis=0), w.max(axis=0)
            bits = jensen_shannon(w.reshape(C, -1).T, s.reshape(C, -1).T).reshape(SIDE, SIDE)
            area = np.asarray([(label[v] == c).mean() for c in range(C)])
            flip = float(np.abs(area - areas[row]).sum() / 2) if row in areas else np.nan
            areas[row] = area
            maps = [label != s.argmax(axis=0), 1 - confidence, bits, confidence < THRESHOLD]
            visits_of_row.setdefault(row, []).append([*(slow_reduce(m, label, v, reduction) for m in maps), flip])
    record = recorder.record()
    assert record.seen.tolist() == [0, 4, 4, 0, 2, 0] and (record.pseudo_label == -1).all()
    for row, numbers in visits_of_row.items():
        values = np.asarray(numbers)
        weights = DECAY ** np.arange(len(values))[::-1]
        disagreement, doubt, bits, below = (values[:, :4] * weights[:, None]).sum(axis=0) / weights.sum()
        flips = (values[1:, 4] * weights[1:]).sum() / weights[1:].sum()
        expected = [1 - disagreement, 1 - doubt, flips, bits, 1 - below]
        arrays = [record.agreement, record.confidence, record.flips, record.divergence, record.above]
        np.testing.assert_allclose([array[row] for array in arrays], expected, atol=1e-5)
    uncertainty = record.uncertainty()
    assert ((uncertainty >= 0) & (uncertainty <= 1)).all() and len(set(uncertainty[[1, 2, 4]].tolist())) == 3


def test_flips_are_a_lower_bound_of_what_changed() -> None:
    generator = np.random.default_rng(1)
    maps = generator.integers(C, size=(2, SIDE, SIDE))
    recorder = MapRecorder(1, C, Mean(), Recording(decay=DECAY))
    for labels in maps:
        probs = torch.nn.functional.one_hot(torch.from_numpy(labels), C).movedim(-1, 0)[None].float()
        recorder.add(PixelEvidence(np.asarray([0]), probs, probs, torch.ones(1, SIDE, SIDE, dtype=torch.bool)))
    assert 0 < recorder.record().flips[0] <= (maps[0] != maps[1]).mean()


def test_other_evidence_is_refused_and_none_changes_nothing() -> None:
    recorder = MapRecorder(2, C, Mean(), Recording(decay=DECAY))
    recorder.add(None)
    assert recorder.seen.tolist() == [0, 0]
    with pytest.raises(InputError, match="PixelEvidence"):
        recorder.add(Evidence(np.asarray([0]), torch.ones(1, 3) / 3, torch.ones(1, 3) / 3))
