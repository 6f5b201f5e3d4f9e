"""Every file of the collected clinical formats is read as its library reads it, or refused with a reason."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing

from hybrid_al.data.readers import choose
from hybrid_al.data.readers.volumes import Volumes

FOLDER = Path("/work/shared/data/clinical_formats")
REFUSED = {
    "pydicom__rtplan.dcm": "RT Plan Storage: an object without pixels",
    "nibabel__functional.nii": "three axes, got 17 x 21 x 3 x 20",
    "nibabel__example4d.nii.gz": "three axes, got 128 x 96 x 24 x 2",
    "dipy__small_64D.nii": "three axes, got 10 x 10 x 10 x 65",
}
NAMES = sorted(file.name for file in FOLDER.glob("*__*")) if FOLDER.is_dir() else []
pytestmark = pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is not here")


def of_pydicom(file: Path, plane: int) -> npt.NDArray[Any]:
    """Pixels (H, W) in [0, 1] by pydicom's own functions; percentiles of all frames where no header says a window."""
    data = pydicom.dcmread(file)
    frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    own = [data.PerFrameFunctionalGroupsSequence[plane]] if "PerFrameFunctionalGroupsSequence" in data else []
    for group in (*data.get("SharedFunctionalGroupsSequence", ()), *own):
        for item in (*group.get("PixelValueTransformationSequence", ()), *group.get("FrameVOILUTSequence", ())):
            data.update({element.tag: element for element in item})
    values = [apply_modality_lut(frame, data) * float(data.get("DoseGridScaling", 1)) for frame in frames]
    low, high = np.percentile(values, [0.5, 99.5])
    shown = values[plane]
    if "WindowWidth" in data:
        low, high = apply_windowing(np.asarray([-np.inf, np.inf]), data)
        shown = apply_voi_lut(shown, data)
    pixels = ((shown - low) / (high - low)).clip(0, 1)
    padding = data.get("PixelPaddingValue")
    pixels = 1 - pixels if data.PhotometricInterpretation == "MONOCHROME1" else pixels
    return np.asarray(pixels if padding is None else np.where(frames[plane] == padding, 0, pixels))


def of_nibabel(file: Path, plane: int) -> npt.NDArray[Any]:
    image: Any = nib.as_closest_canonical(nib.load(file))
    voxels = np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3])
    low, high = np.percentile(voxels, [0.5, 99.5])
    return np.asarray(((voxels[:, ::-1, plane].T - low) / (high - low)).clip(0, 1))


@pytest.mark.parametrize("name", NAMES)
def test_read_right_or_refused_with_a_reason(name: str) -> None:
    file = FOLDER / name
    reader = choose().of(file)
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]) as caught:
            reader.probe(file)
        assert len(str(caught.value).splitlines()) == 1
        return
    header = reader.probe(file)
    plane = (header.planes or 1) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = (of_nibabel if isinstance(reader, Volumes) else of_pydicom)(file, plane)
    pixels = reader.decode(file, plane)
    assert pixels.shape == (header.height, header.width, header.channels)
    np.testing.assert_allclose(pixels[:, :, 0], expected, atol=2e-6)


def test_the_list_is_that_of_the_folder() -> None:
    assert len(NAMES) == 21 and set(REFUSED) <= set(NAMES)
