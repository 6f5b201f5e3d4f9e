"""Answers with masks by people: the images of a query go out as PNG files, masks of the same names come in."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import yaml

from .data.images import SUFFIXES, probe
from .data.masks import SaysNothing, check_size, read_mask, value_table
from .data.samples import reason
from .errors import AwaitingLabels, InputError
from .mask_oracle import answer_table, to_png
from .oracle import SKIP, Wording, WorklistOracle, worklist
from .rundir import RunDir, write_atomic
from .types import IGNORE, Annotation, IntArray, LabelMap, Target

IMAGES = "images"
SHOWN = 20


def _as_it_is(where: str, said: str, classes: tuple[str, ...]) -> Target:
    return said


WORDING = Wording("mask", _as_it_is, "a mask for each image")


@dataclass(frozen=True)
class MaskWorklist:
    """A person who draws masks, through folders.

    A round writes each image that it asks about into its folder `images`, as PNG in the image's own pixels. A mask is
    an image file of that name and size, whose values mean classes; one that says nothing of any pixel skips the sample.
    Masks come in by `take`, and lie in the round's folder `answers` with a CSV of who drew them and when.

    lists    the CSV files
    table    value in a mask file -> class, `IGNORE` for a pixel that the person does not know
    picture  position -> image (H, W, 1 or 3); None where answers are taken in alone
    """

    lists: WorklistOracle
    table: Mapping[int, int]
    picture: Callable[[int], npt.NDArray[np.uint8]] | None = None

    @property
    def run(self) -> RunDir:
        """The run that asks."""
        return self.lists.run

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; masks of samples of earlier rounds come along as corrections."""
        given = {a.index: a for a in self.lists.answers(round)}
        missing = [i for i in query.tolist() if i not in given]
        if not missing:
            return tuple(given.values())
        folder = self.run.round_path(round) / IMAGES
        for i in missing:
            if self.picture is not None and not (folder / named(i)).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                write_atomic(folder / named(i), _png(self.picture(i)))
        raise AwaitingLabels(
            f"round {round} waits for {len(missing)} of {len(query)} masks, the first of {named(missing[0])}: draw "
            f"one of the same name and size for each image in {folder} (values: {self._values()}) "
            f"and give the folder of masks to: hybrid-al labels {self.run.path} FOLDER"
        )

    def take(self, folder: Path, annotator: str) -> tuple[int, int]:
        """Take a folder of masks in, whole or not at all; (answers taken, answers still missing).

        Errors: no open query, no folder of masks; and, a line for each file, a name that no image has, a file that is
        no mask, one of another size than its image, values that mean no class.
        """
        round, known = self.lists.open_query("masks")
        position, ids = self.lists.manifest.position, self.lists.manifest.ids
        masks = self._read(folder, {named(position[i]).removesuffix(".png"): position[i] for i in known})
        said = {ids[i]: self._keep(round, i, mask) for i, mask in masks.items()}
        return len(said), self.lists.store(round, said, annotator)

    def _read(self, folder: Path, known: Mapping[str, int]) -> dict[int, LabelMap | None]:
        """The masks of a folder by sample, None for one that says nothing."""
        if not folder.is_dir():
            expected = "a folder of masks that have the names of the images"
            raise InputError(folder, expected, "a file" if folder.exists() else "nothing there")
        files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        if not files:
            raise InputError(folder, "at least one mask", "no image file")
        found: dict[int, LabelMap | None] = {}
        problems: list[str] = []
        for file in files:
            try:
                index = known.get(file.stem)
                if index is None:
                    raise ValueError("no image of the open query or of an earlier one has this name")
                if index in found:
                    raise ValueError("a second mask of the same image")
                found[index] = self._mask(file, index)
            except (OSError, ValueError) as error:
                problems.append(f"  {file}: {reason(error)}")
        if problems:
            more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
            expected = "masks of the images that were given out; nothing was taken"
            raise InputError(folder, expected, "\n".join([f"{len(problems)} that are none:", *problems[:SHOWN], *more]))
        return found

    def _mask(self, file: Path, index: int) -> LabelMap | None:
        """ValueError or OSError with the reason where a file is no mask of its image."""
        given = sorted(self.run.path.glob(f"rounds/*/{IMAGES}/{named(index)}"))
        if not given:
            raise ValueError(f"the image {named(index)} that was given out is gone: hybrid-al run writes it again")
        height, width, _ = probe(io.BytesIO(file.read_bytes()))
        shown = probe(io.BytesIO(given[-1].read_bytes()))
        check_size(named(index), (height, width), shown[:2])
        try:
            return read_mask(file, self.table)
        except SaysNothing:
            return None

    def _keep(self, round: int, index: int, mask: LabelMap | None) -> str:
        """Write a mask with the numbers of the classes; what the CSV says of it."""
        if mask is None:
            return SKIP
        file = self.run.round_path(round) / "answers" / named(index)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, to_png(mask))
        return file.relative_to(self.run.path).as_posix()

    def _values(self) -> str:
        names = dict(enumerate(self.lists.classes)) | {IGNORE: "not known, everywhere to skip"}
        return ", ".join(f"{value} {names[c]}" for value, c in sorted(self.table.items()))


def mask_worklist(
    run: RunDir, lists: WorklistOracle, picture: Callable[[int], npt.NDArray[np.uint8]] | None = None
) -> MaskWorklist:
    """The oracle of a run whose `recipe.yaml` may say what the values in mask files mean."""
    recipe = yaml.safe_load((run.path / "recipe.yaml").read_text(encoding="utf-8"))
    values = {int(value): str(name) for value, name in (recipe["data"].get("mask_values") or {}).items()}
    table = value_table(values, lists.classes) if values else answer_table(len(lists.classes))
    return MaskWorklist(replace(lists, wording=WORDING), {IGNORE: IGNORE, **table}, picture)


def inbox(run: RunDir) -> WorklistOracle | MaskWorklist:
    """What takes answers in for a run, from what the run directory says."""
    facts = run.facts()
    if facts["task"] != "segmentation":
        return worklist(run)
    return mask_worklist(run, WorklistOracle(run, run.manifest(), tuple(cast(list[str], facts["classes"]))))


def named(index: int) -> str:
    """The name of a sample's image, and of its mask."""
    return f"{index:06d}.png"


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
