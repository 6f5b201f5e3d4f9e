"""The reader of DICOM gives the values that pydicom gives, and refuses with a reason what is no image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from hybrid_al.core.registry import component
from hybrid_al.data.pixels import WINDOWS
from hybrid_al.data.readers import choose
from hybrid_al.data.readers.dicom import Dicom, sampled_values
from hybrid_al.data.sources import SOURCES
from hybrid_al.data.sources.folder import Folder
from hybrid_al.errors import InputError
from tests.helpers import dicom

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP = np.arange(-1024, -1024 + 20 * 16 * 8, 8, dtype=np.int16).reshape(16, 20)


def shown(data: Dataset, values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
    pixels = ((apply_voi_lut(values, data) - low) / (high - low)).clip(0, 1)
    return np.asarray(1 - pixels if data.PhotometricInterpretation == "MONOCHROME1" else pixels, dtype=np.float32)


@pytest.mark.parametrize(
    "name",
    [
        *("MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_jp2klossless"),
        *("MR_small_jpeg_ls_lossless", "MR_small_padded", "examples_overlay"),
    ],
)
def test_values_in_the_window_of_the_header_are_those_of_pydicom(name: str) -> None:
    file = FILES / f"{name}.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the padding behind the pixels
        data = pydicom.dcmread(file)
        values = apply_modality_lut(pixel_array(data), data)
    bits = data.BitsStored
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.PixelRepresentation else (0, 2**bits - 1)
    pixels = Dicom().decode(file)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, :, 0], shown(data, values, low, high), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_gdcm", "SC_rgb_rle", "SC_rgb_jls_lossy_line", "SC_ybr_full_422_uncompressed", "ExplVR_BigEnd"]
)
def test_colours_are_those_of_pydicom(name: str) -> None:
    np.testing.assert_array_equal(Dicom().decode(FILES / f"{name}.dcm"), pixel_array(FILES / f"{name}.dcm"))


def test_a_palette_and_frames_and_deep_colours() -> None:
    data = pydicom.dcmread(FILES / "examples_palette.dcm")
    colours = apply_color_lut(pixel_array(data), data)
    np.testing.assert_allclose(Dicom().decode(FILES / "examples_palette.dcm"), colours / 65535, atol=1e-6)
    file = FILES / "examples_ybr_color.dcm"
    assert (header := Dicom().probe(file)).planes == 30 and header.channels == 3
    np.testing.assert_array_equal(Dicom().decode(file, 17), pixel_array(file, index=17))
    deep = FILES / "SC_rgb_rle_16bit.dcm"
    np.testing.assert_allclose(Dicom().decode(deep), pixel_array(deep) / 65535, atol=1e-6)


def test_deflated_and_run_length_and_no_preamble(tmp_path: Path) -> None:
    file = FILES / "image_dfl.dcm"
    np.testing.assert_array_equal(Dicom().decode(file)[:, :, 0], pydicom.dcmread(file).pixel_array)
    plain = dicom.dataset(RAMP)
    plain.save_as(tmp_path / "plain", enforce_file_format=True)
    bare = (tmp_path / "plain").read_bytes()
    cut = 132 + 12 + pydicom.dcmread(tmp_path / "plain").file_meta.FileMetaInformationGroupLength
    (tmp_path / "bare").write_bytes(bare[cut:])  # neither preamble nor meta information
    packed = dicom.dataset(RAMP)
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "packed")
    deflated = dicom.dataset(RAMP)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(tmp_path / "deflated", enforce_file_format=True)
    for name in ("plain", "bare", "packed", "deflated"):
        assert choose().name(tmp_path / name) == "dicom"
        np.testing.assert_array_equal(Dicom().values(tmp_path / name), RAMP)


def test_rescaled_values_and_windows_by_name(tmp_path: Path) -> None:
    stored = RAMP + np.int16(1024)
    file = dicom.write(tmp_path / "1.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(sampled_values(file), apply_modality_lut(stored, pydicom.dcmread(file)).ravel())
    for low, high in WINDOWS.values():
        expected = ((RAMP - low) / (high - low)).clip(0, 1)
        np.testing.assert_allclose(Dicom((low, high)).decode(file)[:, :, 0], expected, atol=1e-6)
    low, high = np.percentile(RAMP, [0.5, 99.5])
    expected = ((RAMP - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(Dicom().decode(file)[:, :, 0], expected, atol=1e-6)


def test_a_recipe_names_a_window() -> None:
    made = component(SOURCES, "data", "folder", {"root": "x", "group": "none", "window": "lung"})
    assert isinstance(made, Folder) and made.window == (-1350, 150)
    with pytest.raises(InputError, match=r"data\.window: .*lung.*came lnug|data\.window: .*lnug.*lung"):
        component(SOURCES, "data", "folder", {"root": "x", "group": "none", "window": "lnug"})


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_of_the_header_with_slope_and_intercept(tmp_path: Path, function: str) -> None:
    file = dicom.write(
        tmp_path / "1.dcm",
        RAMP + np.int16(1024),
        **{"RescaleSlope": 2, "RescaleIntercept": -1000, "VOILUTFunction": function},
        WindowCenter=[40, 500],
        WindowWidth=[400, 2000],
    )
    data = pydicom.dcmread(file)
    values = apply_modality_lut(data.pixel_array, data)
    expected = shown(data, values, -32768 * 2 - 1000, 32767 * 2 - 1000)
    np.testing.assert_allclose(Dicom().decode(file)[:, :, 0], expected, atol=1e-6)


def lut(first: int, entries: list[int], bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_modality_lut_and_voi_lut(tmp_path: Path) -> None:
    stored = np.arange(12, dtype=np.uint16).reshape(3, 4)
    tables = {
        "ModalityLUTSequence": [lut(2, [10, 20, 30, 40, 50])],
        "VOILUTSequence": [lut(10, [k * k for k in range(41)], 12)],
    }
    file = dicom.write(tmp_path / "1.dcm", stored, **tables)
    data = pydicom.dcmread(file)
    values = apply_modality_lut(data.pixel_array, data)
    assert values.tolist()[0] == [10, 10, 10, 20]
    np.testing.assert_allclose(Dicom().decode(file)[:, :, 0], apply_voi_lut(values, data) / 4095, atol=1e-6)


def test_monochrome1_is_inverted_and_padding_is_black(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    file = dicom.write(tmp_path / "1.dcm", grey, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=3)
    expected = np.where(grey == 3, 0, 255 - grey)
    np.testing.assert_array_equal(Dicom().decode(file)[:, :, 0], expected)
    deep = RAMP.copy()
    deep[0] = -2000
    file = dicom.write(tmp_path / "2.dcm", deep, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1500)
    low, high = np.percentile(deep[1:], [0.5, 99.5])
    pixels = Dicom().decode(file)[:, :, 0]
    assert not pixels[0].any()
    np.testing.assert_allclose(pixels[1:], ((deep[1:] - low) / (high - low)).clip(0, 1), atol=1e-6)


def test_functional_groups_say_slope_and_window_of_each_frame(tmp_path: Path) -> None:
    groups = []
    for k in range(2):
        values, window, group = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = k + 1, -100
        window.WindowCenter, window.WindowWidth = 50 * (k + 1), 200
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [values], [window]
        groups.append(group)
    frames = np.stack([RAMP, RAMP[::-1]])
    file = dicom.write(tmp_path / "1.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    for k in range(2):
        centre, half = 50 * (k + 1) - 0.5, 199 / 2
        expected = ((frames[k] * (k + 1.0) - 100 - (centre - half)) / (2 * half)).clip(0, 1)
        np.testing.assert_allclose(Dicom().decode(file, k)[:, :, 0], expected, atol=1e-6)


def test_doses_are_in_their_units() -> None:
    data = pydicom.dcmread(FILES / "rtdose.dcm")
    assert Dicom().probe(FILES / "rtdose.dcm").planes == 15
    expected = data.pixel_array[7] * float(data.DoseGridScaling)
    np.testing.assert_array_equal(sampled_values(FILES / "rtdose.dcm", 7), expected.ravel())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rtplan", "RT Plan Storage: an object without pixels"),
        ("rtstruct", "RT Structure Set Storage: an object without pixels"),
        ("test-SR", "Comprehensive SR Storage: an object without pixels"),
        ("waveform_ecg", "12-lead ECG Waveform Storage: an object without pixels"),
        ("liver_1frame", "Segmentation Storage: a mask, no image"),
        ("UN_sequence", "CT Image Storage without its pixels: cut short?"),
        ("MR_truncated", "bytes of pixel data is less than expected"),
        ("badVR", "invalid literal"),
    ],
)
def test_what_is_no_image_is_refused_by_name(name: str, reason: str) -> None:
    file = FILES / f"{name}.dcm"
    with pytest.raises(ValueError, match=reason) as caught:
        Dicom().probe(file)
        Dicom().decode(file)
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_transfer_syntax_and_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom.dataset(RAMP)
    data.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    content = (tmp_path / "1.dcm").read_bytes()
    for uid in (b"1.2.840.10008.1.2.5", b"1.2.840.10008.9.9.9"):
        (tmp_path / "2.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.1", uid))
        with pytest.raises(ValueError) as caught:
            Dicom().decode(tmp_path / "2.dcm")
        assert len(str(caught.value).splitlines()) == 1
    data.Rows = data.Columns = 60000
    data.save_as(tmp_path / "3.dcm", enforce_file_format=True)
    with pytest.raises(ValueError, match="more than the limit"):
        Dicom().probe(tmp_path / "3.dcm")
    monkeypatch.setattr("hybrid_al.data.readers.dicom.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="unpacks to more than"):
        Dicom().probe(FILES / "image_dfl.dcm")
