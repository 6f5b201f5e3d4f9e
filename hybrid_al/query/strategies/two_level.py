"""Two-level choice: first images (groups) that stand for others and are even within, then samples of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Few, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import squared_to
from ...kernels.kmeans import k_means
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class TwoLevel:
    """Of each cluster of images the one of least distance to the centre + spread within, then samples across it.

    An image is a group: a slide whose samples are tiles, a volume whose samples are slices. Its vector is the mean of
    its samples; its spread is their mean distance to the nearest of `within` k-means centres of their own. Clusters
    are as many as images are wanted, beside those that have labels; the fewest labeled images come first, then the
    largest cluster. Of an image the samples nearest to its own centres are asked, one a centre.

    within  centres, and samples that are asked, of an image (4 as published)
    """

    within: Few = 4
    metric: Metric = "l2"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Lou et al.: *Which Pixel to Annotate: a Label-Efficient Nuclei Segmentation Framework*, IEEE "
        "Transactions on Medical Imaging 2023, section 3",
        passes="0",
        time="(N within + K (L + b / within)) D a turn of k-means, of K groups",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, image by image in the order in which images were chosen."""
        check_budget(state, budget)
        samples = np.union1d(state.candidates, state.labels.labeled)
        vectors, is_candidate = state.vectors(samples, self.metric), np.isin(samples, state.candidates)
        _, image = np.unique(state.groups[samples], return_inverse=True)
        members = np.split(np.argsort(image, kind="stable"), np.cumsum(np.bincount(image))[:-1])
        means = np.stack([vectors[rows].mean(axis=0) for rows in members])
        inner = [_inner(vectors[rows], self.within, rng) for rows in members]
        labeled = np.asarray([not is_candidate[rows].all() for rows in members])
        wanted = min(math.ceil(budget / self.within) + int(labeled.sum()), len(members))
        centres, cluster = k_means(means, wanted, rng)
        score = np.sqrt(squared_to(means, centres[cluster])) + np.asarray([spread for spread, _ in inner])
        picks, reasons = list[int](), list[str]()
        for turn, image_number in enumerate(_in_turn(cluster, labeled, score)):
            rows = members[image_number][inner[image_number][1]]
            new = rows[is_candidate[rows]][: budget - len(picks)]
            picks += new.tolist()
            reasons += [f"image {turn + 1}, {score[image_number]:.3g} from its cluster's centre and within"] * len(new)
        if len(picks) < budget:
            rest = np.setdiff1d(np.flatnonzero(is_candidate), picks)
            rest = rest[np.argsort(score[image[rest]], kind="stable")][: budget - len(picks)]
            picks += rest.tolist()
            reasons += ["a further one of an image that was asked about"] * len(rest)
        return Query(samples[picks], reasons=tuple(reasons))


def _inner(rows_KD: FloatArray, within: int, rng: np.random.Generator) -> tuple[float, IntArray]:
    """Mean distance of an image's samples to the nearest centre of their own, and the sample nearest to each centre."""
    if len(rows_KD) <= within:
        return 0.0, np.arange(len(rows_KD))
    centres, cluster = k_means(rows_KD, within, rng)
    squared = squared_to(rows_KD, centres[cluster])
    nearest = [np.flatnonzero(cluster == c)[squared[cluster == c].argmin()] for c in range(len(centres))]
    return float(np.sqrt(squared).mean()), np.asarray(nearest, dtype=np.int64)


def _in_turn(cluster_G: IntArray, labeled_G: np.ndarray, score_G: FloatArray) -> list[int]:
    """All images, one of each cluster in turn: fewest labeled images first, then the largest; least score."""
    queues = [np.flatnonzero(cluster_G == c) for c in range(int(cluster_G.max()) + 1)]
    places = list[tuple[int, int, int, int]]()
    for c, images in enumerate(queues):
        order = images[np.argsort(score_G[images], kind="stable")]
        first = int(labeled_G[images].sum())
        places += [(first + k, -len(images), c, int(image)) for k, image in enumerate(order.tolist())]
    return [image for *_, image in sorted(places)]
