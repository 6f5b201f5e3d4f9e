"""Every way to take images apart, and one of each kind from outside: parts cover the picture, boxes lie in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_al.core.registry import component
from hybrid_al.regions.base import MOST_PARTS
from hybrid_al.regions.fixed import PARTITIONS
from hybrid_al.regions.proposals import BOXES, BoxProposer
from hybrid_al.testing import unchanged_random_state
from tests.helpers.outside import HERE

SIDE, C = 24, 3
FRAMES = np.asarray([[0, 0, SIDE, SIDE], [4, 0, 20, SIDE], [0, 7, SIDE, 13], [5, 5, 6, 6]])
boxes = pytest.mark.parametrize("name", [*BOXES, f"{HERE}:Corner"])


@pytest.mark.parametrize("name", [*PARTITIONS, f"{HERE}:Halves"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("frame", FRAMES[:3].tolist(), ids=str)
@pytest.mark.parametrize("flat", [False, True])
def test_each_pixel_of_a_picture_is_in_one_part(name: str, channels: int, frame: list[int], flat: bool) -> None:
    unit = component(PARTITIONS, "task.region", name, {})
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, channels)).astype(np.uint8)
    pixels = np.full_like(pixels, 7) if flat else pixels
    visible = np.zeros((SIDE, SIDE), dtype=np.bool_)
    visible[frame[0] : frame[2], frame[1] : frame[3]] = True
    before = pixels.copy()
    with unchanged_random_state():
        parts = unit.parts(pixels, visible)
    np.testing.assert_array_equal(pixels, before)
    assert parts.shape == visible.shape and np.issubdtype(parts.dtype, np.integer)
    assert parts[visible].min() >= 0 and parts[visible].max() < MOST_PARTS
    np.testing.assert_array_equal(unit.parts(pixels, visible), parts)


def predictions(kind: str) -> torch.Tensor:
    """Probabilities (B, 2, C, H, W): of random, equal or sure classes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(FRAMES), 2, C, SIDE, SIDE, generator=generator)
    return (logits * {"random": 1.0, "equal": 0.0, "sure": 1e4}[kind]).softmax(dim=2)


@boxes
@pytest.mark.parametrize("kind", ["random", "equal", "sure"])
def test_boxes_lie_in_the_picture_and_overlap_nothing(name: str, kind: str) -> None:
    unit = component(BOXES, "task.region", name, {})
    assert isinstance(unit, BoxProposer) and unit.most >= 1 and unit.largest >= 1
    labeled = torch.zeros(len(FRAMES), SIDE, SIDE, dtype=torch.bool)
    labeled[0, 3:9, 3:9] = labeled[1, 10] = True
    with unchanged_random_state():
        proposals = unit.boxes(predictions(kind), torch.from_numpy(FRAMES), labeled)
    assert proposals.shape == (len(FRAMES), unit.most, 4)
    for image, frame, labeled_map in zip(proposals.tolist(), FRAMES.tolist(), labeled.clone().numpy(), strict=True):
        for top, left, bottom, right in image:
            if bottom <= top or right <= left:
                continue  # there is none
            assert frame[0] <= top and frame[1] <= left and bottom <= frame[2] and right <= frame[3]
            assert max(bottom - top, right - left) <= unit.largest
            assert not labeled_map[top:bottom, left:right].any()
            labeled_map[top:bottom, left:right] = True
    assert torch.equal(unit.boxes(predictions(kind), torch.from_numpy(FRAMES), labeled), proposals)


@boxes
def test_where_all_is_known_there_is_no_box(name: str) -> None:
    unit = component(BOXES, "task.region", name, {})
    labeled = torch.ones(len(FRAMES), SIDE, SIDE, dtype=torch.bool)
    proposals = unit.boxes(predictions("random"), torch.from_numpy(FRAMES), labeled)
    assert ((proposals[..., 2:] - proposals[..., :2]).amin(dim=-1) <= 0).all()
