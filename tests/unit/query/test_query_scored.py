"""Uncertainty strategies, score terms, batch makers and the hybrid against references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.registry import component
from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.kernels.weighted_kmeans import weighted_k_means
from hybrid_al.query.base import QueryState, QueryStrategy
from hybrid_al.query.batches import BATCHES, build_batch
from hybrid_al.query.batches.base import best_first
from hybrid_al.query.cache import with_cache
from hybrid_al.query.cover import coverage
from hybrid_al.query.strategies import (
    STRATEGIES,
    Bald,
    Entropy,
    Hybrid,
    LeastConfidence,
    Margin,
    MCDropoutEntropy,
    MeanSTD,
    Ratio,
    Schedule,
    TTAEntropy,
    TTAJensenShannon,
    TTAVariance,
    VariationRatio,
    VoteEntropy,
)
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.query.terms import TERMS, standing
from hybrid_al.scores import samples as scores
from hybrid_al.scores.ranks import Fusion, fuse, mid_ranks


def certain(state: QueryState) -> QueryState:
    """The same state with a model that is certain of everything."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, np.tile([1.0, 0, 0], (len(indices), samples * views, 1)))

    return replace(state, predictor=predict)


@pytest.mark.parametrize(
    ("strategy", "score", "passes"),
    [
        (Entropy(), scores.entropy, 1),
        (Margin(), scores.margin, 1),
        (LeastConfidence(), scores.least_confidence, 1),
        (MCDropoutEntropy(), scores.entropy, 25),
        (MCDropoutEntropy(samples=3), scores.entropy, 3),
        (Bald(), scores.bald, 25),
        (Bald(samples=2), scores.bald, 2),
        (Ratio(), scores.ratio, 1),
        (VariationRatio(), scores.variation_ratio, 25),
        (MeanSTD(samples=4), scores.mean_std, 4),
        (VoteEntropy(samples=9), scores.vote_entropy, 9),
        (TTAEntropy(), scores.entropy, 8),
        (TTAVariance(views=3), scores.summed_variance, 3),
        (TTAJensenShannon(), scores.bald, 8),
    ],
)
def test_uncertainty_takes_the_top(strategy: QueryStrategy, score: object, passes: int) -> None:
    assert callable(score)
    state = make_state()
    values = score(state.probs(passes))
    query = strategy.select(state, 6, np.random.default_rng(0))
    best = np.lexsort((np.random.default_rng(0).random(len(values)), -values))[:6]
    assert query.indices.tolist() == state.candidates[best].tolist()
    assert query.scores is not None
    np.testing.assert_array_equal(query.scores.values, values)


def test_views_are_asked_of_the_model_as_views() -> None:
    state, calls = make_state(), list[tuple[int, int]]()
    inner = state.predictor
    assert inner is not None

    def counted(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        calls.append((samples, views))
        return inner(indices, samples, views)

    for strategy in (TTAEntropy(), TTAVariance(views=5), VoteEntropy(samples=7)):
        strategy.select(replace(state, predictor=counted), 3, np.random.default_rng(0))
    assert calls == [(1, 8), (1, 5), (7, 1)]


@pytest.mark.parametrize(
    "key", ["mc_dropout_entropy.samples", "bald.samples", "variation_ratio.samples", "tta_jsd.views"]
)
@pytest.mark.parametrize("passes", [1, 0])
def test_passes_are_two_or_more(key: str, passes: int) -> None:
    name, _, kind = key.partition(".")
    with pytest.raises(InputError, match=f"query.{kind}: expected a whole number of 2 to 1000"):
        component(STRATEGIES, "query", name, {kind: passes})


def test_reasons_name_the_score() -> None:
    for name, words in {"mc_dropout_entropy": "mc dropout entropy", "bald": "bald"}.items():
        reasons = STRATEGIES[name]().select(make_state(), 2, np.random.default_rng(0)).reasons
        assert reasons is not None and all(reason.startswith(f"{words} in the top ") for reason in reasons)


@pytest.mark.parametrize("strategy", [Entropy(), MCDropoutEntropy(), Bald()])
def test_ties_fall_at_random(strategy: QueryStrategy) -> None:
    state = certain(make_state())
    picks = [tuple(strategy.select(state, 3, np.random.default_rng(s)).indices.tolist()) for s in range(10)]
    assert len(set(picks)) == 10


def test_best_first() -> None:
    values = np.array([1.0, 5, 5, 0, 5])
    orders = {tuple(best_first(values, np.random.default_rng(s)).tolist()) for s in range(60)}
    assert all(order[3:] == (0, 3) for order in orders)
    assert len(orders) == 6


def test_consistency_term_is_the_record_at_the_candidates() -> None:
    state = make_state()
    assert state.consistency is not None
    np.testing.assert_array_equal(
        TERMS["consistency"].score(state), [state.consistency.uncertainty()[i] for i in state.candidates]
    )


def test_each_part_of_the_record_is_a_term_of_its_own() -> None:
    state = make_state()
    assert state.consistency is not None
    c, rows = state.consistency, state.candidates[state.consistency.seen[state.candidates] > 1]
    kept = replace(state, candidates=rows)
    for name, values in {
        "disagreement": 1 - c.agreement,
        "flips": c.flips,
        "divergence": c.divergence,
        "doubt": 1 - c.confidence,
        "below_threshold": 1 - c.above,
    }.items():
        np.testing.assert_allclose(TERMS[name].score(kept), values[rows], atol=1e-6)


def test_density_term_is_typicality_in_the_pool() -> None:
    state = make_state(50, labeled=6)
    pool = np.concatenate([state.candidates, state.labels.labeled])
    vectors = state.vectors(pool, "cosine").astype(np.float64)
    distance = np.sort(np.linalg.norm(vectors[:, None] - vectors[None], axis=2), axis=1)[:, 1:21]
    expected = (1 / (distance.mean(axis=1) + 1e-5))[: len(state.candidates)]
    np.testing.assert_allclose(TERMS["density"].score(state), expected, rtol=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_terms_read_what_they_declare(name: str) -> None:
    state, term = make_state(), TERMS[name]
    assert term.score(restrict(state, term.needs)).shape == state.candidates.shape
    with pytest.raises(HybridALError):
        term.score(restrict(state, frozenset()))


def test_standing_in_words() -> None:
    ranks = {"least_confidence": np.array([0.975, 0.999]), "consistency": np.array([0.1, 0.5])}
    assert standing(ranks, 0) == "least confidence in the top 3 %, consistency in the top 90 %"
    assert standing(ranks, 1) == "least confidence in the top 1 %, consistency in the top 50 %"


def values_of(state: QueryState) -> FloatArray:
    return np.random.default_rng(7).random(len(state.candidates))


def test_topk_batch() -> None:
    state = make_state()
    batch = build_batch({"name": "topk"}).make(state, values_of(state), 5, np.random.default_rng(0))
    assert batch.picks.tolist() == np.argsort(-values_of(state))[:5].tolist()


@pytest.mark.parametrize("labeled", [0, 6])
def test_kmeans_batch_takes_the_best_of_each_cluster_of_the_shortlist(labeled: int) -> None:
    """Labeled samples are centres too; without any it is the k-means of the strategies."""
    state = make_state(80, labeled=labeled)
    values = values_of(state)
    batch = build_batch({"name": "kmeans", "shortlist": 4}).make(state, values, 6, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    shortlist = best_first(values, rng)[:24]
    vectors, fixed = (state.vectors(rows, "cosine") for rows in (state.candidates[shortlist], state.labels.labeled))
    if labeled:
        _, cluster = weighted_k_means(vectors, np.ones(24), 6, rng, 50, fixed)
    else:
        _, cluster = k_means(vectors, 6, rng)
    best = [max(shortlist[cluster == c], key=lambda i: values[i]) for c in range(6)]
    assert batch.picks.tolist() == sorted(best, key=lambda i: -values[i])
    assert batch.note == "one of 6 clusters"


def test_kmeans_batch_fills_up_where_embeddings_repeat() -> None:
    state = make_state(constant=True)
    batch = build_batch({"name": "kmeans"}).make(state, values_of(state), 5, np.random.default_rng(0))
    assert batch.picks.tolist() == np.argsort(-values_of(state))[:5].tolist()


def test_kcenter_batch_spreads_the_shortlist() -> None:
    state, values = make_state(80), values_of(make_state(80))
    picks = build_batch({"name": "kcenter", "shortlist": 4}).make(state, values, 6, np.random.default_rng(0)).picks
    shortlist = np.argsort(-values)[:24]
    assert picks[0] == shortlist[0]
    covered = [*state.labels.labeled, state.candidates[picks[0]]]
    for pick in picks[1:]:
        away = [
            np.linalg.norm(
                state.vectors(state.candidates[[i]], "cosine") - state.vectors(np.asarray(covered), "cosine"), axis=1
            ).min()
            for i in shortlist
        ]
        assert pick == shortlist[int(np.argmax(away))]
        covered.append(state.candidates[pick])


def test_hybrid_fuses_ranks_by_weight() -> None:
    state = make_state()
    strategy = Hybrid(score={"entropy": 2, "consistency": 1, "margin": 0}, batch={"name": "topk"})
    query = strategy.select(state, 4, np.random.default_rng(0))
    assert state.consistency is not None
    entropy = mid_ranks(scores.entropy(state.probs()))
    consistency = mid_ranks(state.consistency.uncertainty()[state.candidates])
    fused = (2 * entropy + consistency) / 3
    assert query.indices.tolist() == state.candidates[np.argsort(-fused)[:4]].tolist()
    assert query.scores is not None
    np.testing.assert_allclose(query.scores.values, fused)
    assert set(query.scores.parts) == {"entropy", "consistency"}
    np.testing.assert_array_equal(query.scores.parts["entropy"], entropy)
    assert query.reasons is not None
    assert query.reasons[0].startswith("entropy in the top ")


def test_hybrid_says_why() -> None:
    query = Hybrid().select(make_state(), 5, np.random.default_rng(0))
    assert query.reasons is not None
    for reason in query.reasons:
        assert " %, consistency in the top " in reason
        assert reason.endswith("; drawn by score and distance")


@pytest.mark.parametrize(
    ("score", "batch", "needs"),
    [
        ({"entropy": 1}, {"name": "topk"}, {"predictions"}),
        ({"entropy": 0, "consistency": 1}, {"name": "topk"}, {"consistency"}),
        ({"consistency": 1}, {"name": "kcenter"}, {"consistency", "embeddings"}),
        ({"entropy": 1, "density": 1}, {"name": "topk"}, {"predictions", "embeddings"}),
    ],
)
def test_hybrid_derives_its_needs(score: dict[str, float], batch: dict[str, str | int], needs: set[str]) -> None:
    strategy = Hybrid(score, batch)
    assert strategy.needs == needs
    strategy.select(restrict(make_state(), strategy.needs), 3, np.random.default_rng(0))


def test_hybrid_predicts_once_for_all_terms() -> None:
    state, calls = make_state(), list[int]()
    inner = state.predictor
    assert inner is not None

    def counted(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        calls.append(samples * views)
        return inner(indices, samples, views)

    strategy = Hybrid({"entropy": 1, "margin": 1, "least_confidence": 1})
    strategy.select(replace(state, predictor=counted), 3, np.random.default_rng(0))
    assert calls == [1]


def test_hybrid_needs_a_training_before_it() -> None:
    with pytest.raises(InputError, match="consistency record"):
        Hybrid().select(replace(make_state(), consistency=None), 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"score": {"entropi": 1}}, "did you mean 'entropy'"),
        ({"score": {"entropy": -1}}, "query.score.entropy: expected a number of 0 or more"),
        ({"score": {}}, "one weight above 0"),
        ({"batch": {"name": "kmean"}}, "did you mean 'kmeans'"),
        ({"batch": {}}, "query.batch.name"),
        ({"batch": {"name": "topk", "shortlist": 3}}, "shortlist"),
        ({"batch": {"name": "kmeans", "shortlst": 3}}, "did you mean 'shortlist'"),
        ({"batch": {"name": "kmeans", "shortlist": 0}}, "query.batch.shortlist: expected a whole number of 1 or more"),
        ({"batch": {"name": "kcenter", "metric": "cosin"}}, "did you mean 'cosine'"),
    ],
)
def test_hybrid_refuses_what_it_does_not_know(params: Mapping[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        component(STRATEGIES, "query", "hybrid", params)


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_are_built_from_recipes(name: str) -> None:
    assert component(STRATEGIES, "query", name, {}) == STRATEGIES[name]()


def test_batches_are_listed() -> None:
    assert {"topk", "kmeans", "kcenter"} < set(BATCHES)
    assert all(isinstance(build_batch({"name": name}), BATCHES[name]) for name in BATCHES)


@pytest.mark.parametrize("budget", [0, 35])
@pytest.mark.parametrize("name", STRATEGIES)
def test_budget_must_fit_the_candidates(name: str, budget: int) -> None:
    with pytest.raises(InputError, match="1 to 34 candidates"):
        STRATEGIES[name]().select(make_state(), budget, np.random.default_rng(0))


@pytest.mark.parametrize("fusion", ["mean", "product", "max"])
def test_fusions(fusion: Fusion) -> None:
    parts = {"a": np.array([1.0, 5, 8, 4, 3, 2, 0, 6, 7]), "b": np.array([1.0, 4, 0, 8, 2, 3, 5, 6, 7])}
    ranks = {name: mid_ranks(values) for name, values in parts.items()}
    weights = {"a": 2.0, "b": 1.0}
    expected = {
        "mean": (2 * ranks["a"] + ranks["b"]) / 3,
        "product": np.cbrt(ranks["a"] ** 2 * ranks["b"]),
        "max": np.maximum(ranks["a"], ranks["b"] / 2),
    }[fusion]
    np.testing.assert_allclose(fuse(parts, weights, fusion), expected)
    query = Hybrid(fusion=fusion, batch={"name": "topk"}).select(make_state(), 3, np.random.default_rng(0))
    state = make_state()
    assert state.consistency is not None
    terms = {
        "entropy": scores.entropy(state.probs()),
        "consistency": state.consistency.uncertainty()[state.candidates].astype(np.float64),
    }
    assert query.scores is not None
    np.testing.assert_allclose(query.scores.values, fuse(terms, {"entropy": 1.0, "consistency": 1.0}, fusion))
    with pytest.raises(InputError, match="did you mean 'product'"):
        Hybrid(fusion="produkt")  # type: ignore[arg-type]


def test_what_was_predicted_serves_parts_of_the_candidates() -> None:
    state, calls = make_state(), list[IntArray]()
    inner = state.predictor
    assert inner is not None

    def counted(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        calls.append(indices)
        return inner(indices, samples, views)

    once = with_cache(replace(state, predictor=counted))
    whole, subset = once.probs(), np.array([20, 3, 11])
    part = replace(once, candidates=state.candidates[subset])
    np.testing.assert_array_equal(part.probs(), whole[subset])
    features = [b.features for b in once.predictions()]
    assert all(f is not None for f in features)
    (batch,) = part.predictions()
    assert batch.features is not None and batch.head is not None
    np.testing.assert_array_equal(batch.features, np.concatenate([f for f in features if f is not None])[subset])
    assert len(calls) == 1
    replace(once, candidates=state.labels.labeled).probs()
    assert calls[1].tolist() == state.labels.labeled.tolist()


def test_coverage_is_the_share_of_the_pool_near_a_label() -> None:
    state = make_state(50, labeled=6)
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled), "l2").astype(np.float64)
    labeled = state.vectors(state.labels.labeled, "l2").astype(np.float64)
    for share in (0.05, 0.3, 0.9):
        pairs = [float(np.linalg.norm(a - b)) for i, a in enumerate(pool) for b in pool[:i]]
        radius = np.quantile(pairs, share)
        near = [min(np.linalg.norm(a - b) for b in labeled) <= radius for a in pool]
        assert coverage(state, share, "l2", np.random.default_rng(0)) == pytest.approx(np.mean(near))
    assert coverage(make_state(labeled=0), 0.5, "l2", np.random.default_rng(0)) == 0
    assert coverage(make_state(constant=True), 0.5, "l2", np.random.default_rng(0)) == 1


def test_the_schedule_goes_from_density_to_uncertainty() -> None:
    plain = {"name": "topk"}
    state = make_state(labeled=0)
    late, early = Hybrid(batch=plain), Hybrid(score={"density": 1}, batch=plain)
    picks = Schedule(batch=plain).select(state, 4, np.random.default_rng(0))
    assert picks.indices.tolist() == early.select(state, 4, np.random.default_rng(0)).indices.tolist()
    assert picks.reasons is not None and picks.reasons[0].startswith("labels cover 0 %; density in the top ")
    covered = make_state(constant=True)
    picks = Schedule(batch=plain).select(covered, 4, np.random.default_rng(0))
    assert picks.indices.tolist() == late.select(covered, 4, np.random.default_rng(0)).indices.tolist()
    half = make_state(60, labeled=8)
    weight = coverage(half, 0.1, "cosine", np.random.default_rng(0))
    assert 0 < weight < 1
    fused = Schedule(batch=plain, share=0.1).select(half, 4, np.random.default_rng(0)).scores
    values = [hybrid.select(half, 4, np.random.default_rng(0)).scores for hybrid in (early, late)]
    assert fused is not None and values[0] is not None and values[1] is not None
    np.testing.assert_allclose(fused.values, (1 - weight) * values[0].values + weight * values[1].values)
    for wrong in ({"share": 0}, {"early": {"densty": 1}}, {"batch": {"name": "no"}}):
        with pytest.raises(InputError):
            component(STRATEGIES, "query", "schedule", wrong)
