"""Boxes as all that is known of a mask: their rows and columns in views, and the loss that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.types import IntArray


@dataclass(frozen=True)
class Lines:
    """Rows and columns of boxes in views of images, by entry (E,): a pixel of a view that lies on a line.

    image, channel  of the view in the batch, and the class of the box
    pixel           of the view, row by row
    line            of `count`, which has its class somewhere on it
    """

    image: Tensor
    channel: Tensor
    pixel: Tensor
    line: Tensor
    count: int


def lines(place_BHW: Tensor, given: Sequence[IntArray], side: int) -> Lines:
    """The rows and columns of the boxes (n, 5) of each image, as far as its view shows them from end to end.

    place (B, H, W): which pixel of the image (side, side), row by row, each pixel of the view shows. Of a line whose
    one end is cut off nobody knows whether the structure is still on what is left.
    """
    found, count = list[Tensor](), 0
    for b, (place, rows) in enumerate(zip(place_BHW.flatten(1), given, strict=True)):
        c, top, left, bottom, right = torch.from_numpy(rows).to(place.device).unbind(dim=1)
        i, j = place // side, place % side
        inside = (i >= top[:, None]) & (i < bottom[:, None]) & (j >= left[:, None]) & (j < right[:, None])
        box, pixel = inside.nonzero(as_tuple=True)
        i, j = i[pixel], j[pixel]
        for line, total, begins, ends in (
            (*_numbered(i - top[box], bottom - top, box), j == left[box], j == right[box] - 1),
            (*_numbered(j - left[box], right - left, box), i == top[box], i == bottom[box] - 1),
        ):
            shown = torch.zeros(2, total, dtype=torch.long, device=place.device)
            shown.scatter_reduce_(1, line.expand(2, -1), torch.stack([begins, ends]).long(), "amax")
            whole = shown.amin(dim=0) > 0
            number = whole.cumsum(dim=0) - 1 + count
            entries = torch.stack([torch.full_like(line, b), c[box], pixel, number[line]])
            found.append(entries[:, whole[line]])
            count += int(whole.sum())
    image, channel, pixel, line = torch.cat([place_BHW.new_zeros(4, 0), *found], dim=1)
    return Lines(image, channel, pixel, line, count)


def _numbered(within: Tensor, lengths: Tensor, box: Tensor) -> tuple[Tensor, int]:
    """The number of the line `within` its `box` among the lines of all boxes, `lengths` of each, and their count."""
    return (lengths.cumsum(dim=0) - lengths)[box] + within, int(lengths.sum())


def tightness(logits_BCHW: Tensor, given: Lines) -> Tensor:
    """Mean over the lines of -log of the largest probability of their class on them; 0 where there are none.

    A box is as small as it can be, so each of its rows and columns crosses the structure. Hsu et al., Weakly Supervised
    Instance Segmentation using the Bounding Box Tightness Prior (NeurIPS 2019), section 3: each line is a positive bag
    of multiple-instance learning. Their negative bags, lines outside of all boxes, are here the pixels outside, by
    cross-entropy. Kervadec et al., Bounding Boxes for Weakly Supervised Segmentation (MIDL 2020), section 3, ask the
    same of sums instead of maxima. Only the largest pixel of a line gets a gradient; of equals each a share.
    """
    if not given.count:
        return logits_BCHW.sum() * 0
    logs = logits_BCHW.log_softmax(dim=1).flatten(2)[given.image, given.channel, given.pixel]
    best = logs.new_zeros(given.count).scatter_reduce(0, given.line, logs, "amax", include_self=False)
    return -best.mean()
