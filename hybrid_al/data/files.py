"""Datasets of samples in files: readers look at the files and decode them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..core.types import LabelMap
from ..errors import HybridALError, InputError, UnreadableImages
from .base import Dataset, Masks, Pixels
from .drawn.masks import Outlines, is_drawn, located
from .index import FileIndex
from .masks import check_lies_on, classes_of, in_words, merged, to_classes, value_table
from .pixels import RAW, Window
from .readers import Choice, identity
from .readers.base import Header, Reader
from .samples import BLANK, OnError, Sample, content_digest, make_dataset, middle, reason
from .scaling import evenly
from .workers import each, jobs_of

HEADERS = "3"
"""Raise it when headers say more or other things than before: findings about files are kept under it."""

UNPLACED = (
    "orientation and spacing are unknown (sform_code and qform_code are 0), so the axes are taken as to left, anterior "
    "and superior, in steps of pixdim"
)
DRAWN = "drawn"
"""In the place of a reader."""
SET_PLANES = 8  # of a file, by which a set is measured
AS_READ = {
    "volumes": "the 0.5th to the 99.5th percentile of the volume",
    "dicom": "the window of the header, or where it has none percentiles; 8 bits as they are",
}
"""Reader -> what becomes 0 and 1 where nothing else says so."""


def files_dataset(
    root: Path,
    samples: Sequence[Sample],
    readers: Choice,
    *,
    classes: Sequence[str],
    holdout: Mapping[str, float],
    seed: int,
    on_error: OnError,
    values: Mapping[int, str] | None = None,
    index: FileIndex | None = None,
    notes: Sequence[str] = (),
    slices: int | None = None,
    outlines: Outlines | None = None,
    how: str = "",
) -> Dataset:
    """The dataset of files; a sample's path is relative to `root`.

    A file of slices or rows gives a sample for each, or for as many `slices` in the middle of it; its id is that of the
    file, `#` and the number; where volumes are read along several axes, `#` and the axis stand between them.
    With `values` (see `masks.value_table`) it is a dataset of masks: `classes` are those of the pixels. Masks that are
    drawings (`drawn.masks`) are read by `outlines`. `how` says in words how the windows of samples were found.
    Every file is read once and hashed; a file in `index` is read again only when it changes.

    on_error=stop raises UnreadableImages with all files that are missing or that no reader can read. Only the headers
    of images are read here; errors in their pixels are raised, all at once, when the image store is built.
    on_error=skip decodes every image here, and leaves out those that fail (`Dataset.skipped`), a volume as a whole.
    """
    table = None if values is None else value_table(values, classes)
    skip = on_error == "skip"
    drawn = replace(outlines or Outlines(), classes=tuple(classes))
    samples, remarks = located(root, samples, readers, skip=skip) if table is not None else (samples, [])
    if readers.scaling is not None and readers.scaling.of == "set":
        readers = _of_set(root, samples, readers)
    look = _Look(root, readers, table, FileIndex() if index is None else index, skip, slices, drawn)
    look.ahead(samples)
    rows: list[_Row] = []
    failures: dict[tuple[str, str], None] = {}  # a file of several samples is named once
    for sample in samples:
        try:
            rows += look.rows(sample)
        except _Unreadable as error:
            failures[error.path, error.why] = None
    problems = list(failures)
    if problems and (on_error == "stop" or not rows):
        raise UnreadableImages(problems, alone=not rows)
    if look.bare:
        remarks = [*remarks, f"{len(look.bare)} images are all background, as nothing is drawn in them (data.undrawn)"]
    if unplaced := list(dict.fromkeys(row.sample.path for row in rows if not row.image.header.placed)):
        remarks = [*remarks, f"{len(unplaced)} volumes do not say how they lie ({unplaced[0]}): {UNPLACED}"]
    files = _Files(root, readers, tuple(rows), tuple((table or {}).items()), drawn, how or str(readers.scaling or ""))
    names = sorted({row.image.reader for row in rows})
    spans = {row.image.header.span for row in rows if row.image.header.span and readers.scaling is None}
    return make_dataset(
        [row.sample for row in rows],
        files.read,
        classes=classes,
        channels=max((row.image.header.channels for row in rows), default=1),
        holdout=holdout,
        seed=seed,
        reader="; ".join(f"{name} {identity(readers.members[name])}" for name in names),
        skipped=problems,
        masks=None if table is None else files.masks(in_words(table, classes)),
        stack=max((row.image.header.stack for row in rows), default=1),
        span=spans.pop() if len(spans) == 1 else (),
        notes=[*notes, *remarks],
        scaled=files.scaled,
    )


def raw_values(readers: Choice, file: Path, planes: Iterable[int]) -> npt.NDArray[Any]:
    """The numbers (n,) of planes of a file, before any window."""
    reader = readers.with_window(RAW).of(file)
    return np.concatenate([np.ravel(reader.decode(file, plane)) for plane in planes])


def _of_set(root: Path, samples: Sequence[Sample], readers: Choice) -> Choice:
    """Readers with the window of the samples that are not held out; unchanged where none of them can be read."""
    scaling = readers.scaling
    assert scaling is not None
    images, along = [], readers.along(readers.axes[0])
    for sample in evenly([sample for sample in samples if sample.split in (None, "pool")]):
        file = root / sample.path
        try:
            planes = range(along.of(file).probe(file).planes or 1) if sample.z < 0 else [sample.z]
            images.append(raw_values(along, file, evenly(planes, SET_PLANES)))
        except HybridALError:
            raise
        except Exception:  # noqa: BLE001 (libraries raise whatever they like; such files are refused one by one)
            continue
    return readers.with_window(scaling.window_of_set(images)) if images else readers


class _Unreadable(Exception):
    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(path)
        self.path, self.why = path, reason(error)


@dataclass(frozen=True)
class _File:
    """A file as an index keeps it: the name of its reader, its header, and a digest of each plane, or of the file."""

    reader: str
    header: Header
    digests: tuple[str, ...]

    def plain(self) -> list[Any]:
        return [self.reader, dataclasses.asdict(self.header), list(self.digests)]

    @classmethod
    def of(cls, plain: list[Any]) -> _File:
        reader, header, digests = plain
        lists = {key: tuple(header[key]) for key in ("spacing", "affine", "span")}
        return cls(reader, Header(**{**header, **lists}), tuple(digests))


@dataclass(frozen=True)
class _Row:
    """A sample, the file of its image, and those of its masks, where it has some."""

    sample: Sample
    image: _File
    masks: tuple[_File, ...]

    @property
    def plane(self) -> int:
        return max(self.sample.z, 0)

    @property
    def mask_plane(self) -> int:
        return self.plane if self.sample.mask_z is None else self.sample.mask_z


@dataclass(frozen=True)
class _Files:
    """Reads images and masks of samples."""

    root: Path
    readers: Choice
    rows: tuple[_Row, ...]
    table: tuple[tuple[int, int], ...]
    outlines: Outlines
    how: str

    def read(self, index: int) -> Pixels:
        row = self.rows[index]
        reader = self.readers.along(row.sample.axis).members[row.image.reader]
        if row.sample.window is not None:
            reader = replace(cast(Any, reader), window=row.sample.window)
        parts = row.sample.around or ((row.sample.path, row.plane),)
        slices: list[Any] = [reader.decode(self.root / path, plane) for path, plane in parts]
        pixels: Pixels = slices[0] if len(slices) == 1 else np.concatenate(slices, axis=2)
        return pixels

    def scaled(self, index: int) -> str:
        """Which values of an image became 0 and 1, in words."""
        row = self.rows[index]
        window, how = row.sample.window, self.how
        if window is None:
            window = getattr(self.readers.members[row.image.reader], "window", None)
            how = "data.window"
        if window is not None:
            return f"{window[0]:g} to {window[1]:g} ({how})"
        if row.image.header.span:
            return f"{row.image.header.span[0]:g} to {row.image.header.span[1]:g} (all that its type holds)"
        return AS_READ.get(row.image.reader, "8 bits as they are")

    def mask(self, index: int) -> LabelMap:
        row = self.rows[index]
        if not row.masks:
            raise ValueError(f"{row.sample.path} has no mask")
        if row.mask_plane == BLANK:
            return np.zeros((row.image.header.height, row.image.header.width), dtype=np.uint8)
        maps = []
        for path, mask, key in zip((row.sample.mask, *row.sample.more_masks), row.masks, row.sample.keys, strict=True):
            if is_drawn(path):
                maps.append(self.outlines.draw(self.root / path, key, row.image.header.height, row.image.header.width))
                continue
            reader = self.readers.along(row.sample.axis).for_masks.members[mask.reader]
            values = reader.values(self.root / path, row.mask_plane)
            maps.append((to_classes if mask.header.planes is None else classes_of)(values, dict(self.table)))
        return merged(maps)

    def masks(self, values: str) -> Masks:
        headers = [row.image.header for row in self.rows]
        return Masks(
            labeled=np.asarray([bool(row.masks) for row in self.rows]),
            read=self.mask,
            keys=tuple(map(self._key, self.rows)),
            sizes=np.asarray([(header.height, header.width) for header in headers], dtype=np.int64).reshape(-1, 2),
            spacing=np.asarray([header.spacing for header in headers], dtype=np.float64).reshape(-1, 3),
            values=values,
        )

    def _key(self, row: _Row) -> str:
        """Digest of a mask: its content, the classes of its values, and the reader."""
        keys = []
        for mask in row.masks:
            if mask.reader == DRAWN:
                keys.append(f"{mask.digests[0]} {mask.header.height} {mask.header.width} {self.outlines}")
                continue
            reader = f"{mask.reader} {self.readers.for_masks.members[mask.reader].VERSION}"
            content = "blank" if row.mask_plane == BLANK else mask.digests[row.mask_plane]
            keys.append(f"{content} {sorted(self.table)} {reader}")
        return content_digest("\x1f".join(keys).encode()) if keys else ""


@dataclass(frozen=True)
class _Look:
    """Looks at files: with `whole` at all their pixels, else only at the headers of images; see `files_dataset`."""

    root: Path
    readers: Choice
    table: Mapping[int, int] | None
    index: FileIndex
    whole: bool
    slices: int | None
    outlines: Outlines
    files: dict[str, _File] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)
    windows: dict[tuple[str, int], Window] = field(default_factory=dict)

    def ahead(self, samples: Sequence[Sample]) -> None:
        """Look at the files by the threads of the index, so that `rows` finds them here; errors are left to it."""

        def look(i: int) -> None:
            with suppress(Exception):
                self.rows(samples[i])

        if self.index.workers > 1:
            each(jobs_of(sample.path for sample in samples), look, self.index.workers)

    def rows(self, sample: Sample) -> list[_Row]:
        """A row of a sample's file, or of each of its slices, axis after axis."""
        return [row for axis in self.readers.axes for row in self._rows(replace(sample, axis=axis) if axis else sample)]

    def _rows(self, sample: Sample) -> list[_Row]:
        if sample.axis and sample.z >= 0:
            raise InputError("data.columns.slice", "slices of one axis, as a number says no direction", "axis: all")
        image = self._image(sample.path, sample.axis)
        sample, masks = self._masks(sample, image) if self.table is not None else (sample, ())
        planes = image.header.planes
        if sample.around or sample.window is not None:
            image = self._among(image, sample)
        if sample.z >= (planes or 0):
            came = "it has none" if planes is None else f"it has {planes}"
            raise _Unreadable(sample.path, ValueError(f"expected slice {sample.z}, but {came}"))
        if planes is None:
            return [self._scaled(_Row(replace(sample, digest=image.digests[0]), image, masks))]
        name = f"{sample.id}#{sample.axis}" if sample.axis else sample.id
        return [
            self._scaled(_Row(replace(sample, id=f"{name}#{z}", z=z, digest=image.digests[z]), image, masks))
            for z in (middle(planes, self.slices) if sample.z < 0 else [sample.z])
        ]

    def _scaled(self, row: _Row) -> _Row:
        """A row with the window that its values give, where the readers have a scaling."""
        scaling, path = self.readers.scaling, row.sample.path
        if scaling is None:
            return row
        whole = scaling.of == "volume"
        axis = self.readers.axes[0] if whole else row.sample.axis
        readers, key = self.readers.along(axis), (f"{path}#{axis}", -1 if whole else row.plane)
        if key not in self.windows:
            planes = range(self._image(path, axis).header.planes or 1) if whole else [row.plane]
            how = f"{HEADERS} window {scaling} {key[1]} {readers}"

            def find() -> list[float]:
                return list(scaling.window(raw_values(readers, self.root / path, planes)))

            try:
                low, high = self.index.look(self.root / path, how, find)
            except HybridALError:
                raise
            except Exception as error:
                raise _Unreadable(path, error) from error
            self.windows[key] = (low, high)
        window = self.windows[key]
        return replace(
            row,
            sample=replace(row.sample, window=window, digest=content_digest(f"{row.sample.digest} {window}".encode())),
        )

    def _among(self, image: _File, sample: Sample) -> _File:
        """A file whose pixels depend on others too: on the slices of its stack, and on the window of its series."""
        parts = [(self._image(path), plane) for path, plane in sample.around]
        others = [part.digests[plane if part.header.planes else 0] for part, plane in parts]
        header = image.header
        if parts:
            if any(part.header.channels != 1 for part, _ in parts):
                raise _Unreadable(sample.path, ValueError("a stack of colours, which data.stack: 1 would read"))
            header = replace(header, channels=len(parts), stack=len(parts))
        digests = [content_digest(f"{own} {others} {sample.window}".encode()) for own in image.digests]
        return replace(image, header=header, digests=tuple(digests))

    def _image(self, path: str, axis: str = "") -> _File:
        readers = self.readers if self.readers.scaling is None else self.readers.with_window(RAW)
        return self._file(path, axis, readers.along(axis), "image", partial(_contents, whole=self.whole, axis=axis))

    def _masks(self, sample: Sample, image: _File) -> tuple[Sample, tuple[_File, ...]]:
        """A sample with those of its masks that count, and their files."""
        paths = [path for path in (sample.mask, *sample.more_masks) if path]
        looks = [
            (path, key, self._drawing(path, key, sample, image) if is_drawn(path) else self._mask(path, sample, image))
            for path, key in zip(paths, sample.keys, strict=True)
        ]
        masks = [(path, key, mask) for path, key, mask in looks if mask is not None]
        names = [path for path, _, _ in masks] or [""]
        counted = replace(
            sample, mask=names[0], more_masks=tuple(names[1:]), mask_keys=tuple(key for _, key, _ in masks)
        )
        return counted, tuple(mask for _, _, mask in masks)

    def _drawing(self, path: str, key: str, sample: Sample, image: _File) -> _File | None:
        """A drawing of an image; None where nothing is drawn and that leaves the image unlabeled."""
        file, header = self.root / path, image.header
        if header.planes is not None:
            why = f"{sample.path} has {header.planes} slices, which COCO and GeoJSON have no word for"
            raise _Unreadable(path, ValueError(f"{why}: save them as images, or the mask as a volume"))
        shape = f"{sample.path} {header.height} {header.width} {header.orientation}"
        facts = partial(self.outlines.facts, sample.path, file, key, header, whole=self.whole)
        try:
            how = f"{HEADERS} {key} {shape} {self.whole} {self.outlines}"
            digest, drawn = self.index.look(file, how, lambda: list(facts()))
        except HybridALError:
            raise
        except Exception as error:
            raise _Unreadable(f"{path} ({key})" if key else path, error) from error
        if not drawn and self.outlines.undrawn != "background":
            return None
        if not drawn:
            self.bare.add(sample.path)
        return _File(DRAWN, Header(header.height, header.width, 1), (str(digest),))

    def _mask(self, path: str, sample: Sample, image: _File) -> _File:
        """The file of a mask, which lies on its image."""
        assert self.table is not None
        maps = partial(_maps, table=self.table, whole=self.whole)
        readers = self.readers.along(sample.axis).for_masks
        mask = self._file(path, sample.axis, readers, f"mask {sorted(self.table.items())}", maps)
        if sample.axis and mask.reader not in self.readers.members:
            came = f"a mask by the reader {mask.reader}, whose slices are of one axis: data.axis: all takes volumes"
            raise _Unreadable(path, ValueError(came))
        try:
            planes = mask.header.planes if sample.mask_z is None else image.header.planes
            check_lies_on(sample.path, replace(mask.header, planes=planes), image.header)
        except ValueError as error:
            raise _Unreadable(path, error) from error
        return mask

    def _file(
        self, path: str, axis: str, readers: Choice, how: str, digests: Callable[[Reader, Path, Header], list[str]]
    ) -> _File:
        """A file with its reader, header and digests, from the index where it is there."""
        file = self.root / path

        def find() -> list[Any]:
            name = readers.name(file)
            reader = readers.members[name]
            header = reader.probe(file)
            return _File(name, header, tuple(digests(reader, file, header))).plain()

        key = f"{how} {axis} {path}"
        if key not in self.files:
            try:
                self.files[key] = _File.of(self.index.look(file, f"{HEADERS} {how} {self.whole} {readers}", find))
            except HybridALError:
                raise
            except Exception as error:
                raise _Unreadable(path, error) from error
        return self.files[key]


def _contents(reader: Reader, file: Path, header: Header, *, whole: bool, axis: str) -> list[str]:
    """The digest of an image file, or of the pixels of each plane; with `whole` an image is decoded too, as a check.

    Planes along two axes are never the same content: the black ones have as many bytes and other sides.
    """
    if header.planes is None:
        if whole:
            reader.decode(file)
        return [content_digest(file.read_bytes())]
    planes = (np.moveaxis(reader.decode(file, z), 2, 0) for z in range(header.planes))
    return [content_digest(axis.encode() + pixels.tobytes()) for pixels in planes]


def _maps(reader: Reader, file: Path, header: Header, *, table: Mapping[int, int], whole: bool) -> list[str]:
    """The digest of a mask file, or of the label map of each plane; with `whole` the values are checked too."""
    if header.planes is None:
        if whole:
            to_classes(reader.values(file), table)
        return [content_digest(file.read_bytes())]
    maps = to_classes(np.stack([reader.values(file, z) for z in range(header.planes)]), table)
    return [content_digest(repr(label_map.shape).encode() + label_map.tobytes()) for label_map in maps]
