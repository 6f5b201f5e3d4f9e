"""Slides cut into tiles: where they lie, which of them are tissue, and their pixels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ..core.types import IntArray
from .folders import files_below
from .index import FileIndex
from .samples import content_digest
from .slide_tissue import TISSUE, shares, tissue_map
from .slides import NEAR, SUFFIXES, VERSION, Pyramid, Slide, content_of, opened, stamp_beside

GRID = "1"
"""Raise it when tiles lie elsewhere than before: findings about files are kept under it."""

MAX_TILES = 1_000_000  # of a slide
MAX_REGION = 2**26  # pixels that are read for a tile
FINER = 1.1  # how much finer tiles may be than the finest level
LARGE = 10**8  # pixels without levels, which take long to look through
TILE = re.compile(r"^(.+)/x(\d+)_y(\d+)$")
"""What the id of a tile is like."""
NAMED = 3  # slides that a remark names
SMALL, MOST_SMALL = 160, 2**22  # pixels of a side of a picture of a slide, and of the level that it is made of


@dataclass(frozen=True)
class Cut:
    """How slides are cut into tiles.

    tile     side of a tile in its own pixels
    mpp      microns per pixel of a tile; None: `level` says it
    level    of the slides whose pixels are those of tiles
    overlap  pixels of a tile that the next one shows again
    tissue   least share of a tile that is tissue; 0 keeps all tiles
    """

    tile: int
    mpp: float | None
    level: int | None
    overlap: int
    tissue: float

    def grid(self, slide: Pyramid) -> Grid:
        """Where the tiles of a slide lie; ValueError where it has no such level, no resolution, or no room for one."""
        width, height = slide.levels[0]
        level, across, down = self._level(slide)
        side = self.tile * across, self.tile * down
        if side[0] > width + 1 or side[1] > height + 1:
            came = f"{math.ceil(side[0])} x {math.ceil(side[1])} of its pixels"
            raise ValueError(f"a tile of {self.tile} pixels is {came}, larger than the slide of {width} x {height}")
        steps = [(self.tile - self.overlap) * scale for scale in (across, down)]
        columns, rows = (
            1 + max(0, math.floor((full - s) / step + 1e-3))
            for full, s, step in zip((width, height), side, steps, strict=True)
        )
        if columns * rows > MAX_TILES:
            came = f"{columns * rows:,} tiles, more than the limit of {MAX_TILES:,}"
            raise ValueError(f"{came}: a larger data.tile or data.mpp makes fewer")
        finer = slide.scale(level)
        read = max(1, round(side[0] / finer[0])), max(1, round(side[1] / finer[1]))
        if read[0] * read[1] > MAX_REGION:
            came = f"{read[0]} x {read[1]} pixels of level {level}, the nearest that it has"
            raise ValueError(f"a tile is {came}, too large to be read: a smaller data.tile or data.mpp")
        return Grid(self.tile, level, read, side, (steps[0], steps[1]), columns, rows)

    def _level(self, slide: Pyramid) -> tuple[int, float, float]:
        """The level to read, and pixels of level 0 in one of a tile, across and down."""
        if self.level is not None:
            if self.level >= len(slide.levels):
                raise ValueError(f"expected a level from 0 to {len(slide.levels) - 1}, got data.level: {self.level}")
            return self.level, *slide.scale(self.level)
        assert self.mpp is not None
        if not slide.mpp:
            raise ValueError(
                "no microns per pixel in its header: data.level: 0, in place of data.mpp, takes its pixels as they are"
            )
        across, down = (self.mpp / own for own in slide.mpp)
        if min(across, down) < 1 / FINER:
            raise ValueError(f"{max(slide.mpp):.3g} microns per pixel at its finest, coarser than data.mpp: {self.mpp}")
        fine = [k for k in range(len(slide.levels)) if max(slide.scale(k)) <= NEAR * min(across, down)]
        return max(fine, default=0), across, down

    def kept(self, slide: Slide) -> list[int]:
        """The numbers of the tiles that are tissue; ValueError as `grid`, and where its pixels are damaged."""
        grid = self.grid(slide.pyramid)
        if not self.tissue:
            return list(range(grid.count))
        kept = np.flatnonzero(shares(tissue_map(slide, min(grid.side)), slide.pyramid, grid) >= self.tissue)
        return [int(number) for number in kept]


@dataclass(frozen=True)
class Grid:
    """Places of tiles, row after row.

    level    that is read, and `read`, width and height in it that become a tile
    side, step   of a tile, and from one to the next, in pixels of level 0, across and down
    """

    tile: int
    level: int
    read: tuple[int, int]
    side: tuple[float, float]
    step: tuple[float, float]
    columns: int
    rows: int

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.columns * self.rows

    def place(self, number: int) -> tuple[int, int]:
        """Left and upper edge of a tile in pixels of level 0."""
        row, column = divmod(number, self.columns)
        return round(column * self.step[0]), round(row * self.step[1])

    def pixels(self, slide: Slide, number: int) -> npt.NDArray[np.uint8]:
        """The pixels (tile, tile, 3) of a tile; shrinking averages."""
        region = slide.region(*self.place(number), self.level, *self.read)
        if region.shape[:2] == (self.tile, self.tile):
            return region
        return np.asarray(Image.fromarray(region).resize((self.tile, self.tile), Image.Resampling.BILINEAR))


def framed(slide: Slide, grid: Grid, number: int) -> npt.NDArray[np.uint8] | None:
    """A small picture (H, W, 3) of a slide with a frame around a tile; None where its smallest level is large."""
    level = len(slide.pyramid.levels) - 1
    width, height = slide.pyramid.levels[level]
    if width * height > MOST_SMALL:
        return None
    small = Image.fromarray(slide.region(0, 0, level, width, height))
    small.thumbnail((SMALL, SMALL))
    across, down = (own / full for own, full in zip(small.size, slide.pyramid.levels[0], strict=True))
    x, y = grid.place(number)
    box = (x * across - 1, y * down - 1, (x + grid.side[0]) * across, (y + grid.side[1]) * down)
    ImageDraw.Draw(small).rectangle(box, outline=(0, 120, 0), width=2)
    return np.asarray(small)


@dataclass(frozen=True)
class Tiled:
    """A slide with its tiles.

    path     below the root; `name` is what the ids of its tiles begin with
    content  digest of the file
    kept     numbers of the tiles that are tissue
    """

    path: str
    name: str
    pyramid: Pyramid
    content: str
    grid: Grid
    kept: tuple[int, ...]

    def id(self, number: int) -> str:
        """The id of a tile: `slide_01/x1024_y2048`."""
        return f"{self.name}/{corner(self.grid, number)}"

    def digest(self, number: int) -> str:
        """Digest of what a tile shows: of the slide, and of where and how it is cut from it."""
        grid = self.grid
        return content_digest(f"{self.content} {grid.tile} {grid.level} {grid.read} {grid.place(number)}".encode())


def corners_of(ids: Sequence[str]) -> list[tuple[str, int, int]] | None:
    """Name of the slide, left and upper edge in pixels of level 0 of each tile; None where an id is of no tile."""
    found = [TILE.match(name) for name in ids]
    return None if None in found else [(m[1], int(m[2]), int(m[3])) for m in found if m]


def slide_paths(root: Path, ignore: Sequence[str] = ()) -> list[str]:
    """The slides below a folder, sorted, as paths relative to it."""
    return sorted(file.relative_to(root).as_posix() for file in files_below(root, root, SUFFIXES, ignore))


def names_of(paths: Sequence[str]) -> dict[str, str]:
    """Path of each slide -> itself without suffix, or with it where two slides differ in nothing else."""
    stems = {path: str(PurePosixPath(path).with_suffix("")) for path in paths}
    counts = Counter(stems.values())
    return {path: stem if counts[stem] == 1 else path for path, stem in stems.items()}


def look(root: Path, path: str, name: str, cut: Cut, index: FileIndex, *, whole: bool = False) -> Tiled:
    """A slide with its tiles, from the index where it has not changed; with `whole` all tiles are decoded, as a check.

    OSError or ValueError with the reason where it cannot be read or cut so.
    """
    file = root / path

    def header() -> list[Any]:
        with opened(file) as slide:
            pyramid = slide.pyramid
        return [[list(level) for level in pyramid.levels], list(pyramid.mpp), pyramid.library, content_of(file)]

    def tissue() -> list[int]:
        with opened(file) as slide:
            kept = cut.kept(slide)
            for number in kept if whole else ():
                grid.pixels(slide, number)
        return kept

    beside = stamp_beside(file)
    levels, mpp, library, content = index.look(file, f"slide {VERSION} {beside}", header)
    pyramid = Pyramid(tuple((w, h) for w, h in levels), tuple(mpp), library)
    grid = cut.grid(pyramid)
    kept = index.look(file, f"tiles {GRID} {TISSUE} {cut} {whole} {beside}", tissue)
    return Tiled(path, name, pyramid, content, grid, tuple(kept))


def tile_keys(slides: Sequence[Tiled], rows: IntArray) -> dict[str, list[str]]:
    """What names tiles in a table, see `study_labels`; rows (N, 2) are the numbers of slide and tile."""
    tiles = [(slides[i], number) for i, number in rows.tolist()]
    return {
        "tile": [slide.id(number) for slide, number in tiles],
        "slide": [slide.path for slide, _ in tiles],
        "place": [f"{slide.path}/{corner(slide.grid, number)}" for slide, number in tiles],
    }


def remarks(slides: Sequence[Tiled], cut: Cut) -> list[str]:
    """What a person should know of the slides and their tiles, a line each."""
    count, kept = sum(slide.grid.count for slide in slides), sum(len(slide.kept) for slide in slides)
    what = f"{cut.mpp} microns per pixel" if cut.mpp is not None else f"level {cut.level}"
    lines = [
        f"{len(slides)} slides, {count} tiles of {cut.tile} px at {what}, of which {kept} are tissue (data.tissue)"
    ]
    if empty := [slide.path for slide in slides if not slide.kept]:
        lines.append(f"{len(empty)} slides without a tile of tissue ({_some(empty)}): left out")
    if cut.level is not None:
        known = [max(s.pyramid.mpp) * max(s.pyramid.scale(cut.level)) for s in slides if s.pyramid.mpp]
        if known and max(known) > FINER * min(known):
            text = f"the pixels of level {cut.level} have {min(known):.3g} to {max(known):.3g} microns"
            lines.append(f"{text}: data.mpp would bring all tiles to one")
    flat = [s.path for s in slides if len(s.pyramid.levels) == 1 and math.prod(s.pyramid.levels[0]) > LARGE]
    if flat and cut.tissue:
        lines.append(f"{len(flat)} slides have no levels ({_some(flat)}): all their pixels are read to find tissue")
    return lines


def corner(grid: Grid, number: int) -> str:
    """What an id says of where a tile lies: `x1024_y2048`."""
    x, y = grid.place(number)
    return f"x{x}_y{y}"


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:NAMED]) + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
