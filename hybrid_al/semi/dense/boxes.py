"""Boxes in the place of masks: their rows and columns in views, and the loss on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.types import IntArray


@dataclass(frozen=True)
class Lines:
    """Rows and columns of boxes in views of images; an entry (E,) is a pixel of a view that lies on one of them.

    image, channel  of the view in the batch, and the class of the box
    pixel           of the view, row by row
    line            its number, of `count`; somewhere on the line lies the class of the box
    """

    image: Tensor
    channel: Tensor
    pixel: Tensor
    line: Tensor
    count: int


def lines(place_BHW: Tensor, boxes: Sequence[IntArray], side: int) -> Lines:
    """The rows and columns of the boxes (n, 5) of each image that its view shows from end to end.

    place (B, H, W): which pixel of the image (side, side), row by row, each pixel of the view shows. A line that the
    view cuts off is left out: its structure may lie on the missing end.
    """
    entries, count = list[Tensor](), 0
    for b, (place, rows) in enumerate(zip(place_BHW.flatten(1), boxes, strict=True)):
        c, top, left, bottom, right = torch.from_numpy(rows).to(place.device).unbind(dim=1)
        i, j = place // side, place % side
        inside = (i >= top[:, None]) & (i < bottom[:, None]) & (j >= left[:, None]) & (j < right[:, None])
        box, pixel = inside.nonzero(as_tuple=True)
        i, j = i[pixel], j[pixel]
        for line, total, begins, ends in (
            (*_line_numbers(i - top[box], bottom - top, box), j == left[box], j == right[box] - 1),
            (*_line_numbers(j - left[box], right - left, box), i == top[box], i == bottom[box] - 1),
        ):
            ends_in_view = torch.zeros(2, total, dtype=torch.long, device=place.device)
            ends_in_view.scatter_reduce_(1, line.expand(2, -1), torch.stack([begins, ends]).long(), "amax")
            complete = ends_in_view.amin(dim=0) > 0
            number = complete.cumsum(dim=0) - 1 + count
            on_lines = torch.stack([torch.full_like(line, b), c[box], pixel, number[line]])
            entries.append(on_lines[:, complete[line]])
            count += int(complete.sum())
    image, channel, pixel, line = torch.cat([place_BHW.new_zeros(4, 0), *entries], dim=1)
    return Lines(image, channel, pixel, line, count)


def _line_numbers(within: Tensor, lengths: Tensor, box: Tensor) -> tuple[Tensor, int]:
    """Numbers of lines among those of all boxes, and the count of all.

    within (E,) and box (E,): the number of a line in its box, and its box; lengths: the lines of each box.
    """
    return (lengths.cumsum(dim=0) - lengths)[box] + within, int(lengths.sum())


def tightness(logits_BCHW: Tensor, box_lines: Lines) -> Tensor:
    """Mean over the lines of -log of the largest probability of their class on them; 0 where there are none.

    A box is as small as it can be, so each of its rows and columns crosses the structure. Hsu et al., Weakly Supervised
    Instance Segmentation using the Bounding Box Tightness Prior (NeurIPS 2019), section 3: each line is a positive bag
    of multiple-instance learning. Their negative bags, lines outside of all boxes, are here the pixels outside, by
    cross-entropy. Kervadec et al., Bounding Boxes for Weakly Supervised Segmentation (MIDL 2020), section 3, take
    sums instead of maxima. Only the largest pixel of a line gets a gradient; of equals each a share.
    """
    if not box_lines.count:
        return logits_BCHW.sum() * 0
    logs = logits_BCHW.log_softmax(dim=1).flatten(2)[box_lines.image, box_lines.channel, box_lines.pixel]
    best = logs.new_zeros(box_lines.count).scatter_reduce(0, box_lines.line, logs, "amax", include_self=False)
    return -best.mean()
