"""DICOM images for tests, with what a SEG takes over of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_image(file: Path, pixels: npt.NDArray[np.int16], series: str, z: float = 0.0, patient: str = "P1") -> Path:
    """A slice of CT (H, W) at z millimetres."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    study, frame = (generate_uid(entropy_srcs=[series, name]) for name in ("study", "frame"))
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "Modality": "CT", "PatientID": patient,
        "SeriesInstanceUID": series, "StudyInstanceUID": study, "FrameOfReferenceUID": frame,
        "PatientName": "A" if patient == "P1" else "A^B",
        "PatientBirthDate": "", "PatientSex": "", "AccessionNumber": "", "StudyID": "1",
        "StudyDate": "20200101", "StudyTime": "000000", "ReferringPhysicianName": "", "InstanceNumber": 1,
        "SeriesNumber": 1, "Manufacturer": "x", "PositionReferenceIndicator": "", "ImageType": ["ORIGINAL", "PRIMARY"],
        "ImagePositionPatient": [0, 0, z], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1],
        "SliceThickness": 1, "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 0,
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(data, keyword, value)
    data.PixelData = pixels.astype("<i2").tobytes()
    data["PixelData"].VR = "OW"
    file.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(file, enforce_file_format=True)
    return file
