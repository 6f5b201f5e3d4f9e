"""Source of a folder of whole-slide images: their tiles, and labels beside them by slide or tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ...core.registry import Positive, Share, Whole
from ...core.types import IntArray
from ...errors import InputError, UnreadableImages
from ..base import Dataset, Pixels
from ..folders import ignored_files
from ..index import FileIndex
from ..paths import grouping
from ..samples import OnError, Sample, check_settings, check_splits, make_dataset, reason
from ..slides import SUFFIXES, VERSION, read_held
from ..splits import by_first_folder
from ..study_labels import ROLES, Answers, Labels, without_table
from ..tables import SUFFIXES as TABLES
from ..tiles import Cut, Grid, Tiled, framed, look, names_of, remarks, slide_paths, tile_keys
from ..words import Mark

NONE, SLIDE = "none", "slide"


@dataclass(frozen=True)
class Slides:
    """Tiles of whole-slide images (SVS, NDPI, SCN, BIF, pyramidal TIFF and OME-TIFF) below a folder.

    root     the folder; other files and hidden ones are ignored. Or one slide
    sample   "tile": each tile is a sample
    tile     side of a tile in its own pixels; `image_size` is what the network gets of it
    mpp      microns per pixel of the tiles: 0.5 is about 20x. A slide whose header has none is refused, and so is one
             that is coarser
    level    in the place of mpp: the level of the slides whose pixels the tiles have, whatever their resolution
    overlap  pixels of a tile that the next one shows again
    tissue   the least share of a tile that is tissue; 0 keeps all tiles
    group    "slide": the tiles of a slide stay together; or a regular expression that is searched in the path of a
             slide, for all slides of a patient, see `Folder`. `columns.group` of the table widens it too
    table    a file of labels beside the slides, with one row a slide or tile
    columns  of the table: {slide: name, label: dx, group: patient, split: split}; in the place of `slide` also `tile`
             (the id of one), or slide, x and y (the left and upper edge of a tile in pixels of level 0)
    labels   of the table, see `Csv`; or "folders": the first folder below root is the class, as in root/<class>/...
             Where all first folders are called train, val, test or the like, and no column is the split, they are the
             splits, and the folders below them the classes
    classes, unknown, separator, none, sheet   see `DicomFolder`
    ignore, holdout, seed, on_error   see `Folder`; skip leaves a slide out as a whole

    A sample's id is the path of its slide without suffix, `/x`, its left edge, `_y` and its upper edge, in pixels of
    level 0. Tiles lie side by side from the upper left corner; those that do not fit into the slide are left out.
    """

    root: Path
    sample: Literal["tile"] = "tile"
    tile: Annotated[int, Field(ge=8, le=4096)] = 256
    mpp: Positive | None = None
    level: Whole | None = None
    overlap: Whole = 0
    tissue: Share = 0.5
    group: str = SLIDE
    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Literal["folders"] | Sequence[str] = ()
    classes: int | Sequence[str] | None = None
    unknown: Sequence[Mark] = ()
    separator: str = ""
    none: str = ""
    sheet: str = ""
    ignore: Sequence[str] = ()
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Look at the slides and find their tissue; rows come slide by slide, row by row of tiles."""
        index = FileIndex() if index is None else index
        root, cut = self._checked()
        slides, problems = [], []
        paths = [root.name] if (alone := root.is_file()) else slide_paths(root, self.ignore)
        if not paths:
            raise InputError(f"data.root: {root}", f"slides ({', '.join(SUFFIXES)})", "none")
        for path, name in names_of(paths).items():
            try:
                slides.append(
                    look(root.parent if alone else root, path, name, cut, index, whole=self.on_error == "skip")
                )
            except (OSError, ValueError) as error:
                problems.append((path, reason(error)))
        if problems and (self.on_error == "stop" or not slides):
            raise UnreadableImages(problems, alone=not slides)
        if not any(slide.kept for slide in slides):
            came = f"none in {len(slides)} slides; data.tissue: 0 would keep all tiles"
            raise InputError("data.tissue", f"tiles of which {cut.tissue:.0%} is tissue", came)
        rows = np.asarray([(i, number) for i, slide in enumerate(slides) for number in slide.kept], dtype=np.int64)
        answers = self._answers(slides, rows)
        samples = self._samples(slides, rows, answers)
        check_splits(samples)
        libraries = sorted({slide.pyramid.library for slide in slides})
        tiles = _Tiles(root.parent if alone else root, tuple((slide.path, slide.grid) for slide in slides), rows)
        return make_dataset(
            samples,
            tiles,
            classes=answers.classes,
            channels=3,
            holdout=self.holdout,
            seed=self.seed,
            reader=f"slides {VERSION} {' '.join(libraries)}",
            skipped=problems,
            notes=[*ignored_files(root, (*SUFFIXES, *TABLES), self.ignore), *remarks(slides, cut), *answers.notes],
            locator=tiles.locate,
        )

    def _checked(self) -> tuple[Path, Cut]:
        """The folder and the cut; InputError for settings that do not fit together."""
        root = Path(self.root).resolve()
        if not (root.is_dir() or (root.is_file() and root.name.lower().endswith(SUFFIXES))):
            came = "another file" if root.exists() else "nothing there"
            raise InputError(f"data.root: {root}", "a folder, or one slide", came)
        check_settings(None, self.on_error)
        if (self.mpp is None) == (self.level is None):
            expected = "microns per pixel of the tiles (0.5 is about 20x), or data.level"
            raise InputError("data.mpp", expected, "neither" if self.mpp is None else "both")
        if self.overlap >= self.tile:
            raise InputError("data.overlap", f"less than data.tile: {self.tile}", str(self.overlap))
        if self.group in ("", NONE):
            came = f"{self.group or 'nothing'}, which would part the tiles of a slide"
            raise InputError("data.group", f"{SLIDE}, or a regular expression on the path", came)
        if self.group != SLIDE and "group" in self.columns:
            raise InputError("data.group", f"{SLIDE}, as data.columns.group says more", repr(self.group))
        return root, Cut(self.tile, self.mpp, self.level, self.overlap, self.tissue)

    def _answers(self, slides: Sequence[Tiled], rows: IntArray) -> Answers:
        paths = [slides[i].path for i in rows[:, 0].tolist()]
        splits, _ = by_first_folder(paths)
        if (answers := without_table(paths, self.labels, self.table, self.classes, self.unknown)) is not None:
            return answers.with_splits(splits)
        assert self.table is not None
        labels = Labels(
            Path(self.table),
            self.columns,
            self.labels,
            self.classes,
            self.unknown,
            self.separator,
            self.none,
            self.sheet,
            (*ROLES, "group"),
        )
        answers = labels.find(tile_keys(slides, rows))
        return answers if "split" in self.columns else answers.with_splits(splits)

    def _samples(self, slides: Sequence[Tiled], rows: IntArray, answers: Answers) -> list[Sample]:
        group_of = (lambda where, path: path) if self.group == SLIDE else grouping(self.group)
        groups = [group_of(f"data.group: {slide.path}", slide.path) for slide in slides]
        samples = []
        for k, (i, number) in enumerate(rows.tolist()):
            slide = slides[i]
            samples.append(
                Sample(
                    id=slide.id(number),
                    path=slide.path,
                    group=(answers.groups[k] if answers.groups else "") or groups[i],
                    digest=slide.digest(number),
                    **answers.rows[k],
                )
            )
        return samples


@dataclass(frozen=True)
class _Tiles:
    """Reads tiles; `rows` (N, 2) are the numbers of slide and tile."""

    root: Path
    slides: tuple[tuple[str, Grid], ...]
    rows: IntArray

    def __call__(self, index: int) -> Pixels:
        path, grid, number = self._of(index)
        pixels: Pixels = read_held(self.root / path, lambda slide: grid.pixels(slide, number))
        return pixels

    def locate(self, index: int) -> Pixels | None:
        """See `Dataset.locator`."""
        path, grid, number = self._of(index)
        pixels: Pixels | None = read_held(self.root / path, lambda slide: framed(slide, grid, number))
        return pixels

    def _of(self, index: int) -> tuple[str, Grid, int]:
        slide, number = self.rows[index].tolist()
        path, grid = self.slides[slide]
        return path, grid, number
