"""Inputs of a training: views of samples by position, and the order in which samples come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..core.types import BoolArray, FloatArray, IntArray
from .stores.images import ImageStore
from .views.policies import Views


class Inputs(Protocol):
    """Samples as tensors (B, ...) by manifest position: as they are, or in a random weak or strong view."""

    def plain(self, indices: IntArray) -> Tensor:
        """Without augmentation."""
        ...

    def weak(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """A fresh weak view of each."""
        ...

    def strong(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """A fresh strong view of each."""
        ...

    def views(self, indices: IntArray, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """`count` weak views of each, one at a time."""
        ...


@dataclass(frozen=True)
class ImageInputs:
    """Images (B, C, H, W) from the store, viewed on the device."""

    store: ImageStore
    policies: Views
    device: torch.device

    def plain(self, indices: IntArray) -> Tensor:
        """See `Inputs.plain`."""
        return self.store.batch(indices).to(self.device)

    def weak(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """See `Inputs.weak`."""
        return self.policies.weak(self.plain(indices), generator)

    def strong(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """See `Inputs.strong`."""
        return self.policies.strong(self.plain(indices), generator)

    def views(self, indices: IntArray, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """See `Inputs.views`."""
        return (self.weak(indices, generator) for _ in range(count))


@dataclass(frozen=True)
class EmbeddingInputs:
    """Cached embeddings (B, D) of every row: plain_ND, and V weak and V strong views, of which one is drawn at a time.

    Without weak_VND (V = 0) the plain embedding is its own weak view. `view_cache` gives any number of weak views of
    the pool to `views`: it embeds them at the first call and reads them back later. Without it `views` draws from
    weak_VND. strong_VND may be a function, which is called where strong views are drawn: a first query needs none.
    """

    plain_ND: FloatArray
    weak_VND: FloatArray
    strong_VND: FloatArray | Callable[[], FloatArray]
    device: torch.device
    view_cache: Callable[[int], FloatArray] | None = None

    def plain(self, indices: IntArray) -> Tensor:
        """See `Inputs.plain`."""
        return self._tensor(self.plain_ND[indices])

    def weak(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """See `Inputs.weak`."""
        if not len(self.weak_VND):
            return self.plain(indices)
        return self._tensor(_choose(self.weak_VND, indices, generator))

    def strong(self, indices: IntArray, generator: torch.Generator) -> Tensor:
        """See `Inputs.strong`."""
        views = self.strong_VND() if callable(self.strong_VND) else self.strong_VND
        return self._tensor(_choose(views, indices, generator))

    def views(self, indices: IntArray, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """See `Inputs.views`: the same ones at every call where they are cached."""
        if self.view_cache is None:
            return (self.weak(indices, generator) for _ in range(count))
        return (self._tensor(view[indices]) for view in self.view_cache(count))

    def _tensor(self, rows: FloatArray) -> Tensor:
        return torch.from_numpy(np.asarray(rows, dtype=np.float32)).to(self.device)


def _choose(views_VND: FloatArray, indices: IntArray, generator: torch.Generator) -> FloatArray:
    views = torch.randint(len(views_VND), (len(indices),), generator=generator).numpy()
    rows: FloatArray = views_VND[views, indices]
    return rows


def labeled_batches(targets: IntArray, batch: int, rng: np.random.Generator, *, balanced: bool) -> Iterator[IntArray]:
    """Endless batches of positions in `targets` (K,): shuffled passes, or classes drawn equally often.

    With several labels a sample, (K, L) in {0, 1}, each label counts as a class, and samples without any as one more;
    classes without samples are left out. With fewer labels than `batch` a pass is repeated until the batch is full.
    """
    if balanced:
        rows, classes_of = np.arange(len(targets)), targets
        if targets.ndim == 2:
            with_none = np.concatenate([targets, targets.sum(axis=1, keepdims=True) == 0], axis=1)
            classes_of, rows = np.nonzero(with_none.T)
        order = np.argsort(classes_of, kind="stable")
        rows = rows[order]
        _, first, counts = np.unique(classes_of[order], return_index=True, return_counts=True)
        class_cycle = np.arange(batch) % len(counts)
        while True:
            classes = rng.permutation(class_cycle)
            yield rows[first[classes] + rng.integers(counts[classes])]
    queue = np.empty(0, dtype=np.int64)
    while True:
        while len(queue) < batch:
            queue = np.concatenate([queue, rng.permutation(len(targets))])
        yield queue[:batch]
        queue = queue[batch:]


def batches_of_domains(
    targets: IntArray,
    source_K: BoolArray | None,
    batch: int,
    share: float | None,
    rng: np.random.Generator,
    *,
    balanced: bool,
) -> Iterator[IntArray]:
    """As `labeled_batches`, with a `share` of the target in each batch where there are labels of it and of a source.

    A share of 1 leaves the source out.
    """
    if source_K is None or share is None or source_K.all() or not source_K.any():
        yield from labeled_batches(targets, batch, rng, balanced=balanced)
    elif share == 1:
        rows = np.flatnonzero(~source_K)
        yield from (rows[places] for places in labeled_batches(targets[rows], batch, rng, balanced=balanced))
    else:
        of_target = int(np.clip(round(share * batch), 1, max(batch - 1, 1)))
        sides, sizes = (np.flatnonzero(~source_K), np.flatnonzero(source_K)), (of_target, batch - of_target)
        parts = [labeled_batches(targets[r], n, rng, balanced=balanced) for r, n in zip(sides, sizes, strict=True)]
        while True:
            yield np.concatenate([r[next(part)] for r, part in zip(sides, parts, strict=True)])


def unlabeled_batches(indices: IntArray, batch: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Endless batches of distinct indices: permutations without replacement, the short last batch dropped."""
    size = min(batch, len(indices))
    while True:
        order = rng.permutation(indices)
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def blocks(indices: IntArray, size: int) -> Iterator[IntArray]:
    """`indices` in consecutive blocks of at most `size`."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
