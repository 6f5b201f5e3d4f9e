"""Functions of NumPy and of torch that say the same: one test holds every pair together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from hybrid_al.core.types import IGNORE
from hybrid_al.scores import edges, pixels, regions, samples, wholes

B, S, C, H, W = 4, 3, 4, 7, 9


def predictions(seed: int = 0) -> np.ndarray:
    """Probabilities (B, S, C, H, W); of the last images all pixels are certain, or all of them background."""
    rng = np.random.default_rng(seed)
    probs = np.moveaxis(rng.dirichlet(np.full(C, 0.4), size=(B, S, H, W)), -1, 2)
    probs[0, :, :, 0, 0], probs[1, :, :, 0, 0] = np.eye(C)[1], 1 / C
    probs[2] = np.moveaxis(np.eye(C)[np.arange(H * W).reshape(H, W) % C], -1, 0)
    probs[3] = np.array([0.9, 0.1, 0.0, 0.0]).reshape(C, 1, 1)
    return probs


def of_pixels(name: str) -> tuple[np.ndarray, torch.Tensor]:
    """A pixel is scored as a sample is, alone or in its image."""
    probs, score = predictions(), getattr(samples, name)
    alone = score(np.moveaxis(probs, (3, 4), (1, 2)).reshape(B * H * W, S, C)).reshape(B, H, W)
    np.testing.assert_allclose(score(probs), alone, atol=1e-12)
    return alone, pixels.PIXEL_SCORES[name](torch.from_numpy(probs))


def of_parts(name: str) -> tuple[np.ndarray, torch.Tensor]:
    """An image is a part."""
    probs = predictions()
    ours = regions.PART_SCORES[name](torch.from_numpy(probs), torch.zeros(B, H, W, dtype=torch.uint8), 1)[:, 0]
    if name == "boundary":
        label_maps = probs.mean(axis=1).argmax(axis=1).astype(np.uint8)
        return np.asarray([samples.outlines(labels).sum() for labels in label_maps]), ours
    expected = getattr(samples, name, None) or getattr(wholes, name)
    expected = expected(probs)
    expected = expected.mean(axis=(1, 2)) if name == "foreground" else expected
    return expected.reshape(ours.shape), ours


def of_images(name: str) -> tuple[np.ndarray, torch.Tensor]:
    """A pixel at an edge is scored as a sample is; what smooths by neighbours has its own test."""
    probs, valid = predictions(), torch.ones(B, H, W, dtype=torch.bool)
    images = torch.rand(B, 2, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = edges.IMAGE_SCORES[name](torch.from_numpy(probs), images, valid)
    return getattr(wholes, name)(probs, edges.sobel(images, valid).numpy()), ours


def of_rows(name: str) -> tuple[np.ndarray, torch.Tensor]:
    """Two pixels are as far apart as two rows are; where one rules out what the other is sure of, and where equal."""
    p, q = predictions(1)[:, 0], predictions(2)[:, 0]
    q[0, :, 0, 0], p[0, :, 0, 0] = np.eye(C)[0], np.eye(C)[1]
    q[0, :, 0, 1] = p[0, :, 0, 1] = np.eye(C)[0]
    rows = [np.moveaxis(x, 1, -1).reshape(-1, C) for x in (p, q)]
    ours = pixels.DISTANCES[name](torch.from_numpy(p), torch.from_numpy(q))
    assert ours[0, 0, 0] == 1 and ours[0, 0, 1] == 0
    return samples.DISTANCES[name](*rows).reshape(B, H, W), ours  # type: ignore[index]


def of_maps(name: str) -> tuple[np.ndarray, torch.Tensor]:
    """What is not known of a label map is a part of its own."""
    maps = np.random.default_rng(0).choice([0, 0, 0, 1, 2, IGNORE], (B, H, W)).astype(np.uint8)
    parts = np.where(maps == IGNORE, IGNORE, 0).astype(np.uint8)
    ours = getattr(regions, name)(torch.from_numpy(maps), torch.from_numpy(parts))
    return np.stack([getattr(samples, name)(labels) for labels in maps]), ours


Both = Callable[[str], tuple[np.ndarray, torch.Tensor]]
PAIRS: Mapping[str, tuple[Both, set[str]]] = {
    "pixels": (of_pixels, set(pixels.PIXEL_SCORES)),
    "parts": (of_parts, set(regions.PART_SCORES)),
    "images": (of_images, set(edges.IMAGE_SCORES) - {"crf_entropy"}),
    "rows": (of_rows, set(pixels.DISTANCES)),
    "maps": (of_maps, {"outlines"}),
}
"""What the NumPy one speaks of -> how both are asked, and the names: those of the registries, and one beside them."""


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (_, names) in PAIRS.items() for name in sorted(names)]
)
def test_both_say_the_same(kind: str, name: str) -> None:
    expected, ours = PAIRS[kind][0](name)
    assert ours.shape == expected.shape and len(np.unique(expected)) > 1
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-9)


def test_every_pair_is_tested() -> None:
    """A function of torch that has a namesake in NumPy is one of a pair, and so is a distance of either."""

    def functions(module: object) -> set[str]:
        members = inspect.getmembers(module, inspect.isfunction)
        return {name for name, f in members if f.__module__ == module.__name__ and name[0] != "_"}  # type: ignore[attr-defined]

    tested = set[str]().union(*(names for _, names in PAIRS.values()))
    ours, theirs = functions(pixels) | functions(regions) | functions(edges), functions(samples) | functions(wholes)
    assert ours & theirs <= tested | {"crf_entropy"}
    assert set(samples.DISTANCES) == set(pixels.DISTANCES)
