"""Formats of other tools by name; adding one = one file, one line here."""

from __future__ import annotations

import re
from pathlib import Path

from .base import Format
from .coco import Coco
from .content import Content
from .cvat import Cvat
from .dicom_seg import DicomSeg
from .geojson import GeoJson
from .label_studio import LabelStudio
from .nifti import Nifti
from .own import Csv, Folder
from .seg_nrrd import SegNrrd

OWN_NAME = re.compile(r"\d{6,}\..+")
"""Of the files of masks that the inbox of a run reads by itself."""

FORMATS: dict[str, type[Format]] = {
    "csv": Csv,
    "folder": Folder,
    "label_studio": LabelStudio,
    "coco": Coco,
    "cvat": Cvat,
    "geojson": GeoJson,
    "nifti": Nifti,
    "seg_nrrd": SegNrrd,
    "dicom_seg": DicomSeg,
}


def recognise(path: Path) -> tuple[str | None, Content]:
    """The name of the format of a file or folder, None where the inbox of the run reads it itself; and its content.

    InputError for JSON or XML that is damaged, or a .zip with several of them.
    """
    content = Content(path)
    if path.is_dir() and all(OWN_NAME.fullmatch(file.name) for file in content.files):
        return None, content
    return next((name for name, kind in FORMATS.items() if kind.claims(content)), None), content
