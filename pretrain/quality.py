"""Quality of embeddings without labels: agreement of two views, distances between images, and collapse.

The caller samples the rows; nothing here holds an N x N matrix. None of these numbers can stand in for a probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from hybrid_al.core.embeddings import unit_rows
from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.distances import BLOCK, nearest

NEIGHBOURS = 20

# Measured at 28 to 64 px on PneumoniaMNIST, malaria and ISIC 2017. Lowest of 56 encoders of real runs (SimCLR, random,
# ImageNet) and of 20 random networks of five architectures: effective rank 5.1, spread 0.059. A ResNet-10 that was
# trained only to pull views together went through 3.6 and 0.139 (loss -0.94) to 1.7 and 0.022 (-0.99); at a
# larger rate it reached 1.0 and 0.000. The rank is the stricter of the two; the spread is for a cone of noise.
LOWEST_RANK, LOWEST_SPREAD = 2.0, 0.02


def quality(plain_ND: FloatArray, first_ND: FloatArray, second_ND: FloatArray) -> dict[str, float]:
    """`alignment`, `uniformity`, `effective_rank`, `spread` and `neighbour_stability` of at least two images.

    plain_ND: raw embeddings of the images; first_ND and second_ND: of two random views of all or some of them, in the
    same order. Neighbours are 20, or a tenth of the images with views.
    """
    k = max(1, min(NEIGHBOURS, len(first_ND) // 10))
    return {
        "alignment": alignment(first_ND, second_ND),
        "uniformity": uniformity(plain_ND),
        "effective_rank": effective_rank(plain_ND),
        "spread": spread(plain_ND),
        "neighbour_stability": neighbour_stability(first_ND, second_ND, k),
    }


def alignment(first_ND: FloatArray, second_ND: FloatArray) -> float:
    """Mean squared distance of the unit embeddings of two views of the same image, 0 to 4; 0 = views do not matter.

    Wang and Isola (ICML 2020), section 4, with alpha = 2. It is 0 after a collapse, too: read it beside `uniformity`.
    """
    if first_ND.shape != second_ND.shape:
        raise InputError("alignment", f"two views of shape {first_ND.shape}", str(second_ND.shape))
    pairs = zip(_units(first_ND), _units(second_ND), strict=True)
    return float(sum(np.square(a - b).sum() for a, b in pairs) / len(first_ND))


def uniformity(vectors_ND: FloatArray, *, block: int = 1024) -> float:
    """Log of the mean of exp(-2 |u - v|^2) over all pairs of unit embeddings: 0 = one point, about -4 = everywhere.

    Wang and Isola (ICML 2020), section 4, with t = 2; -4 is the limit for many evenly spread directions. O(N^2 D) time,
    O(block^2) memory.
    """
    n = len(vectors_ND)
    if n < 2:
        raise InputError("uniformity", "at least two rows", str(n))
    total = 0.0
    for i, rows in enumerate(_units(vectors_ND, block)):
        for j, others in enumerate(_units(vectors_ND, block)):
            if j >= i:
                norms = np.square(rows).sum(1)[:, None] + np.square(others).sum(1)
                near = np.exp(-2 * (norms - 2 * rows @ others.T).clip(0))
                total += near.sum() if j > i else (near.sum() - np.trace(near)) / 2
    return float(np.log(total / (n * (n - 1) / 2)))


def effective_rank(vectors_ND: FloatArray) -> float:
    """Exp of the entropy of the normalised singular values of the raw embeddings: 1 to min(N, D); 0 if all are 0.

    RankMe: Garrido et al. (ICML 2023), section 3. From the D x D Gram matrix in float64, in which singular values
    below 1e-6 of the largest are rounding; they are left out in the place of the paper's epsilon.
    """
    gram = np.zeros((vectors_ND.shape[1],) * 2)
    for rows in _blocks(vectors_ND):
        gram += rows.T @ rows
    singular = np.sqrt(np.linalg.eigvalsh(gram).clip(0))
    if not singular[-1]:
        return 0.0
    share = singular[singular > 1e-6 * singular[-1]]
    share = share / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def spread(vectors_ND: FloatArray) -> float:
    """Root of the summed variance of the unit embeddings: 0 = one point, 1 = they point everywhere alike.

    The check of SimSiam (Chen and He, CVPR 2021, section 4.1), the standard deviation of a channel of the unit output
    times sqrt(D), as the root mean square over all channels.
    """
    n = len(vectors_ND)
    mean = sum(rows.sum(0) for rows in _units(vectors_ND)) / n
    return float(np.sqrt(sum(np.square(rows - mean).sum() for rows in _units(vectors_ND)) / n))


def neighbour_stability(first_ND: FloatArray, second_ND: FloatArray, k: int) -> float:
    """Share of an image's k nearest others by cosine that two views agree on, 0 to 1; by chance it is k / (N - 1).

    Images that coincide have the same order in both, so the number means nothing after a collapse.
    """
    if first_ND.shape != second_ND.shape:
        raise InputError("neighbour_stability", f"two views of shape {first_ND.shape}", str(second_ND.shape))
    first, second = (
        nearest(units, units, k, exclude_self=True)[1]
        for units in (np.concatenate(list(_units(rows))) for rows in (first_ND, second_ND))
    )
    return float(sum((first == second[:, [j]]).sum() for j in range(k)) / first.size)


def collapse(metrics: Mapping[str, float], *, trained: bool = True) -> str | None:
    """A warning where the numbers of `quality` show a collapse: one point, or fewer than two directions in use.

    trained  whether stage 0 has a training, whose settings may be at fault
    """
    rank, width = metrics["effective_rank"], metrics["spread"]
    if rank >= LOWEST_RANK and width >= LOWEST_SPREAD:
        return None
    settings = "take an encoder with weights (encoder.weights), another method, fewer epochs or a lower learning rate"
    return (
        f"the embeddings have collapsed: effective rank {rank:.1f} (at least {LOWEST_RANK:g} expected), spread "
        f"{width:.3f} (at least {LOWEST_SPREAD:g}), so what is near one image is near to all; "
        + (settings if trained else "a stage 0 (pretrain) or other weights (encoder.weights) may tell the images apart")
    )


def _units(vectors_ND: FloatArray, block: int = BLOCK) -> Iterator[FloatArray]:
    """Rows scaled to unit length, zero rows as they are, in blocks."""
    for rows in _blocks(vectors_ND, block):
        yield unit_rows(rows)


def _blocks(vectors_ND: FloatArray, block: int = BLOCK) -> Iterator[FloatArray]:
    """Rows in float64, in blocks; an error where one is not finite."""
    for start in range(0, len(vectors_ND), block):
        rows: FloatArray = np.asarray(vectors_ND[start : start + block], dtype=np.float64)
        if not np.isfinite(rows).all():
            bad = start + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise InputError(f"embedding in row {bad}", "finite numbers", "nan or inf")
        yield rows
