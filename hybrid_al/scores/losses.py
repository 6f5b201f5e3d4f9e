"""Learning which samples have large losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def ranking_loss(outputs_B: torch.Tensor, losses_B: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean over the pairs of different losses of max(0, margin - (outputs_i - outputs_j) sign(losses_i - losses_j)).

    Yoo and Kweon, Learning Loss for Active Learning (CVPR 2019), section 3.2.
    """
    order = (losses_B[:, None] - losses_B[None]).sign()
    gaps = (margin - order * (outputs_B[:, None] - outputs_B[None])).clamp_min(0)
    return (gaps * order.abs()).sum() / order.abs().sum().clamp_min(1)
