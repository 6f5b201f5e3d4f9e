"""Energy alignment (EADA): unlabeled samples of the target are brought to the free energy of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Amount, Share, hyperparameters
from .base import Labeled, LogitEvidence, Models, Step, Unlabeled, cross_entropy_step, running_mean


@dataclass(frozen=True)
@hyperparameters
class Energy:
    """Cross-entropy, and free energy of the target above that of the source; Xie et al. (AAAI 2022), section 3.2.

    Outputs are energies, E = - logits, with which the paper's likelihood is cross-entropy. The second term is the mean
    over weak views of unlabeled samples of max(0, F - F_source), with F = - log sum exp(- E) and F_source its running
    mean over the labels of the source; over all labels where there is none. The query that goes with it is `eada`.

    weight  of the second term (0.01 and 0.0005 in the published configurations)
    decay   of the running mean (0.9 as published)
    """

    weight: Amount = 0.01
    decay: Share = 0.9
    uses_unlabeled: ClassVar[bool] = True

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        """See `Objective.step`; strong views serve the evidence alone."""
        if unlabeled is None:
            return cross_entropy_step(models, labeled)
        logits = models.student(torch.cat([labeled.x, unlabeled.weak]))
        own, target = logits.split([len(labeled.x), len(unlabeled.weak)])
        loss_labeled = F.cross_entropy(own, labeled.y)
        with torch.no_grad():
            bound = self._bound(models, -own.logsumexp(dim=1), labeled.source)
            strong = models.student(unlabeled.strong)
        loss_unlabeled = (-target.logsumexp(dim=1) - bound).clamp_min(0).mean()
        logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
        evidence = LogitEvidence(unlabeled.indices, target.detach(), strong)
        return Step(loss_labeled + self.weight * loss_unlabeled, logs, evidence)

    def _bound(self, models: Models, free: Tensor, source: Tensor | None) -> Tensor:
        """The running mean of the source's free energies; as it was, where a batch (B,) has none of a source seen."""
        if source is not None and source.any():
            free, models.memory["energy_of_source"] = free[source], torch.ones(())
        elif "energy_of_source" in models.memory:
            return models.memory["free_energy"]
        return running_mean(models, "free_energy", free.mean(), decay=self.decay)
