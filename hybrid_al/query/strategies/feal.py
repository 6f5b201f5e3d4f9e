"""FEAL: evidential uncertainty of a global model and of a model of each site, without asking near neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import scipy.special

from ...core.embeddings import unit_rows
from ...core.registry import Amount, Count, Positive, Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query, Scores
from ...kernels.distances import nearest
from ...scores.ranks import mid_ranks
from ...scores.samples import dirichlet_data
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..critic import minimise, tensor
from ..last_layer import features_and_head

CHUNK = 64  # candidates whose neighbours are searched at a time


@dataclass(frozen=True)
@hyperparameters
class FEAL:
    """Chen et al., Think Twice Before Selection: Federated Evidential Active Learning (CVPR 2024), sections 3.2, 3.3.

    Logits are read as Dirichlet distributions with parameters relu(logit) + 1: those of the model, and those of a head
    of each site that starts there and is trained on the labels of the site. The score is the entropy of the global
    distribution, from 0 to 1 over the site's candidates, times the sum of the data uncertainties of both. A candidate
    is passed over where it has `neighbours` others of a cosine above `cosine`, and of the nearest so many one is
    picked. Each site has a share of the budget by its candidates.

    sites        `one`: all samples; `group`: each group; `domain`: source and target (`domains.source`)
    steps, rate  of Adam on all labels of a site; `divergence` weight of the evidence for other classes. Ours
    """

    sites: Literal["one", "group", "domain"] = "one"
    neighbours: Count = 5
    cosine: Share = 0.85
    steps: Count = 50
    rate: Positive = 0.01
    divergence: Amount = 0.01

    about: ClassVar[About] = About(
        paper="Chen et al.: *Think Twice Before Selection: Federated Evidential Active Learning for Medical Image "
        "Analysis with Domain Shifts*, CVPR 2024, sections 3.2 and 3.3",
        passes="1, of the labeled too",
        time="steps L C D + M C D + K M D, K candidates that are looked at",
        memory="M D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Features, and the domains where these are the sites."""
        needs: frozenset[Need] = frozenset({"features"})
        return needs | {"domains"} if self.sites == "domain" else needs

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, site by site in turns by their scores; ties in random order."""
        check_budget(state, budget)
        labeled, known = state.labels.labeled, len(state.labels.labeled)
        samples = np.concatenate([labeled, state.candidates])
        features, weight, bias = features_and_head(replace(state, candidates=samples))
        site = np.unique(self._sites(state, samples), return_inverse=True)[1]
        values, picks = np.zeros(len(state.candidates)), list[IntArray]()
        counts = np.bincount(site[known:], minlength=int(site.max()) + 1)
        for s, share in enumerate(shares_of(budget, counts)):
            rows = np.flatnonzero(site[known:] == s)
            if not len(rows):  # all of the site is labeled
                continue
            of_site = np.flatnonzero(site[:known] == s)
            local = self._head(features[of_site], state.labels.class_targets()[of_site], weight, bias)
            x = features[known:][rows]
            values[rows] = calibrated(evidence(x @ weight.T + bias), evidence(x @ local[0].T + local[1]))
            order = best_first(values[rows], rng)
            chosen = relaxed(unit_rows(x), order, share, self.neighbours, self.cosine)
            picks.append(rows[chosen])
        places = np.concatenate(picks)
        places = places[np.argsort(-values[places], kind="stable")]
        ranks = {"evidential uncertainty": mid_ranks(values)}
        word = f"one of {len(counts)} sites" if len(counts) > 1 else "one site"
        reasons = tuple(f"evidential uncertainty {values[p]:.3g}, {word}" for p in places)
        return Query(state.candidates[places], scores=Scores(state.candidates, values, ranks), reasons=reasons)

    def _sites(self, state: QueryState, samples: IntArray) -> IntArray:
        """A code of the site of each sample (K,)."""
        if self.sites == "domain":
            return (state.extra("source", samples) > 0.5).astype(np.int64)
        return state.groups[samples] if self.sites == "group" else np.zeros(len(samples), dtype=np.int64)

    def _head(
        self, features_LD: FloatArray, targets_L: IntArray, weight_CD: FloatArray, bias_C: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The head of a site, from the global one; that one where the site has no labels."""
        import torch

        if not len(features_LD):
            return weight_CD, bias_C
        rows, targets = tensor(features_LD), torch.from_numpy(targets_L)
        weight, bias = (tensor(part).requires_grad_() for part in (weight_CD, bias_C))
        optimizer = torch.optim.Adam([weight, bias], lr=self.rate)
        for _ in range(self.steps):
            alpha = (rows @ weight.T + bias).relu() + 1
            own = alpha.gather(1, targets[:, None])[:, 0]
            fit = (alpha.sum(dim=1).digamma() - own.digamma()).mean()
            others = (alpha - 1).sum(dim=1) - (own - 1)
            minimise(optimizer, fit + self.divergence * others.mean())
        return weight.detach().double().numpy(), bias.detach().double().numpy()


def evidence(logits_MC: FloatArray) -> FloatArray:
    """Parameters of the Dirichlet distributions (M, C): relu(logit) + 1."""
    alpha: FloatArray = np.maximum(logits_MC, 0) + 1
    return alpha


def calibrated(alpha_MC: FloatArray, local_MC: FloatArray) -> FloatArray:
    """Entropy of the first distributions, from 0 to 1 over the rows, x the data uncertainties of both added (M,)."""
    total = alpha_MC.sum(axis=1)
    log_beta = scipy.special.gammaln(alpha_MC).sum(axis=1) - scipy.special.gammaln(total)
    spread = (total - alpha_MC.shape[1]) * scipy.special.digamma(total)
    entropy = log_beta + spread - ((alpha_MC - 1) * scipy.special.digamma(alpha_MC)).sum(axis=1)
    width = entropy.max(initial=-np.inf) - entropy.min(initial=np.inf)
    share = (entropy - entropy.min(initial=np.inf)) / width if width > 0 else np.ones(len(entropy))
    values: FloatArray = share * (dirichlet_data(alpha_MC) + dirichlet_data(local_MC))
    return values


def relaxed(unit_MD: FloatArray, order: IntArray, budget: int, neighbours: int, cosine: float) -> IntArray:
    """The first `budget` of an order (M,) but those near a pick; these fill up.

    Near: of the `neighbours` nearest other rows, all of a cosine above `cosine`, one is picked already.
    """
    taken, picks, passed = np.zeros(len(unit_MD), dtype=np.bool_), list[int](), list[int]()
    count = min(neighbours + 1, len(unit_MD))
    for start in range(0, len(order), CHUNK):
        if len(picks) == budget:
            break
        chunk = order[start : start + CHUNK]
        squared, near = nearest(unit_MD[chunk], unit_MD, count)
        for i, distances, rows in zip(chunk.tolist(), squared, near, strict=True):
            others = rows[(rows != i) & (distances < 2 * (1 - cosine))][:neighbours]
            if len(picks) == budget:
                break
            if len(others) == neighbours and taken[others].any():
                passed.append(i)
                continue
            taken[i] = True
            picks.append(i)
    return np.asarray(picks + passed[: budget - len(picks)], dtype=np.int64)


def shares_of(budget: int, counts_K: IntArray) -> list[int]:
    """The budget in proportion to the counts, none above its count; the largest remainders come first."""
    exact = budget * counts_K / counts_K.sum()
    shares = np.floor(exact).astype(np.int64)
    rest = np.argsort(-(exact - shares), kind="stable")[: budget - int(shares.sum())]
    shares[rest] += 1
    return [int(share) for share in shares]
