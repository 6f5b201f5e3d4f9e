"""Which rows lie within a radius of which others, as bits, and the greedy cover by such balls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .kernels import _tensor
from .threads import alone, side_by_side
from .types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import torch

BLOCK = 1024
KEPT = 2**27  # bytes of bits that are kept; beyond, a row's are computed when they are asked for
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
    kept: int = KEPT,
) -> tuple[IntArray, IntArray]:
    """Greedy maximum cover by open balls: picks (<= budget,), rows of `base` that each is first to cover.

    `start` covers already. Always the candidate that covers most rows not covered yet, the first of equals; it ends
    where nothing is left to cover. The edges of a row are M bits: kept where all fit in `kept` bytes, else computed
    when they are counted and again when the row is covered. Time O((M + S) B D), memory O((M + B) D + kept + block^2).
    """
    if not 1 <= budget <= len(candidates_MD) or not radius > 0:
        raise InputError("ball_cover", f"1 to {len(candidates_MD)} picks, a radius above 0", f"{budget}, {radius}")
    candidates, base, start = _tensor(candidates_MD), _tensor(base_BD), _tensor(start_SD)
    left = np.flatnonzero(~within(base, start, radius, block=block).any(axis=1))
    edges = _Edges(base, candidates, left, radius, block, kept)
    reach = edges.count(np.arange(len(left)))
    covered = np.zeros(len(left), dtype=bool)
    picks, gains = list[int](), list[int]()
    while len(picks) < budget and reach.max() > 0:
        pick = int(reach.argmax())
        newly = np.flatnonzero(edges.to(pick) & ~covered)
        picks.append(pick)
        gains.append(len(newly))
        covered[newly] = True
        reach -= edges.count(newly)
        reach[pick] = 0
    return np.asarray(picks, dtype=np.int64), np.asarray(gains, dtype=np.int64)


class _Edges:
    """Which candidates are within the radius of each row that is left to cover."""

    def __init__(
        self, base: torch.Tensor, candidates: torch.Tensor, left: IntArray, radius: float, block: int, kept: int
    ) -> None:
        import torch

        self.base, self.candidates, self.radius, self.block = base, candidates, radius, block
        self.left = torch.from_numpy(left).to(base.device)
        few = len(left) * len(candidates) <= 8 * kept
        self.bits = within(base[self.left], candidates, radius, block=block) if few else None

    def count(self, rows: IntArray) -> IntArray:
        """How many of some rows lie within the radius of each candidate (M,)."""
        total, size = np.zeros(len(self.candidates), dtype=np.int64), max(WORK // len(self.candidates), 1)
        for start in range(0, len(rows), min(size, 255)):
            some = rows[start : start + min(size, 255)]
            bits = self.bits[some] if self.bits is not None else self._computed(some, self.candidates)
            total += np.unpackbits(bits, axis=1, count=len(total)).sum(axis=0, dtype=np.uint8)
        return total

    def to(self, candidate: int) -> BoolArray:
        """Which rows lie within the radius of a candidate (L,)."""
        if self.bits is not None:
            found: BoolArray = (self.bits[:, candidate // 8] >> np.uint8(7 - candidate % 8) & 1).astype(bool)
            return found
        return self._computed(np.arange(len(self.left)), self.candidates[candidate : candidate + 1])[:, 0] > 0

    def _computed(self, rows: IntArray, others: torch.Tensor) -> BitArray:
        import torch

        some = self.left[torch.from_numpy(rows).to(self.left.device)]
        return within(self.base[some], others, self.radius, block=self.block)


@alone()
def within(rows: torch.Tensor, others: torch.Tensor, radius: float, *, block: int = BLOCK) -> BitArray:
    """Which of the others (O, D) are nearer to each row (R, D) than the radius, as bits (R, O / 8), the first highest.

    A distance is that of a sum of squared differences in float64. A matrix product in float32, less or more a bound
    of what rounding can do to it, decides all but the few pairs that lie on the edge.
    """
    import torch

    columns = 8 * max(block // 8, 1)
    across = range(0, len(others), columns)
    bits = np.zeros((len(rows), -(-len(others) // 8)), dtype=np.uint8)
    if not len(rows) or not len(others):
        return bits
    centre = _centre(others)
    largest = max(
        float((part - centre).square().sum(1).max()) for side in (rows, others) for part in torch.split(side, 4096)
    )
    single = torch.get_float32_matmul_precision() == "highest" and 1e-30 < largest < 1e30
    kind, unit = (torch.float32, 2.0**-22) if single else (torch.float64, 2.0**-51)
    slack = (rows.shape[1] + 16) * unit

    def extended(side: torch.Tensor, scale: float) -> torch.Tensor:
        centred = (side - centre).to(kind)
        norm = centred.square().sum(1, keepdim=True).mul_(1 + slack)
        ends = [norm, torch.ones_like(norm)] if scale < 0 else [torch.ones_like(norm), norm]
        return torch.cat([centred.mul_(scale), *ends], 1)

    def look(part: slice) -> None:
        for i in range(part.start, part.stop):
            r = slice(i // len(across) * block, (i // len(across) + 1) * block)
            o = slice(across[i % len(across)], across[i % len(across)] + columns)
            above = extended(rows[r], -2) @ extended(others[o], 1).T  # no pair is farther than this
            inside = above < radius**2
            edge = (above < radius**2 + 4 * slack * largest) != inside
            for pairs in torch.split(edge.nonzero(), block):
                row, other = pairs.T
                inside[row, other] = (rows[r][row].double() - others[o][other]).square_().sum(1) < radius**2
            bits[r, o.start // 8 : o.start // 8 + -(-inside.shape[1] // 8)] = np.packbits(inside.cpu().numpy(), axis=1)

    side_by_side(look, -(-len(rows) // block) * len(across), 1)
    return bits


def _centre(rows: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.stack([part.sum(0, dtype=torch.float64) for part in torch.split(rows, 4096)]).sum(0) / len(rows)
