"""What `init` found out about some data: the sections of a recipe, and all that a person should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..words import in_order
from .names import modality_of
from .plan import Plan, Rows, budgets, make_plan
from .tree import SAMPLED, SIDE, SIDES, Tree, look, mask_values, side_of, spread
from .values import draft_window

MAX_CLASSES = 50
LISTED = 8
NETWORK = {"name": "unet", "decoder_channels": [64, 48, 32, 24, 16]}  # as in the shipped recipes: for a CPU
KEYS = (
    *("source", "root", "sample", "tile", "mpp", "level", "tissue", "images", "table", "columns", "labels"),
    *("separator", "none", "multilabel", "masks", "mask_ending", "mask_folder", "image_ending", "mask_names"),
    *("undrawn", "ignore", "classes", "unknown"),
)
PLACEHOLDERS = ["negative", "positive"]


@dataclass
class Description:
    """The draft of a recipe, and what is said of it.

    data      its section `data`, plain values fit for YAML
    task      classification, multilabel or segmentation
    labeled   whether the data holds labels for the pool
    modality  "" where no name tells it; `word` is the one that does
    side      median longer side of the images in pixels, 0 where it is not known
    channels  1 for grey, 3 for colours, 0 where it is not known
    counts    samples in each split
    budgets   of the rounds
    saw, took, left, open   what lies there; (what, what it was taken for); what was not taken, and why; what to decide
    comments  dotted key -> lines of the recipe below it
    unread    what of `left` are images
    refusal   why no recipe can be drafted, where only the answers or splits of the data stand against it
    """

    data: dict[str, Any] = field(default_factory=dict)
    task: str = "classification"
    labeled: bool = False
    modality: str = ""
    word: str = ""
    side: float = 0.0
    channels: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    budgets: list[int] = field(default_factory=list)
    saw: list[str] = field(default_factory=list)
    took: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    comments: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    refusal: InputError | None = None

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Keep the first error of a block that looks at answers or splits, as the refusal."""
        try:
            yield
        except InputError as error:
            self.refusal = self.refusal or error

    def leave(self, images: str) -> None:
        """Say that images are left out."""
        self.left.append(images)
        self.unread.append(images)

    def note(self, key: str, *lines: str) -> None:
        """Lines of the recipe below a key."""
        self.comments.setdefault(key, []).extend(lines)

    def sections(self) -> dict[str, Any]:
        """The sections of the recipe that depend on the data."""
        order = {key: i for i, key in enumerate(KEYS)}
        data = dict(sorted(self.data.items(), key=lambda item: order.get(item[0], len(order))))
        sections: dict[str, Any] = {}
        if self.task == "segmentation":
            sections["task"] = {"name": self.task, "network": NETWORK}
        elif self.task != "classification":
            sections["task"] = self.task
        learner = "finetune" if self.task == "segmentation" else "frozen"
        return {**sections, "data": data, "learner": learner, "loop": {"budgets": self.budgets}}

    def lines(self) -> list[str]:
        """What a person should know, a line each."""
        modality = (
            f"{self.modality}, by the word {self.word}"
            if self.modality
            else "no name tells it: generic has the mildest views; choose in the recipe"
        )
        took = [*self.took, ("modality", modality), ("budgets", ", ".join(map(str, self.budgets)))]
        width = max(len(what) for what, _ in took)
        blocks = {
            "Saw": self.saw,
            "Took": [f"{what:{width}}  {text}" for what, text in took],
            "Left": self.left,
            "Decide": self.open,
        }
        return [f"{name if i == 0 else '':7} {line}" for name, ls in blocks.items() for i, line in enumerate(ls)]

    def pass_over(self, tree: Tree) -> None:
        """Say what lies in the folder that nothing reads."""
        if bare := [file for file in tree.dicom if file not in tree.readable]:
            self.leave(f"{len(bare)} DICOM files without a suffix ({bare[0]}): a recipe of their own has source: dicom")
        if tree.others:
            self.left.append(f"files of other kinds: {tree.others}")
        if tree.left:
            self.left.append(f"hidden: {listing(tree.left)}")
        if tree.links:
            self.leave(f"linked folders, which could lead out of the data: {listing(tree.links)}")

    def finish(
        self, rows: Rows, names: Iterable[str], planes: str = "slices", headers: tuple[str, str] = ("", "")
    ) -> Description:
        """Shares to hold out, budgets, modality and size, from the samples and from names of files and columns.

        planes   what the samples are called where a row is several
        headers  the modality that headers say, and the word that does, which counts more than names
        """
        outlook = Plan({}, {}, 0)
        with self.answering():
            outlook = make_plan(rows)
        if outlook.holdout:
            self.data["holdout"] = dict(outlook.holdout)
        unit = "" if rows.planes == 1 else f" {planes} (estimated)"
        drawn = f"{unit}; {' and '.join(outlook.holdout)} drawn by group" if outlook.holdout else unit
        self.took.append(("splits", ", ".join(f"{split} {count}" for split, count in outlook.counts.items()) + drawn))
        if outlook.why:
            self.open.append(outlook.why)
        with_answers = {split for split, answered in zip(rows.splits, rows.answered, strict=True) if answered}
        if silent := [split for split in ("val", "test") if split in rows.splits and split not in with_answers]:
            self.open.append(
                f"no image of {' and '.join(silent)} has a label, and nobody is asked about one: no measure"
            )
        self.labeled = any(
            answered and split in (None, "pool") for answered, split in zip(rows.answered, rows.splits, strict=True)
        )
        self.budgets, self.counts = budgets(outlook.pool, self.task), outlook.counts
        self.modality, self.word = headers if headers[0] else modality_of(names)
        self._set_size()
        if self.channels in (1, 3):
            grey = self.channels == 1
            self.note(
                "data.image_size", f"channels: {self.channels}, as the files have them: {'grey' if grey else 'colours'}"
            )
        if not self.labeled and "classes" not in self.data and self.task == "classification":
            self.data["classes"] = PLACEHOLDERS
            self.note("data.classes", "placeholders: name the classes that an annotator may give")
            self.open.append("data.classes: placeholders stand there; name what an annotator may answer")
        return self

    def sized(self, paths: Sequence[Path]) -> float:
        """Take the side of the images, and set a window where they need one; returns the samples a file."""
        self.side, self.channels, planes, problems, spans = look(paths)
        self.data["image_size"] = side_of(self.side)
        if problems:
            self.left.append(f"cannot be read, {len(problems)} of the {min(len(paths), SAMPLED)} tried: {problems[0]}")
            self.note("data.image_size", "on_error: skip   # would leave out files that cannot be read")
        draft_window(spans, len(paths), self)
        return planes

    def _set_size(self) -> None:
        """The side of the images by the modality: the median longer side, a multiple of 4, or what fits a first try."""
        most, too_small = SIDES.get(self.modality, (SIDE, "large images show more"))
        if self.side:
            self.data["image_size"] = side_of(self.side, most)
        if self.side > most:
            guess = f"a first guess for {self.modality or 'images of any kind'}"
            self.note("data.image_size", f"{most} is {guess}: the images have {self.side:g} px; {too_small}")

    def masked(self, masks: Sequence[Path], names: Mapping[int, str] | None = None) -> None:
        """The classes of pixels, by the values in the masks and by names that the data has for them."""
        values = mask_values(spread(masks))
        named = dict(names or {})
        if len(values) < 2 and not named:
            raise InputError(masks[0].parent, "masks of at least two values, the background among them", str(values))
        if set(values) <= named.keys():
            values = sorted(named)
        default = "foreground" if len(values) == 2 else ""
        classes = [
            named.get(value, "background" if i == 0 else default or f"class_{value}") for i, value in enumerate(values)
        ]
        self.task, self.data["classes"] = "segmentation", [name for name in classes if name != "ignore"]
        if values != list(range(len(values))) or "ignore" in classes:
            self.data["mask_values"] = dict(zip(values, classes, strict=True))
        if strange := [value for value in values if named and value not in named]:
            unseen = "; ".join(f"{value} {name}" for value, name in named.items() if value not in values)
            text = f"masks have {', '.join(map(str, strange))}, for which dataset.json has no name"
            self.open.append(text + (f", and do not have its {unseen}" if unseen else "") + ": data.classes")
        if not named:
            self.note("data.classes", "names of the values in the masks, chosen by init: call them what they are")
        self.took.append(("masks", f"{len(masks)}, values {', '.join(map(str, values))} = {', '.join(classes)}"))


def listing(names: Iterable[str], most: int = LISTED) -> str:
    """The first of some names, and how many more there are."""
    items = list(names)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def counted(labels: Iterable[str]) -> str:
    """Names with their counts, by name."""
    counts = Counter(labels)
    return listing((f"{name} {counts[name]}" for name in in_order(counts)), 6)
