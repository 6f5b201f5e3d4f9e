"""Blocked distance kernels: NumPy in, NumPy out, torch inside (GPU where there is one), never an N x N matrix.

All distances are squared L2. For the cosine metric give unit vectors (`Embeddings.take(indices, "cosine")`), whose
squared distance is 2 - 2 cos. Rows hold finite numbers, as `Embeddings.take` checks.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from ..core.types import FloatArray, IntArray
from ..errors import InputError
from .threads import alone, side_by_side

if TYPE_CHECKING:
    import torch

BLOCK = 4096
PAIRS = 64 * BLOCK
CROWD = 2048  # farthest rows that k-center keeps up to date at each pick
TINY = 1e-35  # below this the relative rounding error of float32 grows


@alone()
def nearest(
    queries_QD: FloatArray, base_ND: FloatArray, k: int, *, exclude_self: bool = False, block: int = BLOCK
) -> tuple[FloatArray, IntArray]:
    """Exact k nearest rows of `base` for each query: squared distances (Q, k) ascending, rows of base (Q, k).

    `exclude_self`: queries are the base itself, row by row, and no row is its own neighbour. A k above the number of
    rows is an error. Memory is O(block^2 / 4). Distances are expanded, |q|^2 - 2qb + |b|^2, which cancels for
    near-duplicates far from the origin: so rows are centred and the arithmetic is float64.
    """
    import torch

    most = len(base_ND) - exclude_self
    if not 1 <= k <= most:
        raise InputError("nearest", f"1 to {most} neighbours", str(k))
    if exclude_self and len(queries_QD) != len(base_ND):
        raise InputError("nearest", f"{len(base_ND)} queries, the base itself", str(len(queries_QD)))
    queries, base = as_tensor(queries_QD), as_tensor(base_ND)
    centre = base.mean(0, dtype=torch.float64)
    distances, rows = np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)

    def search(part: slice) -> None:
        first = part.start if exclude_self else None
        squared, indices = _nearest_of_block(queries[part] - centre, base, centre, k, first, block)
        distances[part], rows[part] = squared.clip_(0).cpu().numpy(), indices.cpu().numpy()

    side_by_side(search, len(queries), max(block // 4, 1))
    return distances, rows


def _nearest_of_block(
    queries: torch.Tensor, base: torch.Tensor, centre: torch.Tensor, k: int, first: int | None, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances and rows of the k nearest to centred queries: a running top-k over blocks of the base.

    first: row of the base that the first query is, where queries are excluded from their own neighbours.
    """
    import torch

    best = queries.new_empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(base), block):
        part = base[start : start + block] - centre
        distance = queries.square().sum(1, keepdim=True) - 2 * queries @ part.T + part.square().sum(1)
        if first is not None:
            columns = torch.arange(first, first + len(queries), device=base.device) - start
            inside = ((columns >= 0) & (columns < len(part))).nonzero()[:, 0]
            distance[inside, columns[inside]] = torch.inf
        values, indices = distance.topk(min(k, len(part)), dim=1, largest=False)
        values, indices = torch.cat([best, values], 1), torch.cat([rows, indices + start], 1)
        best, place = values.topk(min(k, values.shape[1]), dim=1, largest=False)
        rows = indices.gather(1, place)
    return best, rows


def closest(vectors_ND: FloatArray, centres_KD: FloatArray, *, block: int = BLOCK) -> IntArray:
    """The nearest centre of each vector (N,): the result of `nearest` with k = 1, in less time.

    Distances are compared in float32. Vectors whose best two centres differ by less than its rounding error go on to
    `nearest`. Memory is O(block K) beside the vectors.
    """
    import torch

    vectors, centres = as_tensor(vectors_ND), as_tensor(centres_KD)
    if len(centres) == 1:
        return np.zeros(len(vectors), dtype=np.int64)
    squares = centres.square().sum(1)
    unit = 4 * vectors.shape[1] * torch.finfo(torch.float32).eps * (1 + squares.max())
    indices, unsure = torch.empty(len(vectors), dtype=torch.int64), torch.empty(len(vectors), dtype=torch.bool)
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        best, place = torch.addmm(squares, part, centres.T, alpha=-2).topk(2, dim=1, largest=False)
        indices[start : start + block] = place[:, 0]
        unsure[start : start + block] = best[:, 1] - best[:, 0] <= unit * (1 + part.square().sum(1))
    rows = unsure.numpy().nonzero()[0]
    nearest_N = indices.numpy()
    if len(rows):
        nearest_N[rows] = nearest(vectors_ND[rows], centres_KD, 1)[1][:, 0]
    return nearest_N


def typicality(vectors_ND: FloatArray, k: int) -> FloatArray:
    """Inverse mean Euclidean distance to the k nearest other rows (N,), larger = denser, at most 1e5.

    k is at most N - 1; a single row has 1e5. TypiClust (Hacohen et al., ICML 2022), section 3, with the 1e-5 of its
    code.
    """
    k = min(k, len(vectors_ND) - 1)
    if k < 1:
        return np.full(len(vectors_ND), 1e5, dtype=np.float32)
    squared, _ = nearest(vectors_ND, vectors_ND, k, exclude_self=True)
    density: FloatArray = 1 / (np.sqrt(squared).mean(axis=1) + np.float32(1e-5))
    return density


@alone()
def k_center(
    vectors_ND: FloatArray, start: IntArray, budget: int, first: int | None = None, *, block: int = PAIRS
) -> tuple[IntArray, FloatArray]:
    """Greedy farthest-first cover: picks (budget,) and the squared distance of each to `start` and the picks before it.

    start  rows that count as picks from the beginning and are never picked
    first  the first pick; None: the farthest row from `start` or, where `start` is empty, the row nearest the mean

    A first pick with an empty `start` has distance inf. Of equals the first row is picked. Core-set (Sener and
    Savarese, ICLR 2018), algorithm 1.

    Distances only shrink. So only a crowd of the farthest rows is updated at each pick, for as long as its farthest
    row is farther than every row outside was when the crowd was formed. The rows outside are updated with many picks
    in one matrix product. The picks are the same as with an update of all rows at each pick. Memory O(N + block)
    beside the rows.
    """
    n = len(vectors_ND)
    if not 1 <= budget <= n - len(start):
        raise InputError("k_center", f"1 to {n - len(start)} picks", str(budget))
    if first is not None and first in start:
        raise InputError("k_center", "a first pick that is not covered yet", str(first))
    rows = Rows(as_tensor(vectors_ND), block)
    reach = rows.norms.new_full((n,), np.inf)
    if len(start):
        reach = as_tensor(nearest(vectors_ND, vectors_ND[start], 1)[0][:, 0]).clone()
    elif first is None:
        first = int(rows.squared_to(rows.vectors.mean(0)).argmin())
    reach[start] = -1  # below every distance: these rows are never the farthest
    picks, radius, count = np.empty(budget, dtype=np.int64), np.empty(budget, dtype=np.float32), 0
    if first is not None:
        picks[0], radius[0], count = first, float(reach[first]), 1
        reach = reach.minimum(rows.squared_to(rows.vectors[first]))
        reach[first] = -1
    crowd = CROWD
    while count < budget:
        batch = _farthest_of_crowd(rows, reach, crowd, picks[count:], radius[count:])
        count += len(batch)
        if count < budget:
            rows.lower(reach, rows.vectors[batch])
            reach[batch] = -1
            crowd = 2 * crowd if len(batch) < 16 and 16 * crowd <= n else crowd
    return picks, radius


def _farthest_of_crowd(rows: Rows, reach: torch.Tensor, crowd: int, picks: IntArray, radius: FloatArray) -> IntArray:
    """Fill in the next picks and their distances, one or more: as many as the crowd of farthest rows decides."""

    high, index = reach.topk(min(crowd, len(reach)))
    bound = float(high[-1]) if crowd < len(reach) else -np.inf  # no row outside is farther than this
    if not (index == (first := reach.argmax())).any():
        index[-1] = first
    index = index.sort().values  # so that of equals the first is picked
    distances, members = reach[index], rows.take(index)
    count = 0
    while count < len(picks):
        place = int(distances.argmax())
        if count and not distances[place] > bound:
            break
        picks[count], radius[count] = int(index[place]), float(distances[place])
        members.lower(distances, members.vectors[place : place + 1])
        distances[place] = -1
        count += 1
    return picks[:count]


class Rows:
    """Rows with their squared norms, for distances of all of them to a few rows.

    Every distance that comes out is a sum of squared differences in float32: exactly 0 for duplicates, and the same
    in any blocks. A matrix product, |x|^2 + |y|^2 - 2xy less a bound of the rounding errors, selects the pairs for
    which that sum is computed.

    vectors      (N, D) float32
    block        pairs at a time
    lower_norms  |x|^2 less its share of the bound
    """

    def __init__(self, vectors: torch.Tensor, block: int = PAIRS) -> None:
        """Compute the norms."""
        import torch

        self.vectors, self.block = vectors, block
        self.norms = self.squared_to(vectors.new_zeros(vectors.shape[1]))
        precise = torch.get_float32_matmul_precision() == "highest"
        self.slack = (vectors.shape[1] + 16) * 2.0**-22 if precise else 1e9  # of |x|^2 + |y|^2; 1e9 selects all pairs
        self.lower_norms = self.norms * (1 - self.slack) - TINY

    def take(self, index: torch.Tensor) -> Rows:
        """The rows at an index (a copy of them)."""
        rows = copy(self)
        rows.vectors, rows.norms, rows.lower_norms = self.vectors[index], self.norms[index], self.lower_norms[index]
        return rows

    def squared_to(self, row: torch.Tensor) -> torch.Tensor:
        """Squared distance of all rows to one (N,)."""
        return distances_to(self.vectors, row, max(self.block // 64, 1))

    def lower(self, reach: torch.Tensor, others: torch.Tensor) -> None:
        """Lower each row's reach (N,), in place, to its squared distance to the nearest of the others (P, D)."""
        import torch

        other_norms = others.square().sum(1) * (1 - self.slack)
        step = max(self.block // 64, 1)

        def search(span: slice) -> None:
            part, norms, current = self.vectors[span], self.lower_norms[span], reach[span]
            bound = inner_products(part, others).mul_(-2).add_(other_norms)
            row, other = (bound < (current - norms)[:, None]).nonzero(as_tuple=True)
            for r, o in zip(torch.split(row, step), torch.split(other, step), strict=True):
                current.scatter_reduce_(0, r, (part[r] - others[o]).square_().sum(1), "amin")

        side_by_side(search, len(self.vectors), max(self.block // len(others), 1))


def draw(mass_N: FloatArray, rng: np.random.Generator) -> int:
    """A row drawn with probability proportional to its mass: the draw of `rng.choice`, in a fraction of the time."""
    share = (mass_N / mass_N.sum()).cumsum()
    share /= share[-1]
    return int(share.searchsorted(rng.random(), side="right"))


def squared_to(rows_ND: FloatArray, others_ND: FloatArray) -> FloatArray:
    """Squared distance of each row to its partner, or to the one partner of all (N,)."""
    kind = np.result_type(rows_ND, others_ND)
    squared, buffer = np.empty(len(rows_ND), kind), np.empty((min(len(rows_ND), BLOCK), rows_ND.shape[1]), kind)
    for i in range(0, len(rows_ND), BLOCK):
        part, others = rows_ND[i : i + BLOCK], others_ND if others_ND.ndim == 1 else others_ND[i : i + BLOCK]
        gaps = np.subtract(part, others, out=buffer[: len(part)])
        np.square(gaps, out=gaps).sum(axis=1, out=squared[i : i + BLOCK])
    return squared


def mean_row(rows_ND: FloatArray) -> FloatArray:
    """The mean of rows (D,), summed in float64."""
    mean: FloatArray = rows_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def distances_to(vectors: torch.Tensor, row: torch.Tensor, block: int) -> torch.Tensor:
    """Squared distance of all rows to one (N,), by subtraction: exact for duplicates.

    The blocks share one buffer: to get a new one each time costs several times the arithmetic (page faults).
    """
    import torch

    squared, buffer = vectors.new_empty(len(vectors)), torch.empty_like(vectors[:block])
    for part, result in zip(torch.split(vectors, block), torch.split(squared, block), strict=True):
        gaps = torch.sub(part, row, out=buffer[: len(part)])
        torch.sum(gaps.square_(), 1, out=result)
    return squared


def inner_products(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Inner products of all rows with one row (N,) or with several (N, P)."""
    import torch

    if rows.is_cuda:
        return rows @ others.T if others.ndim == 2 else rows @ others
    return torch.from_numpy(rows.numpy() @ others.numpy().T)  # NumPy's BLAS takes a third of the time for one row


def as_tensor(rows: FloatArray) -> torch.Tensor:
    """Rows as a float32 tensor, on the GPU where there is one; it may share their memory, so nothing writes to it."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    array = np.require(rows, dtype=np.float32, requirements=["C", "W"])
    return torch.from_numpy(array).to(device)
