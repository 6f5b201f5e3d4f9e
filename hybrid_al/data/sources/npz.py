"""Source of one NPZ file of image and label arrays, with the key names of MedMNIST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..archives import Names, archive_dataset, archive_path
from ..base import Dataset
from ..index import FileIndex
from ..samples import OnError, check_settings
from ..scaling import Intensity
from ..words import Mark


@dataclass(frozen=True)
class Npz:
    """Archive `train_images`, `train_labels`, `val_...`, `test_...`; `images` and `labels` where there are no splits.

    root     the file; `package:pneumonia.npz` is the one that the package brings along for its demo
    images   (N, H, W), (N, H, W, 1) or (N, H, W, 3); uint8, or wider with the rules of `to_pixels`
    labels   (N,) or (N, 1), class numbers, -1 unknown, or names, "" unknown; a split without labels is unlabeled
    multilabel  labels are (N, L), 1 or 0 for each of L labels, -1 unknown; `classes` are their names
    files    (N,) optional names, which become the ids where no two are alike; otherwise ids are like train/00012
    group    "none", which must be set on purpose, or the ending of the keys of the groups: patient for `train_patient`
    domain   the ending of the keys of the sites, devices or stains, or {key: files, pattern: '...'} to search there
    classes  names or number of the classes; by default, the largest label plus 1, or the names in the labels, sorted
    unknown  labels that mean not labeled: [9, nan, NA]
    holdout  {val: f, test: f}, shares to draw where the file has no such split; `seed` fixes the draw
    on_error stop | skip images whose values cannot be mapped to pixels
    window   [low, high] of the values that become 0 and 1, or a rule, see `Folder`; an image is a volume here

    Pickled (object) arrays are an error. Images are read one by one; arrays in Fortran order are read as a whole.
    """

    root: Path
    group: str = ""
    classes: int | Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    window: Intensity | None = None
    multilabel: bool = False
    unknown: Sequence[Mark] = ()
    domain: str | Mapping[str, str] = ""

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Read the file once; rows are in the order train, val, test."""
        check_settings(self.window, self.on_error, self.group, "the ending of a key, such as patient")
        return archive_dataset(
            archive_path(self.root),
            Names(self.group, self.classes, self.multilabel, self.unknown, self.domain),
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            window=self.window,
            index=index,
        )
