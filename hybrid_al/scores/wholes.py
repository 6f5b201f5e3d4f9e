"""Scores of a region that depend on what is around it, or on the image, in NumPy: of a whole image as one region."""

from __future__ import annotations

import numpy as np

from ..core.types import FloatArray
from .samples import bald, entropy, expected_dice


def dice_gain(probs_BSC: FloatArray) -> FloatArray:
    """Dice that the model expects to gain where a region is drawn: (B, S, C, *space) -> (B,), in [0, 1).

    Of the whole image that is all that its prediction lacks (`samples.expected_dice`). Of a part: the expected soft
    Dice of the image with the truth in the part in the place of the prediction, less that of the prediction. In the
    part the truth agrees with itself, so overlap and both areas are the sum of the probabilities. Atzeni et al., Deep
    Active Learning for Suggestive Segmentation (Medical Image Analysis 2022).
    """
    return expected_dice(probs_BSC)


def expected_outline(probs_BSC: FloatArray) -> FloatArray:
    """Sides of pixels that the model expects to lie between two classes: (B, S, C, *space) -> (B,).

    Two pixels side by side differ with probability 1 - sum over C of p q, as if they were independent. Without further
    axes a sample is a pixel, of no outline. Atzeni et al. (2022) expect the length to trace from the probabilities too.
    """
    probs = np.asarray(probs_BSC, dtype=np.float64).mean(axis=1)
    length = np.zeros(len(probs))
    for axis in range(2, probs.ndim):
        a, b = (np.delete(probs, end, axis=axis) for end in (-1, 0))
        length += (1 - (a * b).sum(axis=1)).reshape(len(probs), -1).sum(axis=1)
    return length


def inconsistency(probs_BSC: FloatArray) -> FloatArray:
    """How unlike the predictions of a region's pixels are: (B, S, C, *space) -> (B,), in [0, 1].

    Entropy of their mean, less the mean of their entropies, divided by log C (the Jensen-Shannon divergence). A region
    that is all one class, or equally doubtful everywhere, has 0; so has one pixel.
    """
    probs = np.asarray(probs_BSC, dtype=np.float64).mean(axis=1, keepdims=True)
    probs = probs.reshape(*probs.shape[:3], -1)
    values: FloatArray = entropy(probs.mean(axis=3)) - entropy(probs).mean(axis=1)
    return values.clip(0, 1)


def edge_entropy(probs_BSC: FloatArray, edges_B: FloatArray | None = None) -> FloatArray:
    """Entropy of the mean of S passes, times the strength of the image's edge there: (B, S, C, *space) -> (B, *space).

    Kadir et al., EdgeAL (MICCAI 2023). edges (B, *space) in [0, 1]; None: 1 everywhere, where samples have no pixels.
    """
    return entropy(probs_BSC) * (1.0 if edges_B is None else edges_B)


def edge_divergence(probs_BSC: FloatArray, edges_B: FloatArray | None = None) -> FloatArray:
    """Mean Kullback-Leibler divergence of S passes from their mean, over log C, times the strength of the edge there.

    That mean is `samples.bald`: (B, S, C, *space) -> (B, *space), in [0, 1]. edges as in `edge_entropy`.
    """
    return bald(probs_BSC) * (1.0 if edges_B is None else edges_B)


def crf_entropy(probs_BSC: FloatArray) -> FloatArray:
    """Entropy after a conditional random field has smoothed the predictions: `edges.mean_field`. (B, S, C) -> (B,).

    A sample without pixels has no neighbours, so it is the entropy.
    """
    return entropy(probs_BSC)
