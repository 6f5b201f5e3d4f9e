"""ClassBal by hand."""

from __future__ import annotations

import numpy as np

from hybrid_al.query.strategies.class_balanced import class_balanced


def test_a_frequent_class_counts_less() -> None:
    values = class_balanced(np.asarray([0.2, 0.6, 1.0, 0.9]), np.asarray([0, 0, 0, 2]))
    np.testing.assert_allclose(values, [0, 0.5 * np.exp(-0.75), np.exp(-0.75), 0.875 * np.exp(-0.25)])
    assert values.argmax() == 3


def test_equally_uncertain_ones_go_by_their_class_alone() -> None:
    np.testing.assert_allclose(class_balanced(np.full(3, 0.4), np.asarray([1, 1, 0])), np.exp([-2 / 3, -2 / 3, -1 / 3]))
