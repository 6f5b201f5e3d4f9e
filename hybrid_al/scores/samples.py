"""Acquisition functions over class probabilities, distances between them, and outlines of label maps.

A function of the same name in `pixels` or `regions` is the same in torch; one test compares each pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.special

from ..core.consistency import Distance
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from ..errors import InputError

CONTEXT_FLOOR = 1e-6  # least weight of a pixel in `contexts`: certain pixels have no entropy
FLOOR = 1e-12  # least probability in a logarithm
ROUNDING = 1e-12  # entropies that differ by less are equal: float32 passes that agree differ by rounding alone


def least_confidence(probs_BSC: FloatArray) -> FloatArray:
    """1 - the largest class probability of the mean over S: (B, S, C) -> (B,), in [0, 1 - 1/C].

    Further axes (pixels) stay: (B, S, C, *space) -> (B, *space). Settles, Active Learning Literature Survey
    (2009), section 3.1.
    """
    confidence: FloatArray = _mean(probs_BSC).max(axis=1)
    return 1 - confidence


def margin(probs_BSC: FloatArray) -> FloatArray:
    """1 - (largest - second largest class probability) of the mean over S: (B, S, C) -> (B,), in [0, 1].

    Further axes stay. Settles (2009), section 3.1.
    """
    sorted_probs = np.sort(_mean(probs_BSC), axis=1)
    gap: FloatArray = sorted_probs[:, -1] - sorted_probs[:, -2]
    return 1 - gap


def entropy(probs_BSC: FloatArray) -> FloatArray:
    """Shannon entropy of the mean over S, divided by log C: (B, S, C) -> (B,), in [0, 1]; 0 log 0 = 0.

    Further axes stay. Settles (2009), section 3.1.
    """
    return _shannon(_mean(probs_BSC), axis=1).clip(0, 1)


def bald(probs_BSC: FloatArray) -> FloatArray:
    """Entropy of the mean over S minus the mean of the S entropies, divided by log C: (B, S, C) -> (B,), in [0, 1].

    The mutual information of class and weights: 0 where all passes agree, 1 where each is certain and their votes are
    spread evenly over the classes; 0 log 0 = 0, and values below `ROUNDING` are 0. Further axes stay.
    Houlsby et al., Bayesian Active Learning for Classification and Preference Learning (2011), section 2; with
    dropout as Gal et al. (ICML 2017), section 4.
    """
    mean_entropy: FloatArray = _shannon(probs_BSC.astype(np.float64), axis=2).mean(axis=1)
    gain = (_shannon(_mean(probs_BSC), axis=1) - mean_entropy).clip(0, 1)
    return np.where(gain < ROUNDING, 0, gain)


def ratio(probs_BSC: FloatArray) -> FloatArray:
    """Second largest over largest class probability of the mean over S: (B, S, C) -> (B,), in [0, 1].

    Further axes stay. Ratio of confidence, Monarch, Human-in-the-Loop Machine Learning (2021), section 3.2.
    """
    sorted_probs = np.sort(_mean(probs_BSC), axis=1)
    share: FloatArray = sorted_probs[:, -2] / sorted_probs[:, -1]
    return share


def variation_ratio(probs_BSC: FloatArray) -> FloatArray:
    """Share of the S passes that do not vote for the class voted for most: (B, S, C) -> (B,), in [0, 1 - 1/C].

    A pass votes for its most probable class, the first of equals. Further axes stay. Gal et al., Deep Bayesian Active
    Learning with Image Data (ICML 2017), section 4.
    """
    majority: FloatArray = _votes(probs_BSC).max(axis=1)
    return 1 - majority


def vote_entropy(probs_BSC: FloatArray) -> FloatArray:
    """Entropy of the shares of the S votes, divided by log C: (B, S, C) -> (B,), in [0, 1].

    Votes as in `variation_ratio`. Further axes stay. Dagan and Engelson, Committee-Based Sampling (ICML 1995);
    Settles (2009), section 3.2. The other measure of a committee, the mean Kullback-Leibler divergence of
    its members from their mean, is `bald`, and so is the Jensen-Shannon divergence of views.
    """
    return _shannon(_votes(probs_BSC), axis=1).clip(0, 1)


def attention(probs_BSC: FloatArray) -> FloatArray:
    """Where a person should look: the mean of inconsistency, uncertainty and overlap: (B, S, C) -> (B,), in [0, 1].

    Inconsistency is twice `mean_std`, uncertainty `entropy`; overlap is 1 where two of the S votes are for different
    structures, classes that are not the background, class 0. Further axes stay. Qu et al., AbdomenAtlas-8K (NeurIPS
    2023), section 3.2: three networks, one map for each organ.
    """
    structures: FloatArray = (_votes(probs_BSC) > 0)[:, 1:].sum(axis=1)
    return (2 * mean_std(probs_BSC) + entropy(probs_BSC) + (structures > 1)) / 3


def foreground(probs_BSC: FloatArray) -> FloatArray:
    """Whether the most probable class is not the background, class 0: (B, S, C) -> (B,), 0 or 1; further axes stay.

    No acquisition function: its mean over pixels is the predicted area of the structures.
    """
    is_foreground: FloatArray = (probs_BSC.mean(axis=1).argmax(axis=1) > 0).astype(np.float64)
    return is_foreground


def expected_dice(probs_BSC: FloatArray) -> FloatArray:
    """1 - the Dice that the model expects of its own prediction: (B, S, C, *space) -> (B,), in [0, 1).

    Dice of a class is (2 sum p m + 1) / (sum p + sum m + 1) over the pixels, with p its mean probability over S, and m
    1 where it is the most probable class. Then the mean over the classes but the background, class 0. This is the soft
    Dice of `semi.dense.base.dice_ce`; with its smoothing 1 a class that is neither predicted nor probable has Dice 1.
    Without further axes a sample is a pixel. Atzeni et al., Deep Active Learning for Suggestive Segmentation (Medical
    Image Analysis 2022), take the expected Dice from the probabilities too, to weigh the gain of a region; here it is
    that of the prediction as it is.
    """
    probs = _mean(probs_BSC)[..., None]
    one_hot = probs.argmax(axis=1, keepdims=True) == np.arange(probs.shape[1]).reshape(-1, *[1] * (probs.ndim - 2))
    axes = tuple(range(2, probs.ndim))
    overlap, total = (probs * one_hot).sum(axis=axes), (probs + one_hot).sum(axis=axes)
    risk: FloatArray = 1 - ((2 * overlap + 1) / (total + 1))[:, 1:].mean(axis=1)
    return risk


def ripu(probs_BSC: FloatArray) -> FloatArray:
    """Impurity x mean entropy of a region: (B, S, C, *space) -> (B,), in [0, 1].

    Impurity is the entropy of the shares of the predicted classes among its pixels, divided by log C. Without further
    axes a region is one pixel, of impurity 0. Xie et al., Towards Fewer Annotations: Active Learning via Region
    Impurity and Prediction Uncertainty (CVPR 2022), section 3.2.
    """
    probs = _mean(probs_BSC)[..., None]
    one_hot = probs.argmax(axis=1, keepdims=True) == np.arange(probs.shape[1]).reshape(-1, *[1] * (probs.ndim - 2))
    axes = tuple(range(2, probs.ndim))
    mean_entropy: FloatArray = _shannon(probs, axis=1).mean(axis=tuple(axis - 1 for axis in axes))
    return (_shannon(one_hot.mean(axis=axes), axis=1) * mean_entropy).clip(0, 1)


def contexts(probs_BSC: FloatArray) -> FloatArray:
    """Mean class probabilities of a sample's pixels of each predicted class: (B, S, C, *space) -> (B, C, C).

    Row c is the mean over the pixels of predicted class c, weighted by their entropy, and sums to one; it is zero
    where there are none. Without further axes a sample is a pixel. Agarwal et al., Contextual Diversity for Active
    Learning (ECCV 2020), section 3.1.
    """
    probs = _mean(probs_BSC)[..., None]
    probs = probs.reshape(*probs.shape[:2], -1)
    one_hot = probs.argmax(axis=1)[:, None] == np.arange(probs.shape[1])[:, None]
    weight = one_hot * (scipy.special.entr(probs).sum(axis=1, keepdims=True) + CONTEXT_FLOOR)
    rows: FloatArray = np.einsum("bcp,bkp->bck", weight, probs)
    rows /= np.maximum(weight.sum(axis=2, keepdims=True), np.finfo(np.float64).tiny)
    return rows


def shares(probs_BSC: FloatArray) -> FloatArray:
    """Share of a sample's pixels whose most probable class is each class: (B, S, C, *space) -> (B, C).

    Without further axes a sample is a pixel, and has one class.
    """
    probs = _mean(probs_BSC)[..., None]
    one_hot = probs.argmax(axis=1)[:, None] == np.arange(probs.shape[1]).reshape(-1, *[1] * (probs.ndim - 2))
    values: FloatArray = one_hot.mean(axis=tuple(range(2, one_hot.ndim)))
    return values


def side_disagreement(probs_BSC: FloatArray) -> FloatArray:
    """1 - mean Dice of the first output with each other one: (B, S, C, *space) -> (B,), in [0, 1); 0 of one output.

    Dice is of the predicted classes, smoothing 1, mean over all but the background: two blank masks agree, as
    published. Zhao et al., DSAL (IEEE JBHI 2021), section III.B.
    """
    probs = np.asarray(probs_BSC, dtype=np.float64)[..., None]
    axes = tuple(range(3, probs.ndim))
    one_hot = probs.argmax(axis=2)[:, :, None] == np.arange(probs.shape[2]).reshape(1, 1, -1, *[1] * len(axes))
    first, others = one_hot[:, :1], one_hot[:, 1:]
    if not others.shape[1]:
        return np.zeros(len(probs))
    overlap, total = (first & others).sum(axis=axes), first.sum(axis=axes) + others.sum(axis=axes)
    dice: FloatArray = ((2 * overlap + 1) / (total + 1))[:, :, 1:].mean(axis=(1, 2))
    return 1 - dice


def predicted_error(probs_BSC: FloatArray) -> FloatArray:
    """0 of each sample (B,): what a head expects of a mask is the learner's to say, and samples here have none."""
    return np.zeros(len(_mean(probs_BSC)))


def student_divergence(probs_BSC: FloatArray) -> FloatArray:
    """KL(first output || second) in nats: (B, S, C) -> (B,), 0 of one output; a network's teacher, and its student.

    Further axes stay. The divergence of PLD-AL (MICCAI 2023).
    """
    teacher, student = (np.maximum(probs_BSC[:, s].astype(np.float64), FLOOR) for s in (0, -1))
    nats: FloatArray = (teacher * (np.log(teacher) - np.log(student))).sum(axis=1).clip(0)
    return np.where(nats < ROUNDING, 0, nats)


def mean_std(probs_BSC: FloatArray) -> FloatArray:
    """Mean over C of the standard deviation over S: (B, S, C) -> (B,), in [0, 1/2]; below `ROUNDING` it is 0.

    Further axes stay. Gal et al. (ICML 2017), section 4.
    """
    spread: FloatArray = np.sqrt(_variance(probs_BSC)).mean(axis=1)
    return np.where(spread < ROUNDING, 0, spread)


def summed_variance(probs_BSC: FloatArray) -> FloatArray:
    """Sum over C of the variance over S: (B, S, C) -> (B,), in [0, 1 - 1/C]; below `ROUNDING` it is 0.

    Further axes stay. Over views: Gao et al., Consistency-Based Semi-Supervised Active Learning (ECCV 2020), the
    metric of selection.
    """
    spread: FloatArray = _variance(probs_BSC).sum(axis=1)
    return np.where(spread < ROUNDING, 0, spread)


def vacuity(alpha_BC: FloatArray) -> FloatArray:
    """C / sum of alpha of a Dirichlet distribution over C classes: (B, C) -> (B,), above 0.

    1 for the uniform distribution (all alpha 1), nearer to 0 with more evidence, above 1 where alphas are below 1. The
    lack of evidence of subjective logic, as Sensoy et al., Evidential Deep Learning (NeurIPS 2018), section 3.
    """
    alpha = _parameters(alpha_BC)
    values: FloatArray = alpha.shape[1] / alpha.sum(axis=1)
    return values


def dissonance(alpha_BC: FloatArray) -> FloatArray:
    """Conflict of the evidence: (B, C) -> (B,), in [0, 1).

    Belief in a class is its evidence above 1 divided by the sum of alpha; balance of two beliefs is
    1 - |a - b| / (a + b). Dissonance is the sum over classes of belief x mean balance with the other classes, weighted
    by the belief in them. Josang, Cho, Chen, Uncertainty Characteristics of Subjective Opinions (FUSION 2018); Shi et
    al. (NeurIPS 2020).
    """
    alpha = _parameters(alpha_BC)
    belief = (alpha - 1).clip(0) / alpha.sum(axis=1, keepdims=True)
    total = np.zeros(len(belief))
    for k in range(belief.shape[1]):
        belief_k, others = belief[:, k : k + 1], np.delete(belief, k, axis=1)
        pair_sum = belief_k + others
        balance = np.where(
            (belief_k > 0) & (others > 0), 1 - abs(belief_k - others) / np.where(pair_sum > 0, pair_sum, 1), 0
        )
        other_belief = others.sum(axis=1)
        total += belief_k[:, 0] * (others * balance).sum(axis=1) / np.where(other_belief > 0, other_belief, 1)
    return total


def dirichlet_data(alpha_BC: FloatArray) -> FloatArray:
    """Expected entropy of the class under Dir(alpha), divided by log C: (B, C) -> (B,), in [0, 1].

    The uncertainty that remains when the class probabilities are known. Xie et al., DUC (ICLR 2023), section 3.2.
    """
    alpha = _parameters(alpha_BC)
    total = alpha.sum(axis=1, keepdims=True)
    gaps = scipy.special.digamma(total + 1) - scipy.special.digamma(alpha + 1)
    expected: FloatArray = (alpha / total * gaps).sum(axis=1) / np.log(alpha.shape[1])
    return expected.clip(0, 1)


def dirichlet_information(alpha_BC: FloatArray) -> FloatArray:
    """Mutual information of the class and its probabilities, divided by log C: (B, C) -> (B,), in [0, 1].

    Under Dir(alpha): entropy of the mean minus `dirichlet_data`, as `bald`; values below `ROUNDING` are 0. The
    distribution uncertainty of DUC, section 3.2.
    """
    alpha = _parameters(alpha_BC)
    gain = _shannon(alpha / alpha.sum(axis=1, keepdims=True), axis=1) - dirichlet_data(alpha)
    return np.where(gain < ROUNDING, 0, gain)


def _parameters(alpha_BC: FloatArray) -> FloatArray:
    if alpha_BC.ndim != 2 or alpha_BC.shape[1] < 2 or not ((alpha_BC > 0) & np.isfinite(alpha_BC)).all():
        raise InputError(
            "alpha", "shape (B, C) with finite numbers above 0 for two classes or more", str(alpha_BC.shape)
        )
    return alpha_BC.astype(np.float64)


def _votes(probs_BSC: FloatArray) -> FloatArray:
    """Share of the S votes for each class (B, C, ...)."""
    shape = _mean(probs_BSC).shape
    classes = np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    shares: FloatArray = (probs_BSC.argmax(axis=2, keepdims=True) == classes).mean(axis=1, dtype=np.float64)
    return shares


def _variance(probs_BSC: FloatArray) -> FloatArray:
    gaps = probs_BSC - _mean(probs_BSC)[:, None]
    variance: FloatArray = np.square(gaps).mean(axis=1)
    return variance


def _shannon(probs: FloatArray, axis: int) -> FloatArray:
    entropy: FloatArray = scipy.special.entr(probs).sum(axis=axis) / np.log(probs.shape[axis])
    return entropy


def _mean(probs_BSC: FloatArray) -> FloatArray:
    if probs_BSC.ndim < 3 or probs_BSC.shape[2] < 2:
        raise InputError("probs", "shape (B, S, C, ...) with two classes or more", str(probs_BSC.shape))
    mean: FloatArray = probs_BSC.mean(axis=1, dtype=np.float64)
    return mean


def jensen_shannon(p: FloatArray, q: FloatArray) -> FloatArray:
    """Jensen-Shannon divergence of the rows of p and q (B, C) in bits (B,), in [0, 1]; safe at zero."""
    p, q = np.ascontiguousarray(p.T), np.ascontiguousarray(q.T)  # sums over short rows take twice the time
    bits: FloatArray = _bits((p + q) / 2) - (_bits(p) + _bits(q)) / 2
    return bits.clip(0, 1)


def kullback_leibler(p: FloatArray, q: FloatArray) -> FloatArray:
    """1 - exp(-KL(p || q)) of the rows of p and q (B, C), in [0, 1]; 1 where q is 0 for a class of which p is not.

    KL has no upper bound. This grows with KL, and its root bounds the total variation (Bretagnolle, Huber, 1979).
    """
    from scipy.special import rel_entr

    p, q = np.ascontiguousarray(p.T), np.ascontiguousarray(q.T)
    nats: FloatArray = rel_entr(p, q).sum(axis=0).clip(0)
    return 1 - np.exp(-nats)


DISTANCES: Mapping[Distance, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "jensen_shannon": jensen_shannon,
    "kullback_leibler": kullback_leibler,
}


def _bits(p_CB: FloatArray) -> FloatArray:
    entropy: FloatArray = -(p_CB * np.log2(np.maximum(p_CB, np.finfo(p_CB.dtype).tiny))).sum(axis=0)
    return entropy


def outlines(labels: LabelMap) -> BoolArray:
    """Pixels of structures in a label map (H, W) that share a side with a pixel of another class.

    Neither the border of the image nor unknown pixels (`IGNORE`) make an outline. Two structures that touch both have
    one.
    """
    edge = np.zeros(labels.shape, dtype=np.bool_)
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        a, b = labels[first], labels[second]
        differs = (a != b) & (a != IGNORE) & (b != IGNORE)
        edge[first] |= differs
        edge[second] |= differs
    return edge & (labels > 0)


def label_doubt(probs_KC: FloatArray, targets_K: IntArray) -> FloatArray:
    """Cross-entropy of the given class less the entropy, in nats: (K, C), (K,) -> (K,), larger = look again.

    Large where a model is sure of another class; an ambiguous sample, of which it is not sure, has about 0. The
    probabilities are those of a model that did not learn the label; they count as 1e-12 at least. Bernhardt et al.,
    Active Label Cleaning for Improved Dataset Quality under Resource Constraints (Nature Communications 2022), methods.
    """
    probs = np.maximum(probs_KC.astype(np.float64), 1e-12)
    doubt: FloatArray = -np.log(probs[np.arange(len(probs)), targets_K]) - scipy.special.entr(probs).sum(axis=1)
    return doubt
