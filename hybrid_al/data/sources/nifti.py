"""Source of volumes: like `csv` and `folder`, with the settings of the reader as keys of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.registry import Count
from ...errors import InputError
from ..base import Dataset
from ..files import files_dataset
from ..folders import find_masks, ignored_files
from ..index import FileIndex
from ..readers import Choice, choose
from ..readers.volumes import Axes, Volumes
from ..samples import OnError, Sample, Unit, check_settings, kept_slices
from ..scaling import Intensity
from ..tables import NONE, Table


@dataclass(frozen=True)
class Nifti:
    """Slices of volumes (NIfTI, NRRD, MetaImage), found by a table or in a folder.

    root     with `columns` a CSV file with one row a volume, see `Csv`; or a folder of volumes, without its sub-folders
    columns  of the CSV file: {path: "imagesTr/{id}.nii.gz", mask: "labelsTr/{id}.nii.gz", group: patient, split: split}
    images   of a CSV file: the folder that paths are relative to
    masks    of a folder: the folder of the masks, which have the names of their volumes
    group    "none": each volume is a group, so that its slices never straddle splits; or a column of the CSV file
    axis, stack, window   see `Volumes`; window may be a rule, see `Folder`
    sample, slices   see `Folder`
    classes  names of the classes of voxels, the background first; mask_values as in `Csv`
    holdout, seed, on_error   as in `Csv`; a volume is left out as a whole

    A sample's id is the path of its volume and `#` and the slice, which is also its `z` in the manifest. `axis: all`
    takes the slices of all three kinds: ids say which (`scan.nii.gz#coronal#12`), all of a volume are in its one group.
    """

    root: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    masks: Path | None = None
    group: str = ""
    axis: Axes = "axial"
    stack: int = 1
    window: Intensity | None = None
    classes: Sequence[str] = ()
    mask_values: Mapping[int, str] = field(default_factory=dict)
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    domain: str | Mapping[str, str] = ""
    sample: Unit = "slice"
    slices: Count | None = None

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Read every volume once; slices come in the order of the volumes, from the first to the last."""
        readers = choose({"name": "volumes", "axis": self.axis, "stack": self.stack}, self.window)
        listed = bool(self.columns) or Path(self.root).is_file()
        folder, volumes = self._table() if listed else self._folder(readers)
        named = self.columns.get("mask", NONE) != NONE or self.masks is not None
        masked = named or any(volume.mask for volume in volumes)
        return files_dataset(
            folder,
            volumes,
            readers,
            classes=self.classes,
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            index=index,
            slices=kept_slices(self.sample, self.slices),
            values=self.mask_values if masked else None,
            notes=[] if listed else ignored_files(folder, Volumes.SUFFIXES),
        )

    def _table(self) -> tuple[Path, list[Sample]]:
        if "label" in self.columns:
            raise InputError("data.columns", "path, mask, group and split of volumes", "label")
        check_settings(self.window, self.on_error)
        table = Table(self.root, {**self.columns, "label": NONE}, self.images, self.group, domain=self.domain)
        folder, _, volumes = table.find()
        return folder, volumes

    def _folder(self, readers: Choice) -> tuple[Path, list[Sample]]:
        check_settings(self.window, self.on_error, self.group, "none, as volumes are groups of their slices")
        root = Path(self.root).resolve()
        if not root.is_dir():
            raise InputError(f"data.root: {root}", "a CSV file or a folder of volumes", "nothing there")
        if self.domain not in ("", NONE):
            raise InputError("data.domain", "a CSV file that says it (data.root), or nothing", str(self.domain))
        if self.group != "none":
            raise InputError("data.group", "none: in a folder each volume is a group", self.group)
        suffixes = Volumes.SUFFIXES
        names = sorted(f.name for f in root.iterdir() if f.name.lower().endswith(suffixes) and f.name[0] != ".")
        if not names:
            raise InputError(f"data.root: {root}", f"volumes ({', '.join(suffixes)})", "none")
        masks = {} if self.masks is None else find_masks(Path(self.masks).resolve(), names, readers)
        return root, [Sample(name, name, name, None, -1, mask=masks.get(name, [""])[0]) for name in names]
