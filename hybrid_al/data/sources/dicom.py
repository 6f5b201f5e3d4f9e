"""Source of a folder of DICOM files: their series, slices in order, and labels beside them by file, UID or patient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...core.registry import Count
from ...errors import InputError, UnknownName
from ..base import Dataset
from ..files import files_dataset
from ..folders import find_masks
from ..index import FileIndex
from ..pixels import Window
from ..readers import Choice, choose
from ..readers.base import check_stack
from ..readers.dicom import GROUPS, MOST_FRAMES, is_keyword, sampled_values, spread_of
from ..samples import OnError, Sample, check_settings, check_splits, kept_slices, middle
from ..scaling import Intensity, Scaling, evenly
from ..segmentations import Mask, by_series
from ..splits import by_first_folder
from ..studies import Series, Slice, Study, dicom_files, middle_frame, read_facts, read_study
from ..study_labels import Answers, Labels, keys_of, without_table
from ..words import Mark

NONE = "none"


DEVICES = ("Manufacturer", "ManufacturerModelName", "InstitutionName", "StationName")


@dataclass(frozen=True)
class DicomFolder:
    """Images of DICOM files below a folder, whatever their names and sub-folders.

    root     the folder; other files and hidden ones are ignored, objects without pixels are left and said
    sample   "slice": each slice or frame is a sample; "file": each file is one, of several frames the one in the
             middle; "series": each series is one, its slice in the middle
    slices   with sample: slice, only as many in the middle of each series
    stack    slices in the channels (2.5-D), see `Volumes`; neighbours in space, of one series
    group    the keyword of the header whose value is the group, by default PatientID, or {tag: StudyInstanceUID}, or
             "none": each series is its own, or with sample: file each file
    domain   the keyword of the header whose value is the site or device, such as Manufacturer; by default none
    window   [low, high], or a name: lung, bone, brain, soft_tissue, mediastinum, or a rule for images of more than 8
             bits, see `Folder`. Without it that of the header, or,
             where it has none, the 0.5th and 99.5th percentile of the series
    table    a file of labels beside the images, with one row a file, series, study or patient
    columns  of the table: {series: SeriesInstanceUID, label: dx, split: split}, in the place of `series` also file
             (a path below root), study or patient
             Where all first folders are called train, val, test or the like, and no column is the split, they are the
             splits; {split: none} passes over them
    labels   of the table, see `Csv`; or "folders": the first folder below root, or below those of the splits, is the
             class, as in root/<class>/...
    classes, unknown, separator, none, sheet   see `Csv`; without a table `classes` are those that an annotator
             may give
    masks    a folder of DICOM SEG, one a series, which may be `root` itself; or of masks by name, see `Folder`. Then
             `classes` are those of the pixels, the background first; by default the value of a segment is its number
    mask_values, mask_ending, ignore, holdout, seed, on_error   see `Folder`

    A sample's id is the path of its file, of several frames with `#` and the frame. Of headers nothing is kept but what
    orders slices and tells series and groups apart.
    """

    root: Path
    sample: Literal["file", "slice", "series"] = "slice"
    slices: Count | None = None
    stack: Count = 1
    group: str | Mapping[str, str] = "PatientID"
    window: Intensity | None = None
    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Literal["folders"] | Sequence[str] = ()
    classes: int | Sequence[str] | None = None
    unknown: Sequence[Mark] = ()
    separator: str = ""
    none: str = ""
    masks: Path | None = None
    mask_values: Mapping[int, str] = field(default_factory=dict)
    mask_ending: str = ""
    sheet: str = ""
    ignore: Sequence[str] = ()
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    domain: str | Mapping[str, str] = ""

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Read the headers, order the slices; rows come series by series."""
        index = FileIndex() if index is None else index
        root, keyword = self._checked()
        files, others = dicom_files(root, self.ignore)
        if not files:
            raise InputError(f"data.root: {root}", "DICOM files", f"{len(others)} files, none of them DICOM")
        domain = self._domain()
        keywords = [*[keyword] * bool(keyword), *["PatientID"] * ("patient" in self.columns), *[domain] * bool(domain)]
        study = read_study(root, files, keywords, index, ordered=self.sample != "file")
        pictures = _pictures(study, self.sample, kept_slices(self.sample, self.slices))
        if not pictures:
            came = "; ".join([*study.notes, *(f"{path}: {why}" for path, why in study.failures)])
            raise InputError(f"data.root: {root}", "DICOM files with images", came or "segmentations alone")
        answers = self._answers(pictures)
        scaling = self.window if isinstance(self.window, Scaling) else None
        window = None if isinstance(self.window, Scaling) else self.window
        if scaling is not None and scaling.of == "set":
            window = _of_set(root, pictures, scaling)
        readers = choose("dicom", window)
        masks = self._masks(study, pictures, readers)
        samples = self._samples(root, keyword, pictures, answers, masks, index)
        samples += [Sample(path, path, path, None, -1) for path, _ in study.failures]
        return files_dataset(
            root,
            samples,
            readers,
            classes=answers.classes,
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            values=self.mask_values if self.masks else None,
            index=index,
            notes=[*_ignored(root, others, self.table), *study.notes, *answers.notes],
            how="the 0.5th to the 99.5th percentile of its series" if scaling is None else str(scaling),
        )

    def _checked(self) -> tuple[Path, str]:
        """The folder, and the keyword of the groups, "" for none; InputError for settings that do not fit together."""
        root = Path(self.root).resolve()
        if not root.is_dir():
            raise InputError(f"data.root: {root}", "a folder", "a file" if root.exists() else "nothing there")
        group = self.group if isinstance(self.group, str) else self.group.get("tag", "")
        check_settings(self.window, self.on_error, group, "a keyword of DICOM such as PatientID")
        check_stack(self.stack)
        if self.stack > 1 and self.sample == "file":
            raise InputError("data.stack", "data.sample: slice or series, for neighbours", str(self.stack))
        if not isinstance(self.group, str) and set(self.group) != {"tag"}:
            raise InputError("data.group", "{tag: KEYWORD}", str(dict(self.group)))
        if group != NONE and not is_keyword(group):
            raise UnknownName("data.group", group, (*GROUPS, NONE))
        return root, "" if group == NONE else group

    def _domain(self) -> str:
        """The keyword of the domains, "" for none."""
        if not isinstance(self.domain, str) and set(self.domain) != {"tag"}:
            raise InputError("data.domain", "a keyword of DICOM such as Manufacturer", str(dict(self.domain)))
        keyword = self.domain if isinstance(self.domain, str) else self.domain["tag"]
        keyword = "" if keyword == NONE else keyword
        if keyword and not is_keyword(keyword):
            raise UnknownName("data.domain", keyword, DEVICES)
        return keyword

    def _answers(self, pictures: Sequence[_Picture]) -> Answers:
        paths = [picture.middle.path for picture in pictures]
        by_column, (splits, _) = self.columns.get("split", ""), by_first_folder(paths)
        if (answers := without_table(paths, self.labels, self.table, self.classes, self.unknown)) is not None:
            return answers.with_splits([None] * len(paths) if by_column else splits)
        assert self.table is not None
        labels = Labels(
            Path(self.table),
            self.columns,
            self.labels,
            self.classes,
            self.unknown,
            self.separator,
            self.none,
            sheet=self.sheet,
        )
        answers = labels.find(keys_of([picture.middle for picture in pictures]))
        return answers if by_column else answers.with_splits(splits)

    def _masks(self, study: Study, pictures: Sequence[_Picture], readers: Choice) -> Mapping[tuple[str, int], Mask]:
        """The masks by path and frame of slices: segmentations of their series, or else files of their names."""
        if self.masks is None:
            return {}
        folder = Path(self.masks).resolve()
        files, _ = dicom_files(folder, self.ignore) if folder.is_dir() else ([], [])
        segmentations = {path: facts for path in files if (facts := read_facts(folder / path)).mask}
        if segmentations:
            return by_series(folder, segmentations, study.series)
        slices = [picture.middle for picture in pictures]
        named = find_masks(folder, sorted({part.path for part in slices}), readers, self.mask_ending)
        return {
            (part.path, part.frame): Mask(masks[0], None, tuple(masks[1:]))
            for part in slices
            for masks in (named.get(part.path, []),)
            if masks
        }

    def _own_group(self, picture: _Picture) -> str:
        """A file is its own group, slices are in that of their series."""
        if self.sample == "file":
            return picture.middle.path
        return min(part.path for part in picture.series.slices)

    def _samples(
        self,
        root: Path,
        keyword: str,
        pictures: Sequence[_Picture],
        answers: Answers,
        masks: Mapping[tuple[str, int], Mask],
        index: FileIndex,
    ) -> list[Sample]:
        if keyword and (empty := [p.middle.path for p in pictures if not p.middle.facts.values[0]]):
            raise InputError(
                "data.group",
                f"a {keyword} in each header; {{tag: StudyInstanceUID}} or another, or none said on purpose",
                f"none in {len(empty)} of {len(pictures)} ({empty[0]})",
            )
        domain = self._domain()
        if domain and (empty := [p.middle.path for p in pictures if not p.middle.facts.values[-1]]):
            came = f"none in {len(empty)} of {len(pictures)} ({empty[0]})"
            raise InputError("data.domain", f"a {domain} in each header", came)
        windows: dict[str, Window | None] = {}
        samples = []
        for picture, answer in zip(pictures, answers.rows, strict=True):
            middle, name = picture.middle, picture.series.name
            mask = masks.get((middle.path, middle.frame), Mask("", None))
            if isinstance(self.window, Scaling):
                if self.window.of == "image" or name not in windows:
                    windows[name] = _scaled(root, picture, self.window, index)
            elif self.window is None and picture.series.ordered and name not in windows:
                windows[name] = _series_window(root, picture.series, index)
            samples.append(
                Sample(
                    id=middle.path,
                    path=middle.path,
                    group=middle.facts.values[0] if keyword else self._own_group(picture),
                    mask=mask.file,
                    more_masks=mask.more,
                    mask_z=mask.plane,
                    z=middle.z,
                    around=picture.around(self.stack) if self.stack > 1 else (),
                    window=windows.get(name),
                    domain=middle.facts.values[-1] if domain else "",
                    series=self._own_group(picture) if self.sample == "slice" else "",
                    **answer,
                )
            )
        by_folders = "each group (data.group) in one folder of splits; data.columns: {split: none} draws others"
        check_splits(samples, *(() if "split" in self.columns else (f"data.root: {root}", by_folders)))
        return samples


@dataclass(frozen=True)
class _Picture:
    """A slice of a series that is a sample."""

    series: Series
    place: int

    @property
    def middle(self) -> Slice:
        return self.series.slices[self.place]

    def around(self, stack: int) -> tuple[tuple[str, int], ...]:
        """File and frame of the slices of a stack around it; at the ends of a series the last one repeats."""
        last = len(self.series.slices) - 1
        places = range(self.place - stack // 2, self.place + stack // 2 + 1)
        parts = [self.series.slices[min(max(place, 0), last)] for place in places]
        return tuple((part.path, part.frame) for part in parts)


def _pictures(study: Study, sample: str, kept: int | None) -> list[_Picture]:
    pictures = []
    for series in study.series:
        count = len(series.slices)
        if sample == "file":
            places = [k for k, part in enumerate(series.slices) if part.frame == middle_frame(part)]
        else:
            places = list(middle(count, kept))
        pictures += [_Picture(series, place) for place in places]
    return pictures


def _series_window(root: Path, series: Series, index: FileIndex) -> Window | None:
    """Percentiles of some slices of a series, evenly spread, where no header says a window; None where one does."""
    slices = [part for part in series.slices if not part.facts.windowed]
    if len(slices) < len(series.slices) or not all(part.facts.deep for part in slices) or len(slices) < 2:
        return None
    return _look_at(root, slices, "window", spread_of, index)


def _scaled(root: Path, picture: _Picture, scaling: Scaling, index: FileIndex) -> Window | None:
    """The window of a slice or its series by a rule; None for 8 bits and colours, and where the set has one for all."""
    if scaling.of == "set" or not picture.middle.facts.deep:
        return None
    parts = [picture.middle] if scaling.of == "image" else [p for p in picture.series.slices if p.facts.deep]
    return _look_at(root, parts, f"window {scaling}", scaling.window, index)


def _of_set(root: Path, pictures: Sequence[_Picture], scaling: Scaling) -> Window | None:
    images = []
    for picture in evenly([one for one in pictures if one.middle.facts.deep]):
        try:
            images.append(sampled_values(root / picture.middle.path, picture.middle.frame))
        except (OSError, ValueError):
            continue  # it is refused with its reason
    return scaling.window_of_set(images) if images else None


def _look_at(
    root: Path, slices: Sequence[Slice], how: str, window: Callable[[npt.NDArray[Any]], Window], index: FileIndex
) -> Window | None:
    """The window of the values of some slices, evenly spread; None where they cannot be read, as they are refused."""
    some = [slices[i] for i in sorted({k * len(slices) // MOST_FRAMES for k in range(MOST_FRAMES)})]
    stamps = [(part.path, part.frame, (root / part.path).stat().st_mtime_ns) for part in some]
    key = f"{how} {hashlib.sha256(repr(stamps).encode()).hexdigest()}"

    def find() -> list[float]:
        return list(window(np.concatenate([sampled_values(root / part.path, part.frame) for part in some])))

    try:
        low, high = index.look(root / some[0].path, key, find)
    except (OSError, ValueError):
        return None
    return low, high


def _ignored(root: Path, others: Sequence[str], table: Path | None) -> list[str]:
    rest = [path for path in others if table is None or (root / path) != Path(table).resolve()]
    return [f"{len(rest)} files ignored in {root}, which are no DICOM ({rest[0]})"] if rest else []
