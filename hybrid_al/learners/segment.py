"""Learner `finetune` of segmentation: the whole network learns from masks, in each round anew from stage 0."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..core.labels import LabelStore, stratified_folds
from ..core.learner import FitResult, Log
from ..core.rng import derive, derive_seed
from ..core.seals import sha256_of
from ..core.types import (
    CLASS_FEATURES,
    FEATURES,
    GRADIENTS,
    IGNORE,
    BoolArray,
    FloatArray,
    IntArray,
    LabelMap,
    PredictionBatch,
)
from ..data.answers import read_answer, read_boxes
from ..data.loaders import batches_of_domains, blocks, unlabeled_batches
from ..data.stores.masks import MaskStore
from ..errors import InputError, UnknownName
from ..metrics.pixel_calibration import sample_pixels
from ..models.checkpoint import seed_of, seeded
from ..models.segmenter import Committee, Segmenter, network_or_committee
from ..oracles.effort import costs
from ..regions.base import Parts, Regions
from ..scores.edges import IMAGE_SCORES
from ..scores.pixels import PIXEL_SCORES, Reduction, by_part
from ..scores.regions import PART_SCORES
from ..semi.base import Evidence, Models
from ..semi.dense.base import DenseObjective, PixelEvidence, UnlabeledPixels
from ..semi.dense.record import MapRecorder
from ..train import Penalty, Schedule, learn
from .committee import Networks, of_last_fit, train_members
from .emphasis import copies
from .features import class_features, part_features
from .gradients import last_layer_gradients
from .head import bootstrap
from .inputs import Boxes, MaskBatch, MaskInputs
from .quality import expected_error
from .sieve import sieved

MIN_VISITS = 2
SIDES = "side_disagreement"  # the score of which side heads are the passes
STUDENT = "student_divergence"  # the score of which teacher and student are the passes
QUALITY = "predicted_error"  # of an image, by the network's head for it
OF_IMAGES: Mapping[str, Callable[[Sequence[Segmenter], Tensor, Tensor], Tensor]] = {
    GRADIENTS: last_layer_gradients,
    CLASS_FEATURES: class_features,
    QUALITY: lambda networks, images, _: expected_error(networks, images),
}
"""Scores and vectors that networks give of images (B, C, H, W) with their valid pixels (B, H, W), by name."""

BATCH_PIXELS = 2**19  # predicted at once: 128 images of 64 x 64

# 12 labeled and 12 unlabeled images a step, as in the public code of UA-MT and its successors on slices
SCHEDULE = Schedule(steps=300, min_steps=150, batch=12, ratio=1, lr_head=1e-3, ema_decay=0.99)


class SegmentLearner:
    """A `Learner` of masks: `make(seed)` gives the untrained network of a round, `inputs` the views that it trains on.

    classes    of pixels, with the background; `names` of them, for messages
    reduction  from the scores of pixels to that of an image
    answers    folder that the paths of annotations are relative to: the run directory
    pool (P,) positions, of which the objective may use the unlabeled ones; n rows of the manifest; `cache` keeps label
    maps.
    penalty  a further term of the loss
    sieve  whether regions that one click gave a class are sieved by the last model (`sieve.sieved`)
    top_up_limit  largest number of rows that get their missing views after a fit; above it they stay neutral. A few
                  hundred steps reach a small share of a large pool; the missing views would cost several trainings.

    Predictions of a committee (`Schedule.members`, `Schedule.cycles`, an objective of several networks) replace passes
    with dropout; the consistency record and the student are those of its first training.
    """

    def __init__(
        self,
        make: Callable[[int], Segmenter],
        inputs: MaskInputs,
        objective: DenseObjective,
        schedule: Schedule,
        reduction: Reduction,
        *,
        classes: int,
        pool: IntArray,
        n: int,
        answers: Path,
        cache: Path,
        top_up_limit: int,
        parts: Parts | None = None,
        names: Sequence[str] = (),
        sieve: bool = False,
        source: BoolArray | None = None,
        penalty: Penalty[Any] | None = None,
    ) -> None:
        self.make, self.inputs, self.objective, self.schedule = make, inputs, objective, schedule
        self.reduction, self.classes, self.pool, self.n = reduction, classes, pool, n
        self.answers, self.cache, self.top_up_limit, self.parts = answers, cache, top_up_limit, parts
        self.names, self.sieve, self.source, self.penalty = names, sieve, source, penalty
        self.networks: Networks[Segmenter | Committee] | None = None

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        """See `Learner.fit`; predictions come from the teacher's last weights."""
        if not len(labels.labeled):
            raise InputError(f"training of round {round}", "at least one mask", "none (all were skipped)")
        masks, seed, regions = self.masks(labels), derive_seed(seed, "fit", round), self.inputs.regions
        unlabeled, boxes, passes = self._open(labels), self._boxes(labels), 0
        parts = 1 if regions is None else regions.parts
        recorder = MapRecorder(self.n, self.classes, self.reduction, self.schedule.record, parts)
        training = self._sieved(masks, labels, previous) if self.sieve and previous is not None else masks
        training = self._repeated(training, previous)
        teacher, metrics = self._learn(labels, training, unlabeled, boxes, seed, log, previous, recorder)
        if len(self._missing(recorder, unlabeled)) <= self.top_up_limit:
            passes = self._top_up(teacher, recorder, unlabeled, seed)
        consistency = recorder.record().carry_from(previous)
        box_classes = [c for rows in (boxes or {}).values() for c in rows[:, 0].tolist()]
        unseen = np.setdiff1d(np.flatnonzero(masks.pixels[: self.classes] == 0), box_classes).tolist()
        for c in unseen:
            name = f" ({self.names[c]})" if self.names else ""
            print(f"round {round}: no labeled mask shows class {c}{name}, so it cannot be learned yet", file=sys.stderr)
        classes_seen = float(self.classes - len(unseen))
        metrics |= {"train/top_up_passes": float(passes), "train/classes_seen": classes_seen}
        return FitResult(metrics, consistency, costs(labels, masks, self.classes, self.parts))

    def _open(self, labels: LabelStore) -> IntArray:
        """Samples of the pool that are not labeled, or not in all their parts."""
        if self.parts is not None:
            return self.parts.open(labels)
        unlabeled = np.setdiff1d(self.pool, labels.labeled)
        return unlabeled if self.source is None else unlabeled[~self.source[unlabeled]]

    def _learn(
        self,
        labels: LabelStore,
        masks: MaskStore,
        unlabeled: IntArray,
        boxes: Boxes | None,
        seed: int,
        log: Log,
        previous: Path | None = None,
        recorder: MapRecorder | None = None,
    ) -> tuple[Segmenter | Committee, dict[str, float]]:
        """Train all members, which predict from then on; returns teacher and metrics of the first training."""
        all_masks = {labels.current[i].kind for i in masks.samples.tolist()} == {"mask"}
        batches = partial(self._batches, masks, unlabeled, extent=all_masks, boxes=boxes)
        steps = self.schedule.length(len(masks))

        def train(
            network: Segmenter | Committee, member: int, seed: int, log: Log
        ) -> tuple[Segmenter | Committee, tuple[Segmenter | Committee, ...], dict[str, float]]:
            def record(_: Models, views: UnlabeledPixels | None, evidence: Evidence | None) -> None:
                if recorder is not None and member == 0:
                    recorder.add(evidence, None if views is None else views.parts)

            teacher, metrics, snapshots = learn(
                network,
                self.objective.step,
                batches(seed),
                record,
                self.schedule,
                steps=steps,
                seed=seed,
                log=log,
                penalty=self.penalty,
            )
            return teacher, snapshots, metrics

        self.networks, metrics = train_members(
            # "member" names the seeds of networks within a training
            self._new_network,
            train,
            self.schedule,
            purpose="ensemble",
            seed=seed,
            log=log,
            previous=previous,
        )
        return self.networks.teacher, metrics

    def _sieved(self, masks: MaskStore, labels: LabelStore, previous: Path) -> MaskStore:
        """The label maps without the pixels that the model of the last round believes to be of another class."""
        assert self.parts is not None
        self.load(previous / "model.safetensors")
        regions_of, maps = self.parts.query_masks(labels), list[LabelMap]()
        for batch in self.predict(masks.samples):
            rows = zip(batch.indices.tolist(), masks.batch(batch.indices), batch.probs.mean(axis=1), strict=True)
            maps += [sieved(label_map, regions_of(i), probs) for i, label_map, probs in rows]
        return replace(masks, maps=np.stack(maps))

    def _repeated(self, masks: MaskStore, previous: Path | None) -> MaskStore:
        """The label maps, each as often as `Schedule.repeat` says by the last round's model."""
        if previous is None or self.schedule.repeat == 0:
            return masks
        learner = copy.copy(self)
        learner.load(previous / "model.safetensors")
        times = copies(learner.score("entropy", masks.samples), self.schedule.repeat)
        return replace(masks, samples=np.repeat(masks.samples, times), maps=np.repeat(masks.maps, times, axis=0))

    def _missing(self, recorder: MapRecorder, rows: IntArray) -> IntArray:
        """The `rows` that training visited fewer than `MIN_VISITS` times, in whole or in one of their parts."""
        regions = self.inputs.regions
        if regions is None:
            return rows[recorder.seen[rows] < MIN_VISITS]
        visits = recorder.seen.reshape(-1, regions.parts)[rows]
        return rows[((visits < MIN_VISITS) & (regions.sizes[rows] > 0)).any(axis=1)]

    def _new_network(self, seed: int) -> Segmenter | Committee:
        """The untrained network, or committee, of the objective."""
        return network_or_committee(self.make, self.objective.networks, seed)

    def masks(self, labels: LabelStore) -> MaskStore:
        """The label maps of the labeled samples, from the files that the annotations name."""
        rows = np.sort(labels.labeled)
        for i in rows.tolist():
            if labels.current[i].kind not in ("mask", "point", "scribble", "box"):
                raise InputError(f"label of sample {i}", "a mask, points, scribbles or boxes", labels.current[i].kind)
        files = {i: self.answers / str(labels.current[i].target) for i in rows.tolist()}
        for file in files.values():
            if not file.is_file():
                raise InputError(file, "the mask of an annotation", "no such file")
        return MaskStore.build(
            rows,
            lambda i: read_answer(files[i], self.classes),
            [sha256_of(file) for file in files.values()],
            [str(file) for file in files.values()],
            size=self.inputs.store.size,
            cache=self.cache,
        )

    def _boxes(self, labels: LabelStore) -> Boxes | None:
        """The boxes of the labeled samples, none for those labeled otherwise; None where no sample has boxes."""
        if "box" not in {labels.current[i].kind for i in labels.labeled.tolist()}:
            return None
        none = np.empty((0, 5), dtype=np.int64)
        annotations = {i: labels.current[i] for i in labels.labeled.tolist()}
        return {
            i: read_boxes(self.answers / str(a.target)) if a.kind == "box" else none for i, a in annotations.items()
        }

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """Class probabilities of pixels (B, samples, C, H, W), streamed in small batches."""
        for block, probs, _ in self._passes(indices, samples, views):
            yield PredictionBatch(block, probs.cpu().numpy())

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
            members = self._members()
            values = [
                OF_IMAGES[name](members, *self.inputs.plain(block)).cpu().numpy()
                for block in blocks(indices, self._batch())
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
            return part_features(self._members(), probs, parts, count)
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

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        """See `Learner.held_out`; from the weights of stage 0, and without held-out samples as unlabeled ones."""
        masks, boxes, seed = self.masks(labels), self._boxes(labels), derive_seed(seed, "fit", round)
        fold, samples = stratified_folds(np.zeros(len(masks), dtype=np.int64), folds, derive(seed, "folds")), []
        for k in range(fold.max() + 1):
            learner, held_out = copy.copy(self), masks.samples[fold == k]  # self keeps the networks of the last fit
            training = replace(masks, samples=masks.samples[fold != k], maps=masks.maps[fold != k])
            unlabeled = np.setdiff1d(self._open(labels), held_out)
            learner._learn(labels, training, unlabeled, boxes, derive_seed(seed, "fold", k), lambda *_: None)
            samples += [sample_pixels(batch, masks.batch(batch.indices)) for batch in learner.predict(held_out)]
        return np.concatenate([probs for probs, _ in samples]), np.concatenate([truth for _, truth in samples])

    def save(self, path: Path) -> None:
        """See `Learner.save`."""
        of_last_fit(self.networks, path).save(path)

    def load(self, path: Path) -> None:
        """See `Learner.load`."""
        self.networks = Networks.load(path, lambda: self._new_network(0), self.schedule)

    def _batches(
        self, masks: MaskStore, unlabeled: IntArray, seed: int, *, extent: bool, boxes: Boxes | None
    ) -> Iterator[MaskBatch]:
        generator, batch = seeded(derive_seed(seed, "views")), self.schedule.batch
        of_source = None if self.source is None else self.source[masks.samples]
        one_class, share = np.zeros(len(masks), dtype=np.int64), self.schedule.target_share
        rows = batches_of_domains(one_class, of_source, batch, share, derive(seed, "labeled"), balanced=False)
        unlabeled_rows = None
        if self.objective.uses_unlabeled and len(unlabeled):
            unlabeled_rows = unlabeled_batches(unlabeled, batch * self.schedule.ratio, derive(seed, "unlabeled"))
        samples = masks.samples
        if self.schedule.bootstrap:
            strata = one_class if of_source is None else of_source.astype(np.int64)
            samples = samples[bootstrap(strata, derive(seed, "bootstrap"))]
        for places in rows:
            ids = samples[places]
            labeled, views = self.inputs.labeled(ids, masks, generator, extent, boxes), None
            if self.source is not None:
                labeled = replace(labeled, source=torch.from_numpy(self.source[ids]).to(labeled.x.device))
            if unlabeled_rows is not None:
                views = self.inputs.unlabeled(next(unlabeled_rows), generator, self.objective.strong_views)
            yield ids, labeled, views

    @torch.no_grad()
    def _top_up(self, teacher: Segmenter | Committee, recorder: MapRecorder, rows: IntArray, seed: int) -> int:
        """Give rows their missing weak and strong passes, up to `MIN_VISITS` visits; returns the number of passes."""
        generator, passes = seeded(derive_seed(seed, "top-up")), 0
        for _ in range(MIN_VISITS):
            missing = self._missing(recorder, rows)
            for block in blocks(missing, self._batch()):
                views = self.inputs.unlabeled(block, generator)
                weak, strong = (teacher(images).softmax(dim=1) for images in (views.weak, views.strong))
                recorder.add(PixelEvidence(block, weak, strong, views.valid), views.parts)
            passes += 2 * len(missing)
        return passes

    def _outputs_for(
        self, name: str, indices: IntArray, samples: int, views: int
    ) -> Iterator[tuple[IntArray, Tensor, Tensor]]:
        """`_passes`, or what a score takes in their place: images, or outputs of side heads, or of both networks."""
        if name == FEATURES:
            return ((block, *self.inputs.plain(block)) for block in blocks(indices, self._batch()))
        if name == SIDES:
            return self._outputs(indices, self._members()[0].outputs)
        if name == STUDENT:
            networks = of_last_fit(self.networks, "predict")
            return self._outputs(indices, lambda images: [networks.teacher(images), networks.student(images)])
        return self._passes(indices, samples, views)

    @torch.no_grad()
    def _outputs(
        self, indices: IntArray, outputs: Callable[[Tensor], list[Tensor]]
    ) -> Iterator[tuple[IntArray, Tensor, Tensor]]:
        """As `_passes`, with several logits (B, C, H, W) of the same images as passes."""
        for block in blocks(indices, self._batch()):
            images, valid = self.inputs.plain(block)
            yield block, torch.stack(outputs(images), dim=1).softmax(dim=2), valid

    @torch.no_grad()
    def _passes(self, indices: IntArray, samples: int, views: int) -> Iterator[tuple[IntArray, Tensor, Tensor]]:
        """(positions, probabilities (B, S, C, H, W), masks (B, H, W) that are False in padding), in order.

        One sample is one pass in eval mode; more are passes with dropout on the decoder's features, computed once. A
        pass drops the same channels of every image. With a committee, each member is one pass.
        """
        if views != 1:
            raise InputError("predict", "one view of each image in segmentation", str(views))
        members, masks = self._members(), None
        for block in blocks(indices, self._batch()):
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

    def _members(self) -> list[Segmenter]:
        """The networks that predict, in eval mode: the teacher, or all members of a committee."""
        networks = of_last_fit(self.networks, "predict").members
        members = [list(network.members) if isinstance(network, Committee) else [network] for network in networks]
        return [cast(Segmenter, network) for committee in members for network in committee]

    def _batch(self) -> int:
        return max(1, BATCH_PIXELS // self.inputs.store.size**2)


def _merge(mask: BoolArray, scores: FloatArray, others: FloatArray) -> FloatArray:
    """Rows (K, ...): those of `scores` where `mask` is True, those of `others` elsewhere, both in their order."""
    if not len(others):
        return scores
    rows = np.empty((len(mask), *others.shape[1:]))
    rows[mask], rows[~mask] = scores, others
    return rows
