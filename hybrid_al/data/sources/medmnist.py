"""Source of the MedMNIST sets: a local NPZ file where there is one, the `medmnist` package's download otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.files import home
from ...errors import InputError, UnknownName
from ..archives import Names, archive_dataset
from ..base import Dataset
from ..index import FileIndex
from ..samples import check_settings

SIZES = (28, 64, 128, 224)
SEVERAL = "chestmnist"


@dataclass(frozen=True)
class MedMnist:
    """A 2-D set of MedMNIST v2 (Yang et al., Scientific Data 2023) with its official split.

    chestmnist has 14 labels a sample, for `task: multilabel`; all others one class.

    name  as in medmnist: pneumoniamnist, bloodmnist, ...
    size  28, 64, 128 or 224 pixels: which file of the set
    root  an NPZ file, or the folder of <name>.npz (<name>_<size>.npz above 28 pixels), to which it is downloaded if it
          is not there; by default ~/.medmnist, as in the package
    group MedMNIST names no patients, so each sample is a group, except with an NPZ file that has group arrays

    The package (`pip install 'hybrid-al[medmnist]'`) is needed for a download and for the names of the classes.
    """

    name: str
    size: int = 28
    root: Path | None = None
    group: str = "none"

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Find or download the file and read it as `Npz`."""
        if self.size not in SIZES:
            raise InputError("data.size", f"one of {', '.join(map(str, SIZES))}", str(self.size))
        info = _package_info()
        if info is not None and self.name not in info:
            raise UnknownName("data.name", self.name, info)
        root = home("data.root") / ".medmnist" if self.root is None else Path(self.root)
        if root.suffix == ".npz" and not root.is_file():
            raise InputError(f"data.root: {root}", "an NPZ file or a folder", "nothing there")
        path = root if root.is_file() else root / f"{self.name}{'' if self.size == 28 else f'_{self.size}'}.npz"
        if not path.is_file():
            if info is None:
                package = "the medmnist package to download it (pip install 'hybrid-al[medmnist]')"
                raise InputError(path, f"this file, or {package}", "neither")
            self._download(root, info[self.name]["python_class"])
        classes = None if info is None else list(info[self.name]["label"].values())
        check_settings(None, "stop", self.group, "the ending of a key, such as patient")
        names = Names(self.group, classes, multilabel=self.name == SEVERAL)
        return archive_dataset(path, names, holdout={}, seed=0, on_error="stop", index=index)

    def _download(self, root: Path, python_class: str) -> None:
        import medmnist

        root.mkdir(parents=True, exist_ok=True)
        try:
            getattr(medmnist, python_class)(split="train", root=str(root), size=self.size, download=True)
        except (RuntimeError, OSError) as error:
            text = " ".join(str(error).split())
            raise InputError(f"data: download of {self.name} to {root}", "a connection to zenodo.org", text) from error


def _package_info() -> Mapping[str, Any] | None:
    """`medmnist.INFO`, or None where the package is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from medmnist import INFO
    except ImportError:
        return None
    return dict(INFO)
