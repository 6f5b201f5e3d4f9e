"""Every score term, and one from outside: a finite number of each candidate, from what it says that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import yaml

from hybrid_al.core.consistency import ALL_PARTS
from hybrid_al.core.registry import component
from hybrid_al.core.types import Annotation, FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.query.base import EXTRAS, QueryState
from hybrid_al.query.strategies import STRATEGIES, Hybrid
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.query.terms import TERMS, Term, fused_terms, term
from hybrid_al.scores.pixels import PIXEL_SCORES
from hybrid_al.tasks.tryout import try_strategy
from hybrid_al.testing import check_strategy, corner_cases, unchanged_random_state
from tests.helpers.outside import HERE

OUTSIDE = f"{HERE}:term"
terms = pytest.mark.parametrize("name", [*TERMS, OUTSIDE])


def values_of(name: str, state: QueryState) -> FloatArray:
    """The term, by what it says that it reads."""
    score_term = term(name)
    return score_term.score(restrict(state, score_term.needs))


@terms
@pytest.mark.parametrize("case", corner_cases())
def test_one_finite_number_of_each_candidate(name: str, case: str) -> None:
    state, _ = corner_cases()[case]
    with unchanged_random_state():
        values = values_of(name, state)
    assert values.shape == (len(state.candidates),) and np.isfinite(values).all()
    np.testing.assert_array_equal(values_of(name, state), values)  # no dice are thrown


@terms
def test_what_it_does_not_say_that_it_reads_changes_nothing(name: str) -> None:
    state = make_state()
    np.testing.assert_array_equal(values_of(name, state), term(name).score(state))
    assert term(name).needs, "a term that reads nothing scores nothing"
    for need in sorted(term(name).needs):
        with pytest.raises(HybridALError):
            term(name).score(restrict(state, term(name).needs - {need}))


POOL_WIDE = frozenset(
    {"density", "density_peaks", "vat", "learning_loss", "discriminative", "pretext_loss", "unlearned"}
)
"""Terms in which the other candidates have a say: a density, a scale, a regression, a median for what was not seen."""


@terms
def test_a_candidate_has_its_value_whoever_else_may_be_asked_about(name: str) -> None:
    """But for terms of the pool as a whole, of which the labeled samples are a part: with them there it is the same."""
    state = make_state(60, labeled=6)
    subset = state.candidates[::3]
    few = replace(state, candidates=subset)
    whole, alone = values_of(name, state), values_of(name, few)
    if name == "density":  # of the whole pool: fewer neighbours, farther off
        assert (alone <= whole[::3] + 1e-6).all()
    elif name not in POOL_WIDE:
        np.testing.assert_allclose(alone, whole[::3], rtol=1e-6)


@terms
def test_the_order_of_the_candidates_is_moot(name: str) -> None:
    state = make_state(60, labeled=6)
    order = np.random.default_rng(0).permutation(len(state.candidates))
    shuffled = values_of(name, replace(state, candidates=state.candidates[order]))
    np.testing.assert_allclose(shuffled, values_of(name, state)[order], rtol=1e-3, atol=1e-6)


OTHERS = {
    "ripu",
    "inconsistency",
    "learning_loss",
    "minority",
    "consistency",
    *ALL_PARTS,
    "density",
    "density_peaks",
    "cheapness",
    "unlearned",
}
UNSURE = set(TERMS) - OTHERS
"""But for terms of regions, of what labels or training said, of what is common, and of cost."""


@pytest.mark.parametrize("name", sorted(UNSURE))
def test_larger_is_ask_first(name: str) -> None:
    """One sample is unlike what is labeled, and the model unsure of it; of all others it is certain."""
    state = make_odd_one_out()
    assert values_of(name, state).argmax() == ODD


ODD = 11


def make_odd_one_out() -> QueryState:
    """The candidate at place `ODD` is far from the others, and passes, views and models disagree about it alone."""
    state = make_state()
    assert state.embeddings is not None
    odd, n = int(state.candidates[ODD]), len(state.groups)
    logits = np.tile([6.0, -6, -6], (n, 1))
    logits[odd] = 3
    vectors = np.random.default_rng(0).normal(size=(n, 8), scale=0.1).astype(np.float32)
    vectors[:, 0] += 1
    vectors[odd] = np.eye(8)[1]
    extras = {name: np.zeros((n, *values.shape[1:])) for name, values in state.extras.items()}
    for name in ("pretext_loss", *EXTRAS["proxy"]):
        extras[name][odd] = 1
    extras["previous_probs"] = np.asarray(scipy.special.softmax(logits, axis=1))
    extras["previous_probs"][odd] = [0, 1, 0]

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        passes = samples * views
        noise = 0.1 * np.eye(3)[np.arange(passes) % 3] * (passes > 1)
        probs = scipy.special.softmax(logits[indices][:, None] + noise * (indices == odd)[:, None, None], axis=2)
        yield PredictionBatch(indices, probs, logits[indices], (np.eye(3), np.zeros(3)))

    embeddings = replace(state.embeddings, vectors=vectors)
    return replace(state, embeddings=embeddings, predictor=predict, extras=extras)


@terms
def test_alone_in_a_fused_score_it_ranks_as_it_says(name: str) -> None:
    state = make_state()
    fused, ranks = fused_terms(state, {name: 2.0})
    values = values_of(name, state)
    assert set(ranks) == {name}
    assert (np.sign(np.subtract.outer(fused, fused)) == np.sign(np.subtract.outer(values, values))).all()


@terms
def test_hybrid_takes_it_and_keeps_the_contract_of_strategies(name: str) -> None:
    check_strategy(Hybrid({name: 1.0}, {"name": "topk"}))


def test_what_is_no_term_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"Hybrid\.score: expected a Term \(needs and score\), got .*:encoder, function"
    ):
        Hybrid({f"{HERE}:encoder": 1.0})
    with pytest.raises(
        InputError, match=r"Hybrid\.score: expected an importable package\.module:name, got nowhere:term"
    ):
        Hybrid({"nowhere:term": 1.0})
    with pytest.raises(InputError, match=r"Hybrid\.score: .*did you mean 'entropy'"):
        Hybrid({"entropi": 1.0})
    assert isinstance(term(OUTSIDE), Term)


METHODS = {
    "suggestive annotation": """
        {name: hybrid, score: {variance: 1.0}, batch: {name: cover, shortlist: 2}}""",
    "AL-BSQ": """
        {name: hybrid, score: {variance: 1.0, density: 1.0}, batch: {name: topk}}""",
    "BoostMIS": """
        {name: hybrid, score: {vat: 1.0, entropy: 1.0}, fusion: max,
         batch: {name: two_stage, keep: 4, score: {density: 1.0, entropy: 1.0}, batch: {name: kcenter}}}""",
    "minority-oriented": """
        {name: hybrid, score: {entropy: 1.0, minority: 1.0}, fusion: product, batch: {name: topk}}""",
    "EADA": """
        {name: hybrid, score: {free_energy: 1.0}, batch: {name: two_stage, keep: 2, score: {logit_margin: 1.0}}}""",
    "ICAL": """
        {name: hybrid, score: {entropy: 1.0, unlearned: 1.0}, fusion: product, batch: {name: topk}}""",
    "cost-sensitive": """
        {name: hybrid, score: {entropy: 1.0, cheapness: 0.5}, batch: {name: knapsack}}""",
    "GOAL": """
        {name: hybrid, score: {entropy: 1.0}, batch: {name: kcenter, shortlist: 5}}""",
    "COVID-AL": """
        {name: hybrid, score: {learning_loss: 1.0}, batch: {name: kcenter, shortlist: 5}}""",
    "DUC": """
        {name: hybrid, score: {dirichlet_information: 1.0},
         batch: {name: two_stage, keep: 10, score: {dirichlet_data: 1.0}}}""",
}
"""Published queries as recipes of `hybrid`: their terms, how these are fused, and how a batch is made of them."""


@pytest.mark.parametrize("method", METHODS)
def test_published_queries_are_recipes(method: str) -> None:
    settings = yaml.safe_load(METHODS[method])
    strategy = component(STRATEGIES, "query", settings.pop("name"), settings)
    check_strategy(strategy)


def test_suggestive_annotation_is_for_masks() -> None:
    settings = yaml.safe_load(METHODS["suggestive annotation"])
    strategy = component(STRATEGIES, "query", settings.pop("name"), settings)
    answer = Annotation(0, "mask", "", "", 0)
    try_strategy("query", "hybrid", strategy, task="masks", scores=PIXEL_SCORES, views=False, answer=answer)


def test_a_strategy_asks_what_its_term_scores_highest() -> None:
    state = make_state()
    named = [name for name in TERMS if name in STRATEGIES and name not in ("discriminative", "alfamix")]
    assert len(named) > 15
    for name in named:
        query = STRATEGIES[name]().select(state, 6, np.random.default_rng(state.round))
        values = TERMS[name].score(state)
        assert query.scores is not None
        np.testing.assert_array_equal(query.scores.values, values)
        assert sorted(values[np.searchsorted(state.candidates, query.indices)]) == sorted(values)[-6:]
