"""Source of a folder of files: its sub-folders are the classes, or the splits with the classes below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.registry import Count
from ...errors import InputError, UnknownName
from ..base import Dataset
from ..drawn.masks import GEOJSON, Outlines, Undrawn
from ..files import files_dataset
from ..folders import Labels, find_images, find_masks, ignored_files, masks_beside
from ..index import FileIndex
from ..paths import grouping
from ..readers import AUTO, choose
from ..readers.dicom import tag_group
from ..samples import OnError, Sample, Unit, check_settings, kept_slices
from ..scaling import Intensity
from ..words import Mark, class_names, in_order, is_unknown, normal, refuse_missing, unknown_texts


@dataclass(frozen=True)
class Folder:
    """Images, or volumes whose slices are samples, at root/<class>/..., root/<split>/<class>/..., or without classes.

    root     the folder; where all its sub-folders are called train, val, test or the like, they are the splits
    group    "none", which must be set on purpose, or a regular expression that is searched in the path below root: its
             first group, or else the whole match, names the patient, volume or slide; {tag: PatientID} takes the value
             in the header of DICOM files
    domain   the site, device or stain of an image, said as group is; none where nothing says it
    labels   "folders": the first folder below root (or the split) is the class; images beside the class folders are
             unlabeled. "parents": the folder that holds an image is its class, as in root/<site>/<class>/1.png. "none":
             no folder is a class, all images are unlabeled
    classes  names of the classes in the order of their numbers: of the class folders (by default sorted, 2 before 10),
             or, where all images are unlabeled, of the classes that an annotator may give
    unknown  names of class folders whose images are not labeled: [unlabeled]
    holdout  {val: f, test: f}, shares to draw where the data has no such split; `seed` fixes the draw
    on_error stop | skip, see `files.files_dataset`
    reader   reader of the files, see `readers.choose`; auto chooses by content and suffix
    window   [low, high] of the values that become 0 and 1. Or a rule: {percentiles: [1, 99]} of the values, {zscore: 3}
             for so many standard deviations on both sides of their mean; `of: image`, each image or slice by its own
             values, `of: volume` (the default), each file or series, `of: set`, all by those of the set, which a run
             keeps as numbers
    masks    a folder of masks, each at the path of its image but for the suffix; images without one are unlabeled. Then
             `classes` are those of the pixels, the background first, and no folder is a class
    mask_values   see `Csv`
    mask_ending, image_ending   what the name of a mask has behind that of its image, _mask in 1_mask.png; and that of
             an image behind that of its mask, _0000 in 1_0000.png, as nnU-Net has it. A * behind mask_ending stands
             for a number or nothing: "_mask*" takes 1_mask.png and 1_mask_1.png for 1.png. Of several masks of an image
             each draws a part, an object or a class
             files of outlines are masks too: a folder of .geojson of QuPath, one an image; a .json of COCO in the place
             of the folder, or with mask_ending: .json all of them in it. Polygons and runs of pixels (RLE, crowds too)
             are drawn in the order of the file, a later one over an earlier, and holes stay free
    mask_names   of outlines: {Tumor: tumor, Region*: background, Artefact: ignore}, the class of a label; one without
             entry is the class of its own name, ignore and Ignore* are not known
    undrawn  of outlines: "background", the first class is where nothing is drawn, in images without any outline too;
             "unlabeled", but images without any are unlabeled; "ignore", and elsewhere it is not known what is there.
             Images that a COCO file does not list, or without a .geojson, are always unlabeled
    mask_folder  the name of a folder beside that of each image, all files of which are masks of the one image: "masks"
             for 7/masks/*.png of 7/images/1.png; `masks` is then the root
    sample, slices   of files of several slices: "slice", each is a sample, or as many in the middle; "file", one is,
             the slice in the middle
    ignore   names of files and folders to leave out, * for any letters: ["*_mask.png", notes]

    Hidden files, __MACOSX and files without the suffix of a reader are ignored, and counted (`Dataset.notes`). A
    sample's id is its path below root. A volume gives a sample for each slice, with the volume's class and group; its
    id is the path, `#` and the number.
    """

    root: Path
    group: str | Mapping[str, str] = ""
    labels: Labels = "folders"
    classes: Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    reader: str | Mapping[str, object] = AUTO
    window: Intensity | None = None
    masks: Path | None = None
    mask_values: Mapping[int, str] = field(default_factory=dict)
    mask_ending: str = ""
    image_ending: str = ""
    mask_folder: str = ""
    mask_names: Mapping[str, str] = field(default_factory=dict)
    undrawn: Undrawn = "background"
    ignore: Sequence[str] = ()
    unknown: Sequence[Mark] = ()
    domain: str | Mapping[str, str] = ""
    sample: Unit = "slice"
    slices: Count | None = None

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Look at the folder; rows are sorted by path."""
        root = Path(self.root).resolve()
        if not root.is_dir():
            raise InputError(f"data.root: {root}", "a folder", "a file" if root.exists() else "nothing there")
        check_settings(self.window, self.on_error)
        group_of, domain_of = self._naming("data.group", self.group, root), None
        if self.domain not in ("", "none"):
            domain_of = self._naming("data.domain", self.domain, root)
        readers = choose(self.reader, self.window)
        entries = find_images(root, "none" if self.masks else self.labels, readers, self.ignore)
        classes, number = self._classes(root, {name for _, _, name in entries if name is not None})
        paths = [path for path, _, _ in entries]
        masks, notes = dict[str, list[str]](), ignored_files(root, readers.suffixes, self.ignore)
        if self.masks and self.mask_folder:
            masks = masks_beside(root, paths, self.mask_folder, readers)
        elif self.masks:
            folder = Path(self.masks).resolve()
            masks = find_masks(folder, paths, readers, self.mask_ending, self.image_ending)
            if not self.mask_ending and folder.is_dir():
                notes += ignored_files(folder, (*readers.for_masks.suffixes, GEOJSON))
        samples = [
            Sample(
                path,
                path,
                group,
                split,
                number.get(name, -1),
                mask=files[0],
                more_masks=tuple(files[1:]),
                domain=domain,
            )
            for path, split, name in entries
            for files in (masks.get(path, [""]),)
            for group in (group_of(f"data.group: {path}", path),)
            for domain in ("" if domain_of is None else domain_of(f"data.domain: {path}", path),)
        ]
        return files_dataset(
            root,
            samples,
            readers,
            classes=classes,
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            index=index,
            slices=kept_slices(self.sample, self.slices),
            values=self.mask_values if self.masks else None,
            outlines=Outlines(self.mask_names, self.undrawn),
            notes=notes,
        )

    def _naming(self, key: str, by: str | Mapping[str, str], root: Path) -> Callable[[str, str], str]:
        """(place for errors, path) -> the group or domain of a file."""
        if isinstance(by, str):
            if not by:
                check_settings(self.window, self.on_error, by, "a regular expression on the path")
            return (lambda where, path: path) if by == "none" else grouping(by, key=key)
        if set(by) != {"tag"}:
            raise InputError(key, "a regular expression, {tag: KEYWORD}, or none", str(dict(by)))
        return lambda where, path: tag_group(root / path, by["tag"], where, path, key)

    def _classes(self, root: Path, folders: set[str]) -> tuple[tuple[str, ...], dict[str | None, int]]:
        """The classes, and the class of each folder's name that is no mark of `unknown`."""
        given = () if self.classes is None else class_names(self.classes)
        marks = unknown_texts(self.unknown, given)
        names = {folder: normal(folder) for folder in sorted(folders) if not is_unknown(folder, marks)}
        for folder, name in names.items():
            if self.classes is None:
                refuse_missing(f"class folder {root / folder}", name)
            elif name not in given:
                raise UnknownName(f"class folder of {root}", folder, given)
        classes = in_order(names.values()) if self.classes is None else given
        return classes, {folder: classes.index(name) for folder, name in names.items()}
