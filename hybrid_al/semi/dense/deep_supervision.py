"""Deep supervision: heads on earlier blocks of the decoder learn the masks too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from ...core.registry import Amount, hyperparameters
from ...models.segmenter import Segmenter
from ..base import Labeled, Models, Step
from .base import UnlabeledPixels, labeled_loss


@dataclass(frozen=True)
@hyperparameters
class DeepSupervision:
    """The labeled loss of the network, and `side` times that of each of its side heads (`task.side_heads`).

    Lee et al., Deeply-Supervised Nets (AISTATS 2015), on masks.
    """

    side: Amount = 1.0

    uses_unlabeled: ClassVar[bool] = False
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; ignores `unlabeled` and `progress`."""
        final, *sides = (labeled_loss(logits, labeled) for logits in cast(Segmenter, models.student).outputs(labeled.x))
        loss = final
        for each in sides:
            loss = loss + self.side * each
        return Step(loss, {"loss_labeled": final.detach()})
