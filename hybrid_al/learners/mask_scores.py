"""Scores of images and of their regions, by the networks that a fit on masks left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..core.types import CLASS_FEATURES, FEATURES, GRADIENTS, IGNORE, BoolArray, FloatArray, IntArray
from ..errors import InputError, UnknownName
from ..models.checkpoint import seed_of, seeded
from ..models.segmenter import Committee, Segmenter
from ..regions.base import Regions
from ..scores.edges import IMAGE_SCORES
from ..scores.pixels import PIXEL_SCORES, Reduction, by_part
from ..scores.regions import PART_SCORES
from .committee import Networks
from .features import class_features, part_features
from .gradients import last_layer_gradients
from .inputs import MaskInputs
from .quality import expected_error

SIDES = "side_disagreement"  # the score of which side heads are the passes
STUDENT = "student_divergence"  # the score of which teacher and student are the passes
QUALITY = "predicted_error"  # of an image, by the network's head for it
OF_IMAGES: Mapping[str, Callable[[Sequence[Segmenter], Tensor, Tensor], Tensor]] = {
    GRADIENTS: last_layer_gradients,
    CLASS_FEATURES: class_features,
    QUALITY: lambda networks, images, _: expected_error(networks, images),
}
"""Scores and vectors that networks give of images (B, C, H, W) with their valid pixels (B, H, W), by name."""


@dataclass(frozen=True)
class MaskScores:
    """What networks in eval mode say of images without augmentation; `reduction` as in `SegmentLearner`."""

    networks: Networks[Segmenter | Committee]
    inputs: MaskInputs
    reduction: Reduction

    @property
    def members(self) -> list[Segmenter]:
        """The networks that predict, in eval mode: the teacher, or all members of a committee."""
        networks = self.networks.members
        members = [list(network.members) if isinstance(network, Committee) else [network] for network in networks]
        return [cast(Segmenter, network) for committee in members for network in committee]

    @torch.no_grad()
    def passes(self, indices: IntArray, samples: int, views: int) -> Iterator[tuple[IntArray, Tensor, Tensor]]:
        """(positions, probabilities (B, S, C, H, W), masks (B, H, W) that are False in padding), in order.

        One sample is one pass in eval mode; more are passes with dropout on the decoder's features, computed once. A
        pass drops the same channels of every image. With a committee, each member is one pass.
        """
        if views != 1:
            raise InputError("predict", "one view of each image in segmentation", str(views))
        members, masks = self.members, None
        for block in self.inputs.blocks(indices):
            images, valid = self.inputs.plain(block)
            network = members[0]
            if len(members) > 1 or samples == 1:
                logits = torch.stack([member(images) for member in members], dim=1)
            else:
                decoded = network.decoded(images)
                if masks is None:
                    share = 1 - network.dropout.p
                    generator = seeded(seed_of(next(network.classifier.parameters())))
                    masks = torch.empty(samples, decoded.shape[1], 1, 1).bernoulli_(share, generator=generator) / share
                    masks = masks.to(decoded.device)
                logits = torch.stack([network.classify(decoded * mask, images.shape[-2:]) for mask in masks], dim=1)
            yield block, logits.softmax(dim=2), valid

    def score(
        self, name: str, indices: IntArray, samples: int = 1, views: int = 1, *, regions: Regions | None = None
    ) -> FloatArray:
        """A score of `scores`, by its name, of every pixel, reduced on the device to one number a sample (K,).

        With `regions`: one number a region, the mean over its pixels. The scores of `scores.regions` are computed from
        all pixels of an image or a part together, and may be vectors (K, D). Those of `OF_IMAGES` are of whole images
        alone.
        """
        if name in OF_IMAGES:
            if regions is not None:
                raise InputError(name, "whole images to ask about (task.region: image)", "parts of them")
            members = self.members
            values = [
                OF_IMAGES[name](members, *self.inputs.plain(block)).cpu().numpy()
                for block in self.inputs.blocks(indices)
            ]
            return np.concatenate(values)
        scores_by_name = {**PIXEL_SCORES, **PART_SCORES, **IMAGE_SCORES}
        if name not in {*scores_by_name, FEATURES}:
            raise UnknownName("scores of pixels", name, scores_by_name)
        if regions is None:
            rows, place, part = indices, np.arange(len(indices)), np.zeros(len(indices), dtype=np.int64)
        else:
            rows, place = np.unique(regions.samples(indices), return_inverse=True)
            part = regions.places(indices)
            if (earlier := part < 0).any():  # boxes of an earlier round, for comparison
                earlier_regions, units = regions.in_previous_round(indices[earlier])
                return _merge(
                    earlier,
                    self.score(name, units, samples, views, regions=earlier_regions),
                    self.score(name, indices[~earlier], samples, views, regions=regions),
                )
        block_scores = [
            self._of_parts(name, block, probs, valid, regions).double().cpu().numpy()
            for block, probs, valid in self._outputs_for(name, rows, samples, views)
        ]
        scores: FloatArray = np.concatenate(block_scores)[place, part] if block_scores else np.empty(0)
        return scores

    def _of_parts(self, name: str, block: IntArray, probs: Tensor, valid: Tensor, regions: Regions | None) -> Tensor:
        """Scores of images (B, 1), or of their parts (B, P), from `_outputs_for`; vectors have one more axis."""
        parts, count = torch.zeros_like(valid, dtype=torch.uint8).masked_fill(~valid, IGNORE), 1
        if regions is not None:
            parts, count = torch.from_numpy(regions.maps(block)).to(valid.device), regions.count
        if name == FEATURES:
            return part_features(self.members, probs, parts, count)
        if name in PART_SCORES:
            return PART_SCORES[name](probs, parts, count)
        if name in IMAGE_SCORES:
            values = IMAGE_SCORES[name](probs, self.inputs.plain(block)[0], valid)
        else:
            values = PIXEL_SCORES[name](probs)
        if regions is None:
            return self.reduction(values, probs.mean(dim=1).argmax(dim=1), valid).unsqueeze(1)
        sums, pixels = by_part(values, parts, count)
        return sums / pixels.clamp(min=1)

    def _outputs_for(
        self, name: str, indices: IntArray, samples: int, views: int
    ) -> Iterator[tuple[IntArray, Tensor, Tensor]]:
        """`passes`, or what a score takes in their place: images, or outputs of side heads, or of both networks."""
        if name == FEATURES:
            return ((block, *self.inputs.plain(block)) for block in self.inputs.blocks(indices))
        if name == SIDES:
            return self._outputs(indices, self.members[0].outputs)
        if name == STUDENT:
            teacher, student = self.networks.teacher, self.networks.student
            return self._outputs(indices, lambda images: [teacher(images), student(images)])
        return self.passes(indices, samples, views)

    @torch.no_grad()
    def _outputs(
        self, indices: IntArray, outputs: Callable[[Tensor], list[Tensor]]
    ) -> Iterator[tuple[IntArray, Tensor, Tensor]]:
        """As `passes`, with several logits (B, C, H, W) of the same images as passes."""
        for block in self.inputs.blocks(indices):
            images, valid = self.inputs.plain(block)
            yield block, torch.stack(outputs(images), dim=1).softmax(dim=2), valid


def _merge(mask: BoolArray, scores: FloatArray, others: FloatArray) -> FloatArray:
    """Rows (K, ...): those of `scores` where `mask` is True, those of `others` elsewhere, both in their order."""
    if not len(others):
        return scores
    rows = np.empty((len(mask), *others.shape[1:]))
    rows[mask], rows[~mask] = scores, others
    return rows
