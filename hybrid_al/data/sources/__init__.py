"""Sources by name; adding one = one file, one line here."""

from __future__ import annotations

from ..base import Source
from .dicom import DicomFolder
from .folder import Folder
from .medmnist import MedMnist
from .mni152 import Mni152
from .nifti import Nifti
from .npz import Npz
from .phantom import Phantom
from .slides import Slides
from .table import Csv

SOURCES: dict[str, type[Source]] = {
    "csv": Csv,
    "dicom": DicomFolder,
    "folder": Folder,
    "medmnist": MedMnist,
    "mni152": Mni152,
    "nifti": Nifti,
    "npz": Npz,
    "phantom": Phantom,
    "slides": Slides,
}
