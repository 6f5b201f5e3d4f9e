"""Policy: what to ask about is learned by playing active learning on the labeled part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import scipy.special

from ...core.registry import Count, Decay, Positive, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ..base import About, QueryState, check_budget
from ..ranking import best_by_value

LEAST = 8  # labels, with two of each of two classes, below which nothing is played
SHARPNESS = 10.0  # of the class probabilities of the ridge classifier that plays
RIDGE = 0.1
SWEEPS = 20  # of fitted Q iteration


@dataclass(frozen=True)
class Play:
    """One move: what was said of the candidates (M, F), the place of the pick, its reward, and the candidates after."""

    said: FloatArray
    pick: int
    reward: float
    after: FloatArray


@dataclass(frozen=True)
@hyperparameters
class Policy:
    """Largest value of a policy that learned, in games on the labeled samples, whose labels help most.

    In a game a random half of the labels is held back, and the others are a pool of which one of each class is known.
    A ridge classifier on unit embeddings says of each sample of the pool how uncertain, how unlike the known ones, how
    typical and of how rare a class it is; so many are asked about, one after another, and the reward of each is the
    accuracy that it adds on the half that was held back. The policy then ranks the candidates by what the classifier
    of all labels says of them. With few labels, or those of one class, nothing is played and all are equal.

    by        q: values of picks by fitted Q iteration, as a small DQN; actor: a softmax policy by its gradient, with a
              critic of states as the baseline
    games     and the most picks of each
    discount  of later rewards
    explore   share of random picks (q)
    rate      of the gradient (actor)
    """

    by: Literal["q", "actor"] = "q"
    games: Count = 30
    picks: Count = 8
    discount: Decay = 0.8
    explore: Decay = 0.3
    rate: Positive = 0.5

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Casanova et al.: *Reinforced Active Learning for Image Segmentation* (RALIS), ICLR 2020; actor: Wang et "
        "al.: *Deep Reinforcement Active Learning for Medical Image Classification*, MICCAI 2020",
        passes="0",
        time="games picks L^2 (L + D) + M L D",
        memory="M L",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest value, ties in random order."""
        check_budget(state, budget)
        labeled, targets = state.labels.labeled, state.labels.class_targets()
        candidates = state.vectors(state.candidates, "cosine").astype(np.float64)
        values = np.zeros(len(state.candidates))
        if len(targets) >= LEAST and (np.bincount(targets) >= 2).sum() >= 2:
            rows = state.vectors(labeled, "cosine").astype(np.float64)
            weights = self._learned(rows, targets, rng)
            values = described(rows, targets, candidates) @ weights
        return best_by_value("value of the policy", values, state, budget, rng)

    def _learned(self, rows_LD: FloatArray, targets_L: IntArray, rng: np.random.Generator) -> FloatArray:
        """Weights (F,) of what is said of a candidate."""
        weights: FloatArray = np.zeros(described(rows_LD[:1], targets_L[:1], rows_LD[:1]).shape[1])
        critic = weights
        plays = list[Play]()
        for _ in range(self.games):
            game = self._game(rows_LD, targets_L, weights, rng)
            plays += game
            if self.by == "q":
                weights = fitted_q(plays, self.discount)
            else:
                weights, critic = improved(game, weights, critic, self.discount, self.rate)
        return weights

    def _game(
        self, rows_LD: FloatArray, targets_L: IntArray, weights_F: FloatArray, rng: np.random.Generator
    ) -> list[Play]:
        """The moves of one game."""
        order = rng.permutation(len(targets_L))
        held, pool = order[::2], order[1::2]
        known = np.concatenate([pool[targets_L[pool] == c][:1] for c in np.unique(targets_L[pool])])
        plays, accuracy = list[Play](), _accuracy(rows_LD, targets_L, known, held)
        left = np.setdiff1d(pool, known)
        said = described(rows_LD[known], targets_L[known], rows_LD[left])
        while len(left) and len(plays) < self.picks:
            pick = self._move(said @ weights_F, rng)
            known, left = np.append(known, left[pick]), np.delete(left, pick)
            now = _accuracy(rows_LD, targets_L, known, held)
            after = described(rows_LD[known], targets_L[known], rows_LD[left])
            plays.append(Play(said, pick, now - accuracy, after))
            accuracy, said = now, after
        return plays

    def _move(self, values_M: FloatArray, rng: np.random.Generator) -> int:
        if self.by == "actor":
            return int(rng.choice(len(values_M), p=scipy.special.softmax(values_M)))
        return int(rng.integers(len(values_M)) if rng.random() < self.explore else values_M.argmax())


def fitted_q(plays: list[Play], discount: float) -> FloatArray:
    """Weights (F,) of Q by fitted Q iteration: ridge regression on reward + discount x the largest Q after the move.

    Ernst, Geurts, Wehenkel, Tree-Based Batch Mode Reinforcement Learning (JMLR 2005), with a linear Q.
    """
    moves, rewards = np.stack([p.said[p.pick] for p in plays]), np.asarray([p.reward for p in plays])
    gram = moves.T @ moves + np.eye(moves.shape[1])
    weights: FloatArray = np.zeros(moves.shape[1])
    for _ in range(SWEEPS):
        ahead = np.asarray([(p.after @ weights).max(initial=-np.inf) if len(p.after) else 0.0 for p in plays])
        weights = np.linalg.solve(gram, moves.T @ (rewards + discount * ahead))
    return weights


def improved(
    game: list[Play], weights_F: FloatArray, critic_F: FloatArray, discount: float, rate: float
) -> tuple[FloatArray, FloatArray]:
    """Actor and critic after a game: each move's log-probability grows by its advantage.

    The advantage is the reward + discount x the critic's value after - its value before, of the mean of what is said of
    the candidates.
    """
    for play in game:
        before = play.said.mean(axis=0)
        ahead = float(play.after.mean(axis=0) @ critic_F) if len(play.after) else 0.0
        advantage = play.reward + discount * ahead - float(before @ critic_F)
        expected = scipy.special.softmax(play.said @ weights_F) @ play.said
        weights_F = weights_F + rate * advantage * (play.said[play.pick] - expected)
        critic_F = critic_F + rate * advantage * before / max(float(before @ before), 1.0)
    return weights_F, critic_F


def described(known_LD: FloatArray, targets_L: IntArray, rows_MD: FloatArray) -> FloatArray:
    """What is said of rows (M, F), by a ridge classifier on the known ones: the last column is 1.

    Entropy, closeness of the two likeliest classes, distance to the nearest known one, mean similarity to the others,
    1 / (1 + labels of the likeliest class), each also squared.
    """
    probs = _probs(known_LD, targets_L, rows_MD)
    top = np.sort(probs, axis=1)
    rarity = 1 / (1 + np.bincount(targets_L, minlength=probs.shape[1]))
    said = np.stack(
        [
            scipy.special.entr(probs).sum(axis=1),
            1 - (top[:, -1] - top[:, -2] if probs.shape[1] > 1 else np.ones(len(top))),
            1 - (rows_MD @ known_LD.T).max(axis=1),
            rows_MD @ rows_MD.mean(axis=0) if len(rows_MD) else np.zeros(0),
            rarity[probs.argmax(axis=1)] if len(probs) else np.zeros(0),
        ],
        axis=1,
    )
    return np.concatenate([said, np.square(said), np.ones((len(said), 1))], axis=1)


def _probs(known_LD: FloatArray, targets_L: IntArray, rows_MD: FloatArray) -> FloatArray:
    """Class probabilities (M, C) by ridge regression on one-hot classes."""
    one_hot = np.eye(int(targets_L.max()) + 1)[targets_L]
    dual = np.linalg.solve(known_LD @ known_LD.T + RIDGE * np.eye(len(known_LD)), one_hot)
    probs: FloatArray = scipy.special.softmax(SHARPNESS * (rows_MD @ known_LD.T) @ dual, axis=1)
    return probs


def _accuracy(rows: FloatArray, targets: IntArray, known: IntArray, held: IntArray) -> float:
    return float((_probs(rows[known], targets[known], rows[held]).argmax(axis=1) == targets[held]).mean())
