"""Every score term, and one from outside: a finite number of each candidate, from what it says that it reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import Hybrid
from hybrid_al.query.synthetic import make_state, restrict
from hybrid_al.query.terms import TERMS, Term, fused_terms, term
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


@terms
def test_a_candidate_has_its_value_whoever_else_may_be_asked_about(name: str) -> None:
    """But for terms of the pool as a whole, of which the labeled samples are a part: with them there it is the same."""
    state = make_state(60, labeled=6)
    subset = state.candidates[::3]
    few = replace(state, candidates=subset)
    whole, alone = values_of(name, state), values_of(name, few)
    if name == "density":  # of the whole pool: fewer neighbours, farther off
        assert (alone <= whole[::3] + 1e-6).all()
    else:
        np.testing.assert_allclose(alone, whole[::3], rtol=1e-6)


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
