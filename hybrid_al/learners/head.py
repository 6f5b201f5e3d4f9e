"""The head of a network over fixed features: solved on the labeled samples, before a training goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.rng import derive
from ..core.types import FloatArray, IntArray
from ..data.loaders import Inputs, blocks
from ..models.classifier import Classifier
from ..semi.ema import make_teacher
from ..train import Fit, Penalty, Schedule, Sets
from .logistic import Head, fitted, solve


@dataclass(frozen=True)
class SolvedHead:
    """Logistic regression on the features of the plain labeled samples (`logistic.solve`).

    strength  of the loss beside the penalty; None: chosen for each fit (`logistic.fitted`)
    balanced  all classes weigh the same
    target_share  see `Schedule`
    """

    inputs: Inputs
    strength: float | None
    balanced: bool
    target_share: float | None = None

    def solve(self, network: Classifier, sets: Sets, *, member: int, seed: int) -> Head:
        """The head for the labeled samples; members beside the first have a bootstrap of the targets in `sets` each."""
        sets = _of_target(sets) if self.target_share == 1 else sets
        features, targets = self._features(network, sets.labeled), sets.targets
        weights = _domain_weights(sets, self.target_share)
        if member:
            rows = bootstrap(targets, derive(seed, "bootstrap"))
            features, targets = features[rows], targets[rows]
            weights = None if weights is None else weights[rows]
        if self.strength is None:
            head = fitted(features, targets, network.classes, balanced=self.balanced, weights=weights)
        else:
            head = solve(features, targets, network.classes, self.strength, balanced=self.balanced, weights=weights)
        return of_pairs(head) if network.pairs else head

    @torch.no_grad()
    def _features(self, network: Classifier, rows: IntArray) -> FloatArray:
        network.encoder.eval()
        blocks_of_features = [network.encoder(self.inputs.plain(block)).cpu() for block in blocks(rows, 512)]
        features: FloatArray = torch.cat(blocks_of_features).double().numpy()
        return features


def _of_target(sets: Sets) -> Sets:
    """The sets with the labels of the target alone, where there are any."""
    if sets.source is None or sets.source[sets.labeled].all():
        return sets
    kept = ~sets.source[sets.labeled]
    return replace(sets, labeled=sets.labeled[kept], targets=sets.targets[kept])


def _domain_weights(sets: Sets, share: float | None) -> FloatArray | None:
    """Weights (K,) of mean 1, of which the target's labels have a share; None where all labels are of one domain."""
    source = None if sets.source is None else sets.source[sets.labeled]
    if source is None or share is None or source.all() or not source.any():
        return None
    weights: FloatArray = np.where(source, (1 - share) / source.mean(), share / (~source).mean())
    return weights


def of_pairs(head: Head) -> Head:
    """The same head with two outputs a label, for no and for yes: half of the logit each, of opposite signs."""
    weight, bias = (np.concatenate([-part, part]) / 2 for part in (head.weight, head.bias))
    return replace(head, weight=weight, bias=bias)


@torch.no_grad()
def install(head: Head, network: Classifier) -> None:
    """Give the network's head the weights of a solved one."""
    network.head.weight.copy_(torch.from_numpy(head.weight))
    network.head.bias.copy_(torch.from_numpy(head.bias))


@torch.no_grad()
def average(network: Classifier, head: Head) -> None:
    """Move the network's head half of the way to a solved one: its logits become the mean of both.

    Pseudo-labels help where the features cluster by class and harm where they do not, and few labels cannot tell which
    it is: half of the way kept most of the gain and lost less than half of the loss.
    """
    network.head.weight.lerp_(torch.from_numpy(head.weight).to(network.head.weight), 0.5)
    network.head.bias.lerp_(torch.from_numpy(head.bias).to(network.head.bias), 0.5)


def penalty_of(head: Head) -> Penalty[Classifier]:
    """The penalty of a solved head, beside a mean loss."""
    return lambda network, _: head.ridge / 2 * network.head.weight.square().sum()


def solved(network: Classifier, sets: Sets, schedule: Schedule, metrics: Mapping[str, float]) -> Fit:
    """The fit of a network whose head is solved, and that no step changes: it is the same at the end of each cycle."""
    teacher, *snapshots = (make_teacher(network) for _ in range(schedule.cycles))
    return Fit(network, teacher, sets.recorder(schedule.record), dict(metrics), tuple(snapshots))


def bootstrap(targets: IntArray, rng: np.random.Generator) -> IntArray:
    """As many rows as there are targets, (K,) or (K, L), drawn with replacement, among those of the same class."""
    stratum = np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    rows = np.arange(len(targets))
    for group in range(stratum.max() + 1):
        members = np.flatnonzero(stratum == group)
        rows[members] = rng.choice(members, len(members))
    return rows
