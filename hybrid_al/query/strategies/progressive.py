"""Entropy with progressive diversity: no repetition within an image, none between images, and rare classes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import unit_rows
from ...core.registry import Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query, Scores
from ...scores.ranks import mid_ranks
from ...scores.samples import entropy
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..cache import with_cache
from ..last_layer import probs_and_features

NEW, INSTANCE, REPEATED, PICKED = range(4)  # what became of a candidate: an instance repeats none of its image


@dataclass(frozen=True)
@hyperparameters
class ProgressiveDiversity:
    """Wu, Chen and Huang, Entropy-Based Active Learning for Object Detection (CVPR 2022), sections 3.2 and 3.3.

    An image is a group (a slide, a volume), its samples are the instances. Candidates come in the order of falling
    entropy. One is left out where an earlier one of its image and predicted class has features of a cosine above
    `within` (entropy-based non-maximum suppression), or a pick of its class one above `between`. Rare classes, the
    share `rare` of all with the fewest labels, have quotas: together the share `quota` of the budget, in even parts.
    Until they are met, a candidate must have a probability of `least` of a class whose quota is open. Then all come in
    their order, and what repeats others fills up.
    """

    within: Share = 0.5
    between: Share = 0.7
    rare: Share = 0.5
    quota: Share = 0.75
    least: Share = 0.3

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Wu, Chen, Huang: *Entropy-based Active Learning for Object Detection with Progressive Diversity "
        "Constraint*, CVPR 2022, sections 3.2 and 3.3",
        passes="1",
        time="M C + M K D at most, K candidates that do not repeat an earlier one of their image",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates: first those of rare classes, then others; ties in random order."""
        check_budget(state, budget)
        once = with_cache(state)
        probs, features = probs_and_features(once)
        values = entropy(probs[:, None])
        picks, notes = self._pick(state, probs, unit_rows(features), best_first(values, rng), budget)
        ranks = {"entropy": mid_ranks(values)}
        return Query(state.candidates[picks], scores=Scores(state.candidates, values, ranks), reasons=tuple(notes))

    def quotas(self, counts_C: IntArray, budget: int) -> IntArray:
        """Picks that each class is to have (C,), 0 of one that is not rare; the fewest labels come first, in a tie."""
        number = int(self.rare * len(counts_C))
        quotas = np.zeros(len(counts_C), dtype=np.int64)
        if number:
            total = int(self.quota * budget)
            classes = np.argsort(counts_C, kind="stable")[:number]
            quotas[classes] = total // number + (np.arange(number) < total % number)
        return quotas

    def _pick(
        self, state: QueryState, probs: FloatArray, unit_MD: FloatArray, order: IntArray, budget: int
    ) -> tuple[IntArray, list[str]]:
        """Places of the picks, and a reason each."""
        classes, group = probs.argmax(axis=1), state.groups[state.candidates]
        targets = state.labels.class_targets()
        quotas = self.quotas(np.bincount(targets, minlength=probs.shape[1])[: probs.shape[1]], budget)
        picked: dict[int, list[int]] = {}
        instances: dict[tuple[int, int], list[int]] = {}
        picks, notes, status = list[int](), list[str](), np.full(len(order), NEW)

        def alike(i: int, others: list[int], most: float) -> bool:
            return bool(others) and float((unit_MD[others] @ unit_MD[i]).max()) > most

        def take(i: int, note: str) -> None:
            picks.append(i)
            notes.append(f"class {classes[i]}, {note}")
            picked.setdefault(int(classes[i]), []).append(i)
            status[i] = PICKED

        for is_rare, note in (
            (True, "rare among the labels"),
            (False, "unlike the others of its image and of the batch"),
        ):
            for i in order.tolist():
                if len(picks) == budget or (is_rare and not quotas.any()):
                    break
                c, of_image = int(classes[i]), instances.setdefault((int(group[i]), int(classes[i])), [])
                if status[i] == NEW:
                    if alike(i, of_image, self.within):
                        status[i] = REPEATED
                    else:
                        status[i] = INSTANCE
                        of_image.append(i)
                if status[i] == INSTANCE and alike(i, picked.get(c, []), self.between):
                    status[i] = REPEATED
                open_classes = np.flatnonzero((quotas > 0) & (probs[i] >= self.least))
                if status[i] != INSTANCE or (is_rare and not len(open_classes)):
                    continue
                if is_rare:
                    quotas[open_classes[probs[i, open_classes].argmax()]] -= 1
                take(i, note)
        for i in order[status[order] == REPEATED][: budget - len(picks)].tolist():
            take(i, "like another, to meet the budget")
        return np.asarray(picks, dtype=np.int64), notes
