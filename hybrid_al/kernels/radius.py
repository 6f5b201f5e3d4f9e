"""Balls of a radius around candidates, as bits, and the greedy cover of rows by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.types import BoolArray, FloatArray, IntArray
from ..errors import InputError
from .distances import as_tensor
from .threads import alone, side_by_side

if TYPE_CHECKING:
    import torch

BLOCK = 1024
MEMORY = 2**27  # bytes of bits in memory; where a pool has more, the bits of a row are computed at each use
WORK = 2**24  # bits that are counted at a time, a byte each
BitArray = npt.NDArray[np.uint8]


@alone()
def ball_cover(
    candidates_MD: FloatArray,
    base_BD: FloatArray,
    start_SD: FloatArray,
    radius: float,
    budget: int,
    *,
    block: int = BLOCK,
    memory: int = MEMORY,
) -> tuple[IntArray, IntArray]:
    """Greedy maximum cover by open balls: picks (<= budget,), and how many rows of `base` each is first to cover.

    Rows within the radius of `start` are covered from the beginning. Each pick is the candidate that covers most rows
    not covered yet, the first of equals; the picks end where all rows are covered. The edges of a row are M bits. They
    stay in memory where all fit in `memory` bytes; otherwise they are computed when they are counted, and again when
    the row is covered. Time O((M + S) B D), memory O((M + B) D + memory + block^2).
    """
    if not 1 <= budget <= len(candidates_MD) or not radius > 0:
        raise InputError("ball_cover", f"1 to {len(candidates_MD)} picks, a radius above 0", f"{budget}, {radius}")
    candidates, base, start = as_tensor(candidates_MD), as_tensor(base_BD), as_tensor(start_SD)
    uncovered = np.flatnonzero(~Ball(start, radius, block).around(base).any(axis=1))
    edges = _Edges(base[_like(uncovered, base)], Ball(candidates, radius, block), memory)
    reach = edges.count(np.arange(len(uncovered)))
    covered = np.zeros(len(uncovered), dtype=bool)
    picks, gains = list[int](), list[int]()
    while len(picks) < budget and reach.max() > 0:
        pick = int(reach.argmax())
        new_rows = np.flatnonzero(edges.to(pick) & ~covered)
        picks.append(pick)
        gains.append(len(new_rows))
        covered[new_rows] = True
        reach -= edges.count(new_rows)
        reach[pick] = 0
    return np.asarray(picks, dtype=np.int64), np.asarray(gains, dtype=np.int64)


class _Edges:
    """Edges between candidates and the rows (L, D) not covered by `start`: pairs within the radius."""

    def __init__(self, rows: torch.Tensor, balls: Ball, memory: int) -> None:
        self.rows, self.balls = rows, balls
        self.size = max(8 * memory // len(balls.others), 1)
        self.bits = balls.around(rows) if len(rows) <= self.size else None

    def count(self, rows: IntArray) -> IntArray:
        """How many of the given rows lie within the radius of each candidate (M,)."""
        total = np.zeros(len(self.balls.others), dtype=np.int64)
        step_of_bits = min(max(WORK // len(total), 1), 255)  # a byte counts so many
        step = max(self.size // 8, 1) if self.bits is None else step_of_bits
        for start in range(0, len(rows), step):
            indices = rows[start : start + step]
            bits = self.balls.around(self.rows[_like(indices, self.rows)]) if self.bits is None else self.bits[indices]
            for i in range(0, len(bits), step_of_bits):
                total += np.unpackbits(bits[i : i + step_of_bits], axis=1, count=len(total)).sum(axis=0, dtype=np.uint8)
        return total

    def to(self, candidate: int) -> BoolArray:
        """Which rows lie within the radius of a candidate (L,)."""
        if self.bits is None:
            ball = Ball(self.balls.others[candidate : candidate + 1], self.balls.radius, self.balls.block)
            return ball.around(self.rows)[:, 0] > 0
        is_inside: BoolArray = (self.bits[:, candidate // 8] >> np.uint8(7 - candidate % 8) & 1).astype(bool)
        return is_inside


class Ball:
    """Which of the others (O, D) are nearer to a row than a radius, as bits.

    A distance is a sum of squared differences in float64. A matrix product in float32 with a bound of its rounding
    error decides all pairs but the few near the edge of a ball.
    """

    def __init__(self, others: torch.Tensor, radius: float, block: int = BLOCK) -> None:
        """Compute the norms of the others."""
        import torch

        self.others, self.radius, self.block = others, radius, block
        parts = torch.split(others, 4096)
        centre = torch.stack([part.sum(0, dtype=torch.float64) for part in parts]).sum(0) / max(len(others), 1)
        self.centre = centre.float().double()  # the same number in either precision
        self.norms = self._norms(others)

    def _norms(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.cat([(part - self.centre).square_().sum(1) for part in torch.split(rows, 4096)])

    def around(self, rows: torch.Tensor) -> BitArray:
        """Which of the others lie within the radius of each row (R, O / 8), the first the highest bit."""
        import torch

        bits = np.zeros((len(rows), -(-len(self.others) // 8)), dtype=np.uint8)
        if not bits.size:
            return bits
        norms, size = self._norms(rows), self.block
        largest = max(float(norms.max()), float(self.norms.max()))
        single = torch.get_float32_matmul_precision() == "highest" and 1e-30 < largest < 1e30
        kind, unit = (torch.float32, 2.0**-22) if single else (torch.float64, 2.0**-51)
        slack, centre = (rows.shape[1] + 16) * unit, self.centre.to(kind)
        columns = 8 * max(size // 8, 1)
        across = range(0, len(self.others), columns)

        def search(part: slice) -> None:
            down, along = divmod(part.start, len(across))
            r, o = slice(down * size, (down + 1) * size), slice(across[along], across[along] + columns)
            other_norms = (self.norms[o] * (1 + slack)).to(kind)
            above = torch.addmm(other_norms, rows[r].to(kind) - centre, (self.others[o].to(kind) - centre).T, alpha=-2)
            limit = self.radius**2 - norms[r, None] * (1 + slack)  # no pair is farther than `above` says
            inside = above < limit.to(kind)
            edge = (above < (limit + 4 * slack * largest).to(kind)) != inside
            for pairs in torch.split(edge.nonzero(), size):
                row, other = pairs.T
                gaps = rows[r][row].double() - self.others[o][other]
                inside[row, other] = gaps.square_().sum(1) < self.radius**2
            end = o.start // 8 + -(-inside.shape[1] // 8)
            bits[r, o.start // 8 : end] = np.packbits(inside.cpu().numpy(), axis=1)

        side_by_side(search, -(-len(rows) // size) * len(across), 1)
        return bits


def _like(rows: IntArray, tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.from_numpy(rows).to(tensor.device)
