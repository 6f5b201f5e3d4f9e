"""Labeled batches of a source and a target."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from hybrid_al.data.loaders import batches_of_domains, labeled_batches

SOURCE = np.arange(20) >= 4


@pytest.mark.parametrize(("share", "of_target"), [(0.5, 4), (0.1, 1), (0.0, 1), (0.99, 7), (1.0, 8)])
def test_each_batch_has_its_share_of_the_target(share: float, of_target: int) -> None:
    rng = np.random.default_rng(0)
    for rows in islice(batches_of_domains(np.arange(20) % 2, SOURCE, 8, share, rng, balanced=True), 20):
        assert len(rows) == 8 and (~SOURCE[rows]).sum() == of_target


@pytest.mark.parametrize(
    ("source", "share"), [(None, 0.5), (SOURCE, None), (SOURCE | True, 0.5), (SOURCE & False, 0.5)]
)
def test_one_domain_is_as_without_domains(source: np.ndarray | None, share: float | None) -> None:
    one, two = (np.random.default_rng(0) for _ in range(2))
    batches = batches_of_domains(np.arange(20) % 2, source, 8, share, one, balanced=True)
    for rows, plain in islice(zip(batches, labeled_batches(np.arange(20) % 2, 8, two, balanced=True), strict=True), 3):
        assert np.array_equal(rows, plain)
