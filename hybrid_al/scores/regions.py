"""Scores of an image, or of each of its parts, from all pixels: in torch, so that maps never leave the device."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.types import IGNORE
from .pixels import by_part, entropy, sums_by_part
from .samples import CONTEXT_FLOOR

PartScore = Callable[[Tensor, Tensor, int], Tensor]
"""(probabilities (B, S, C, H, W), part of each pixel (B, H, W), most parts P) -> (B, P) or (B, P, D).

A pixel of part `IGNORE` is padding; a part without pixels gives 0. A whole image can be the one part.
"""


def foreground(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """Share of the pixels whose most probable class is not the background: the mean of `samples.foreground`."""
    sums, pixels = by_part((probs_BSCHW.mean(dim=1).argmax(dim=1) > 0).to(probs_BSCHW.dtype), parts_BHW, count)
    return sums / pixels.clamp(min=1)


def expected_dice(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`samples.expected_dice` of each part, in [0, 1)."""
    probs, one_hot = _prediction(probs_BSCHW)
    overlap, total = (sums_by_part(maps, parts_BHW, count) for maps in (probs * one_hot, probs + one_hot))
    return 1 - ((2 * overlap + 1) / (total + 1))[:, 1:].mean(dim=1)


def ripu(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`samples.ripu` of each part, in [0, 1]."""
    impurity, entropies, pixels = impurity_of(sums_by_part(impurity_maps(probs_BSCHW), parts_BHW, count))
    return impurity * entropies / pixels


def impurity_maps(probs_BSCHW: Tensor) -> Tensor:
    """Maps that RIPU sums over a region (B, C + 1, H, W): 1 at a pixel's most probable class, and the entropy."""
    probs, one_hot = _prediction(probs_BSCHW)
    return torch.cat([one_hot, entropy(probs.unsqueeze(1)).unsqueeze(1)], dim=1)


def impurity_of(sums_BKR: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Impurity, entropies and pixels (B, ...) of regions, from the sums (B, C + 1, ...) of `impurity_maps` over each.

    Impurity is the entropy of the predicted classes, in [0, 1]; entropies are sums; pixels are at least 1.
    """
    classes = sums_BKR.shape[1] - 1
    pixels = sums_BKR[:, :-1].sum(dim=1).clamp(min=1)
    impurity: Tensor = torch.special.entr(sums_BKR[:, :-1] / pixels.unsqueeze(1)).sum(dim=1) / math.log(classes)
    return impurity, sums_BKR[:, -1], pixels


def boundary(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """Length of the outlines in each part: pixels of predicted structures beside another class of the part."""
    labels = probs_BSCHW.mean(dim=1).argmax(dim=1)
    return by_part(outlines(labels, parts_BHW).to(probs_BSCHW.dtype), parts_BHW, count)[0]


def outlines(labels_BHW: Tensor, parts_BHW: Tensor) -> Tensor:
    """`samples.outlines` of label maps (B, H, W), but for sides between two parts; part `IGNORE` is unknown."""
    valid = parts_BHW != IGNORE
    edge = torch.zeros_like(valid)
    for axis in (1, 2):
        length = labels_BHW.shape[axis] - 1
        (a, p, k), (b, q, m) = (
            tuple(maps.narrow(axis, start, length) for maps in (labels_BHW, parts_BHW, valid)) for start in (0, 1)
        )
        differs = (a != b) & (p == q) & k & m
        edge.narrow(axis, 0, length).logical_or_(differs)
        edge.narrow(axis, 1, length).logical_or_(differs)
    return edge & (labels_BHW > 0)


def contexts(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`samples.contexts` of each part, row by row (B, P, C * C): 4 C^2 bytes each."""
    probs, one_hot = _prediction(probs_BSCHW)
    classes = probs.shape[1]
    # each pair of a part and a predicted class has a sum of its own
    place = parts_BHW.long() * classes + one_hot.argmax(dim=1)
    place = place.where(parts_BHW != IGNORE, place.new_tensor(count * classes)).flatten(1)
    weight = torch.special.entr(probs).sum(dim=1, keepdim=True) + CONTEXT_FLOOR
    maps = torch.cat([weight * probs, weight], dim=1).flatten(2)
    sums = maps.new_zeros(*maps.shape[:2], count * classes + 1)
    sums = sums.scatter_add_(2, place.unsqueeze(1).expand(maps.shape), maps)[..., :-1]
    rows = sums[:, :-1] / sums[:, -1:].clamp(min=torch.finfo(sums.dtype).tiny)
    return rows.reshape(-1, classes, count, classes).permute(0, 2, 3, 1).flatten(2)


def shares(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`samples.shares` of each part (B, P, C)."""
    sums = sums_by_part(_prediction(probs_BSCHW)[1], parts_BHW, count)
    return (sums / sums.sum(dim=1, keepdim=True).clamp(min=1)).movedim(1, 2)


def side_disagreement(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`samples.side_disagreement` of each part, in [0, 1); S are the outputs of a network, its own the first."""
    classes = probs_BSCHW.shape[2]
    first, *others = (F.one_hot(p.argmax(dim=1), classes).movedim(-1, 1).to(p.dtype) for p in probs_BSCHW.unbind(dim=1))
    dice = list[Tensor]()
    for other in others:
        overlap, total = (sums_by_part(maps, parts_BHW, count) for maps in (first * other, first + other))
        dice.append(((2 * overlap + 1) / (total + 1))[:, 1:].mean(dim=1))
    return 1 - torch.stack(dice).mean(dim=0) if dice else first.new_zeros(len(first), count)


def dice_gain(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`wholes.dice_gain` of each part of its image, in [0, 1)."""
    probs, one_hot = _prediction(probs_BSCHW)
    areas = torch.cat([probs, probs * one_hot, one_hot], dim=1)
    expected, overlap, drawn = sums_by_part(areas, parts_BHW, count).chunk(3, dim=1)
    both, either = (values.sum(dim=2, keepdim=True) for values in (overlap, expected + drawn))
    before = (2 * both + 1) / (either + 1)
    after = (2 * (both - overlap + expected) + 1) / (either - drawn + expected + 1)
    gains: Tensor = (after - before)[:, 1:].mean(dim=1)
    return gains


def expected_outline(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`wholes.expected_outline` of each part; no side between two parts counts."""
    probs, length = probs_BSCHW.mean(dim=1), torch.zeros_like(probs_BSCHW[:, 0, 0])
    for axis in (1, 2):
        size = parts_BHW.shape[axis] - 1
        (p, a), (q, b) = (
            (probs.narrow(axis + 1, start, size), parts_BHW.narrow(axis, start, size)) for start in (0, 1)
        )
        length.narrow(axis, 0, size).add_((1 - (p * q).sum(dim=1)) * (a == b))
    return by_part(length, parts_BHW, count)[0]


def inconsistency(probs_BSCHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """`wholes.inconsistency` of each part, in [0, 1]."""
    probs = probs_BSCHW.mean(dim=1)
    sums = sums_by_part(torch.cat([probs, torch.special.entr(probs)], dim=1), parts_BHW, count)
    means, entropies = (sums / sums_by_part(torch.ones_like(probs[:, :1]), parts_BHW, count).clamp(min=1)).chunk(2, 1)
    nats: Tensor = torch.special.entr(means).sum(dim=1) - entropies.sum(dim=1)
    return (nats / math.log(probs.shape[1])).clamp(0, 1)


PART_SCORES: dict[str, PartScore] = {
    "foreground": foreground,
    "expected_dice": expected_dice,
    "ripu": ripu,
    "boundary": boundary,
    "contexts": contexts,
    "shares": shares,
    "side_disagreement": side_disagreement,
    "dice_gain": dice_gain,
    "expected_outline": expected_outline,
    "inconsistency": inconsistency,
}
"""Scores of a part by name; the function of that name in `samples` (of `boundary`: `outlines`) or in `wholes` is the
same in NumPy."""


def _prediction(probs_BSCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean probabilities (B, C, H, W), and 1 at the most probable class of each pixel."""
    probs = probs_BSCHW.mean(dim=1)
    return probs, F.one_hot(probs.argmax(dim=1), probs.shape[1]).movedim(-1, 1).to(probs.dtype)
