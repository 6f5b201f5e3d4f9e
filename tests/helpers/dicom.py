"""DICOM files for tests, written by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = [1, 0, 0, 0, 1, 0]


def dataset(pixels: npt.NDArray[Any], **tags: Any) -> Dataset:
    """A dataset of (H, W), (Z, H, W) or, with three samples a pixel, (H, W, 3); `tags` are keywords of the standard."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientID = "P1"
    colours = tags.get("SamplesPerPixel", 1) > 1
    if pixels.ndim == 3 and not colours:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if colours:
        data.PlanarConfiguration = 0
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OW" if bits > 8 else "OB"
    return data


def write(path: Path, pixels: npt.NDArray[Any], **tags: Any) -> Path:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset(pixels, **tags).save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path, positions: list[float], *, seed: int = 0, side: int = 12, names: str = "{:03d}.dcm", **tags: Any
) -> list[Path]:
    """A series of CT slices at these positions along z (mm), in files whose names run the other way."""
    rng = np.random.default_rng(seed)
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    files = []
    for k, z in enumerate(positions):
        pixels = rng.integers(0, 2000, (side, side), dtype=np.int16)
        geometry = {"ImagePositionPatient": [0, 0, z], "ImageOrientationPatient": AXIAL, "PixelSpacing": [1, 1]}
        name = names.format(len(positions) - k)
        given = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, **uids, **geometry, **tags}
        files.append(write(folder / name, pixels, **given))
    return files
