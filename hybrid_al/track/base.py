"""What a tracker is, the names that numbers are logged under, and what of a recipe may leave the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Protocol

from ..core.learner import Log

Value = float | Sequence[float]

# The names are fixed, so that seeds, strategies and objectives can be put side by side; docs/tracking.md explains them.
NAMES: Mapping[str, str] = {
    "labels": "samples with a label; the horizontal axis of curve/*",
    "stage0/loss": "self-supervised loss",
    "stage0/images_per_second": "images of all processes a second, over an epoch",
    "stage0/data_share": "share of an epoch's time that went into waiting for images, in [0, 1]",
    "stage0/<split>/knn_auroc": "kNN probe of the encoder on val or test",
    "stage0/<split>/linear_auroc": "linear probe of the encoder on val or test",
    "stage0/set/<set>": "cross-validated linear probe of an embedding set, where labels choose",
    "stage0/alignment": "squared distance of two weak views of an image, unit embeddings, 0 to 4",
    "stage0/uniformity": "log of the mean nearness of pairs of images, 0 (one point) to about -4 (everywhere)",
    "stage0/effective_rank": "directions in use, 1 to the embedding's size",
    "stage0/spread": "0 where all images point the same way, 1 where they point everywhere alike",
    "stage0/neighbour_stability": "share of nearest neighbours that two weak views agree on, in [0, 1]",
    "train/loss": "whole objective",
    "train/loss_labeled": "its supervised term",
    "train/loss_unlabeled": "its unsupervised term, before its weight",
    "train/loss_fairness": "freematch: its fairness term, before its weight",
    "train/mask_rate": "share of unlabeled samples that took part, or their mean weight, in [0, 1]",
    "pseudo/accuracy": "share of pseudo-labels that are right, in [0, 1]; simulated runs only",
    "pseudo/accuracy/<class>": "the same within the samples whose pseudo-label is that class",
    "curve/<metric>": "test metric against `labels`, without its test/ prefix",
    "picks/share/<class>": "share of a round's picks with that class, in [0, 1]",
    "query/seconds": "seconds that the selection took",
    "query/mean_rank": "mean rank of the picks in the query's score, in (0, 1); 0.5 as if picked at random",
    "query/distance_to_labeled": "mean distance of the picks to the nearest label, by that of all candidates",
    "train/seconds": "seconds that the fit took",
    "train/steps_per_second": "speed of the fit",
    "train/images_per_second": "labeled and unlabeled samples, each once a step",
    "train/data_share": "share of the fit that it waited for batches, views included, in [0, 1]",
    "train/top_up_passes": "samples that were looked at once more for their consistency",
    "test/<metric>": "metric of the teacher's last weights on the test split",
    "val/<metric>": "the same on val",
    "stop/agreement": "Cohen's kappa of this round's model and the last one's on a sample of the pool, at most 1",
    "stop/expected_gain": "accuracy that the next batch is expected to add, in [0, 1]",
    "test/<metric>_calibrated": "nll, ece, classwise_ece or brier of calibrated probabilities; val too",
    "test/<metric>/<label>": "of one of several labels a sample; ece_calibrated/<label> and the like too",
}

_PATH_KEYS = {"root", "images", "weights"}
_ABSOLUTE = re.compile(r"^(/|~|\\\\|file:|[A-Za-z]:[\\/])")


class Tracker(Protocol):
    """Takes numbers (and, where allowed, small images) out of a run; a mirror, never read back by the loop."""

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Note values by name; `stage` is stage0, query, train or evaluate, `step` counts within stage and round."""
        ...

    def image(
        self, key: str, jpegs: Sequence[bytes], captions: Sequence[str], *, stage: str, round: int | None = None
    ) -> None:
        """Show JPEG files with one caption each; trackers that may not or cannot show images drop them."""
        ...

    def close(self) -> None:
        """Write out what is pending; nothing may be logged afterwards."""
        ...


class TrackerSettings(Protocol):
    """A tracker as a recipe names it (`track: {wandb: {...}}`): a frozen dataclass."""

    @property
    def log_images(self) -> bool:
        """Whether it may show images of the picks."""
        ...

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        """The tracker of a run, on every start: it goes on where an earlier process stopped.

        recipe: the resolved recipe as plain values; its paths are cut (`shareable`) before anything leaves the machine.
        digest: the recipe's; with name and seed it tells runs apart.
        """
        ...


class Trackers:
    """Several trackers behind one; `Trackers()` tracks nothing."""

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers = trackers

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Hand the values to every tracker, in order."""
        for tracker in self._trackers:
            tracker.log(values, stage=stage, round=round, step=step)

    def image(
        self, key: str, jpegs: Sequence[bytes], captions: Sequence[str], *, stage: str, round: int | None = None
    ) -> None:
        """Hand the images to every tracker, in order."""
        for tracker in self._trackers:
            tracker.image(key, jpegs, captions, stage=stage, round=round)

    def close(self) -> None:
        """Close every tracker, the last one first, also where one of them fails."""
        with ExitStack() as stack:
            for tracker in self._trackers:
                stack.callback(tracker.close)


def log_to(tracker: Tracker, *, stage: str, round: int | None = None) -> Log:
    """The tracker as the function that `Learner.fit` expects: (values, step) -> None."""

    def log(values: Mapping[str, float], step: int) -> None:
        tracker.log(values, stage=stage, round=round, step=step)

    return log


def shareable(recipe: Mapping[str, object]) -> dict[str, object]:
    """The recipe with every path cut to its last part: folder names tell of people, places and projects.

    Cut are the values of `root`, `images` and `weights`, and whatever looks like an absolute path.
    """
    return {key: _cut(value, is_path=key in _PATH_KEYS) for key, value in recipe.items()}


def _cut(value: object, *, is_path: bool = False) -> object:
    if isinstance(value, Mapping):
        return shareable(value)
    if isinstance(value, list | tuple):
        return [_cut(item, is_path=is_path) for item in value]
    if isinstance(value, str) and (is_path or _ABSOLUTE.match(value)):
        return PurePosixPath(value.replace("\\", "/")).name
    return value
