"""Covers of small pools by integer programs (HiGHS, by scipy): the best batch, or the best that a bounded search found.

The search ends after `NODES` nodes and not after a time, so that the same picks come again.
"""

from __future__ import annotations

import numpy as np

from ..core.types import BoolArray, FloatArray, IntArray

NODES = 2000


def least_distance(
    to_candidates_PM: FloatArray, to_labeled_PL: FloatArray, budget: int, *, equal: bool
) -> tuple[IntArray, bool]:
    """`budget` candidates of the least mean distance of P samples to what of picks and labeled ones serves them.

    equal  each pick and labeled sample serves the same share of the samples; else each sample has the nearest
    Returns their places, none where no batch was found, and whether it is proven that no batch is better. The program
    has P (M + L) variables, or P (M + 1).
    """
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    if not equal and to_labeled_PL.shape[1]:
        to_labeled_PL = to_labeled_PL.min(axis=1, keepdims=True)
    costs = np.concatenate([to_candidates_PM, to_labeled_PL], axis=1).astype(np.float64)
    (samples, servers), candidates, labeled = costs.shape, to_candidates_PM.shape[1], to_labeled_PL.shape[1]
    picked = np.concatenate([np.zeros(costs.size), np.ones(candidates)])
    once = sparse.kron(sparse.eye_array(samples), np.ones((1, servers)))
    if equal:
        share = samples / (budget + labeled)
        flow = sparse.kron(np.ones((1, samples)), sparse.eye_array(servers))
        goal = np.concatenate([np.zeros(candidates), np.full(labeled, share)])
        serves = LinearConstraint(sparse.hstack([flow, -share * sparse.eye_array(servers, candidates)]), goal, goal)
    else:
        flow = sparse.kron(sparse.eye_array(samples), sparse.eye_array(candidates, servers))
        open_to = sparse.kron(np.ones((samples, 1)), sparse.eye_array(candidates))
        serves = LinearConstraint(sparse.hstack([flow, -open_to]), -np.inf, 0)
    result = milp(
        np.concatenate([costs.ravel() / samples, np.zeros(candidates)]),
        integrality=picked,
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(sparse.hstack([once, sparse.csr_array((samples, candidates))]), 1, 1),
            serves,
            LinearConstraint(picked[None], budget, budget),
        ],
        options={"node_limit": NODES},
    )
    if result.x is None:
        return np.empty(0, dtype=np.int64), False
    return np.flatnonzero(result.x[costs.size :] > 0.5), bool(result.status == 0)


def least_radius(
    to_candidates_PM: FloatArray, to_labeled_P: FloatArray, budget: int, outliers: int, greedy: float
) -> tuple[IntArray, bool]:
    """`budget` candidates within whose least radius, or that of a labeled sample, lie all of P samples but `outliers`.

    By bisection over the distances below `greedy`, the radius of the greedy picks. Returns their places, none where no
    smaller radius was found, and whether it is proven that no batch has a smaller one.
    """
    radii = np.unique(to_candidates_PM)
    radii = radii[radii < greedy]
    best, low, high, proven = np.empty(0, dtype=np.int64), 0, len(radii), True
    while low < high:
        middle = (low + high) // 2
        picks, sure = _within(to_candidates_PM <= radii[middle], to_labeled_P <= radii[middle], budget, outliers)
        if len(picks):
            best, high = picks, middle
        else:
            low, proven = middle + 1, proven and sure
    return best, proven


def _within(near_PM: BoolArray, served_P: BoolArray, budget: int, outliers: int) -> tuple[IntArray, bool]:
    """`budget` candidates near all samples that are not served but `outliers`; none, and whether it is sure that none.

    The variables are picks, and samples that are given up.
    """
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    open_rows = np.flatnonzero(~served_P)
    samples, candidates = len(open_rows), near_PM.shape[1]
    if samples <= outliers:
        return np.arange(budget), True
    near = sparse.csr_array(near_PM[open_rows].astype(np.float64))
    picked = np.concatenate([np.ones(candidates), np.zeros(samples)])
    result = milp(
        1 - picked,
        integrality=picked,
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(sparse.hstack([near, sparse.eye_array(samples)]), 1, np.inf),
            LinearConstraint(picked[None], budget, budget),
        ],
        options={"node_limit": NODES},
    )
    sure = bool(result.status in (0, 2))  # optimal, or infeasible
    if result.x is None:
        return np.empty(0, dtype=np.int64), sure
    picks = np.flatnonzero(result.x[:candidates] > 0.5)
    missed = samples - int((near_PM[np.ix_(open_rows, picks)]).any(axis=1).sum())
    return (picks if missed <= outliers else np.empty(0, dtype=np.int64)), sure
