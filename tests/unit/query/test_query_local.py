"""Cold starts by proxy tasks and by local patterns, against loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from hybrid_al.core.embeddings import unit_rows
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.query.strategies import FreeSel, Hybrid, ProxyUncertainty, Surprisal
from hybrid_al.query.synthetic import make_state


def test_the_farthest_pattern_is_asked() -> None:
    state = make_state(40, labeled=3)
    rows = unit_rows(state.extras["patterns"])
    chosen, expected = state.labels.labeled.tolist(), list[int]()
    for _ in range(10):
        covered = rows[chosen].reshape(-1, 8)
        worth = {int(i): max(min(1 - x @ y for y in covered) for x in rows[i]) for i in state.candidates}
        best = max((i for i in worth if i not in chosen), key=worth.__getitem__)
        expected.append(best)
        chosen.append(best)
    assert FreeSel("farthest").select(state, 10, np.random.default_rng(0)).indices.tolist() == expected


def test_patterns_are_drawn_by_squared_distance() -> None:
    """Three candidates at distances 1, 1 and 2 of the labeled sample: of six draws one each for two, four for one."""
    state = make_state(4, labeled=1, held_out=0)
    patterns = np.zeros((4, 1, 2))
    patterns[state.labels.labeled[0], 0] = [1, 0]
    for i, row in zip(state.candidates, ([0, 1], [0, -1], [-1, 0]), strict=True):
        patterns[i, 0] = row
    state = replace(state, extras={"patterns": patterns})
    picks = [int(FreeSel().select(state, 1, np.random.default_rng(s)).indices[0]) for s in range(600)]
    shares = [Counter(picks)[int(i)] / 600 for i in state.candidates]
    np.testing.assert_allclose(shares, [1 / 6, 1 / 6, 4 / 6], atol=0.06)


def test_patterns_that_are_all_alike_are_asked_at_random() -> None:
    state = make_state(20, labeled=2)
    alike = replace(state, extras={"patterns": np.ones((25, 2, 8))})
    query = FreeSel().select(alike, 18, np.random.default_rng(0))
    assert len(set(query.indices.tolist())) == 18
    assert query.reasons is not None and all(r.startswith("a random one") for r in query.reasons)


def test_the_least_sure_image_of_the_proxy_task_is_asked() -> None:
    state = make_state(40, labeled=3)
    for column, where in enumerate(("global", "local")):
        values = state.extras["proxy_variance"][state.candidates, column]
        query = ProxyUncertainty("proxy_variance", where).select(state, 5, np.random.default_rng(0))  # type: ignore[arg-type]
        assert query.indices.tolist() == state.candidates[np.argsort(-values)[:5]].tolist()


def test_whole_volumes_are_asked_by_their_mean() -> None:
    state = make_state(40, labeled=0, round=0)
    volumes, values = state.groups[state.candidates], state.extras["proxy_entropy"][state.candidates, 0]
    best = max(np.unique(volumes), key=lambda v: values[volumes == v].mean())
    strategy = Hybrid({"proxy_entropy": 1.0}, {"name": "whole_groups", "top": 1000})
    picks = strategy.select(state, int((volumes == best).sum()), np.random.default_rng(0)).indices
    assert strategy.needs == {"proxy"}
    ranks = values.argsort().argsort()
    best = max(np.unique(volumes), key=lambda v: ranks[volumes == v].mean())
    assert set(state.groups[picks[:1]]) == {best}


def test_surprisal_asks_the_nearest_to_each_centre() -> None:
    state = make_state(40, labeled=0, round=0)
    rows = unit_rows(state.extras["surprisal"][state.candidates].astype(np.float32))
    centres, cluster = k_means(rows, 4, np.random.default_rng(0))
    expected = set()
    for c in range(4):
        members = np.flatnonzero(cluster == c)
        expected.add(int(state.candidates[members[np.linalg.norm(rows[members] - centres[c], axis=1).argmin()]]))
    query = Surprisal().select(state, 4, np.random.default_rng(0))
    assert set(query.indices.tolist()) == expected
