"""Reader of DICOM files, whose planes are frames: modality LUT, window, inversion and padding as the header says."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UnknownName, parsing
from ..base import Pixels
from ..headers import (
    frames_of,
    functional_groups,
    has_window,
    is_segmentation,
    kind_of,
    padding,
    place_of,
    planes_of,
    refuse_pixelless,
    spacing_of,
)
from ..pixels import Window, to_pixels
from ..scaling import percentiles
from ..workers import kept, quiet
from .base import Header, Stamp, plane_of

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_BYTES = 4_000_000_000  # of a deflated header and its pixels
LEAST, MOST = 0.5, 99.5  # percentiles that become 0 and 1 where nothing says a window
MOST_FRAMES = 16  # of which the percentiles are taken
GROUPS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")  # keywords that mostly are groups
DEFLATED = "1.2.840.10008.1.2.1.99"
_OF_FRAMES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
}
_OF_FILE = (
    *("PhotometricInterpretation", "BitsStored", "PixelRepresentation", "ModalityLUTSequence"),
    *(keyword for keywords in _OF_FRAMES.values() for keyword in keywords),
)


@dataclass(frozen=True)
class Dicom:
    """DICOM files with pixels (.dcm, or of any name).

    window  [low, high] of the values behind the modality LUT (of CT: HU) that become 0 and 1. Without it: the first
            window or VOI LUT of the header; without one there, 8 bits stay as they are, and of more bits the 0.5th and
            the 99.5th percentile of the file become 0 and 1

    MONOCHROME1 is inverted, padding becomes 0, palettes and YBR become RGB; dose grids are read in their units.
    """

    window: Window | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = (".dcm", ".dicom", ".ima")
    VERSION: ClassVar[str] = "1"

    @staticmethod
    def claims(head: bytes) -> bool:
        """By the word behind the preamble, or by a first element of the groups that come first, without a preamble."""
        if head[128:132] == b"DICM":
            return True
        group, element = struct.unpack("<HH", head[:4]) if len(head) >= 8 else (0, 0)
        length = int.from_bytes(head[4:8], "little")
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        return group in (2, 8) and element <= 0x70 and len(head) > 132 and (explicit or length <= 256)

    def probe(self, file: Path) -> Header:
        """Rows, columns and frames of the header; ValueError for a file without pixels, and for a segmentation."""
        with reading():
            dataset = _dataset(Stamp.of(file))
            refuse_pixelless(dataset)
            if is_segmentation(dataset):
                planes = len(planes_of([place_of(dataset, frame) for frame in range(frames_of(dataset))]))
                return Header(int(dataset.Rows), int(dataset.Columns), 1, planes=planes)
            frames, colours = frames_of(dataset), int(dataset.get("SamplesPerPixel", 1)) > 1
            palette = dataset.PhotometricInterpretation == "PALETTE COLOR"
            return Header(
                height=int(dataset.Rows),
                width=int(dataset.Columns),
                channels=3 if colours or palette else 1,
                planes=frames if frames > 1 else None,
                spacing=spacing_of(dataset),
                span=self.window or (),
            )

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        """A frame as pixels (H, W, C)."""
        with reading():
            dataset = _dataset(Stamp.of(file))
            if is_segmentation(dataset):
                raise ValueError(f"{kind_of(dataset)}: a mask, no image")
            stored = _stored(dataset, plane)
            if stored.ndim == 3:
                return _colours(stored, dataset)
            if dataset.PhotometricInterpretation == "PALETTE COLOR":
                from pydicom.pixels.processing import apply_color_lut

                return to_pixels(np.asarray(apply_color_lut(stored, dataset)))
            pixels = self._grey(stored, file, plane)
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                pixels = np.asarray(255 - pixels if pixels.dtype == np.uint8 else np.float32(1) - pixels)
            pixels[padding(stored, dataset)] = 0
            return pixels

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[Any]:
        """The stored numbers (H, W) of a frame, or those of the segments in a plane of a segmentation.

        ValueError where it has colours or fractions, or where segments overlap.
        """
        with reading():
            dataset = _dataset(Stamp.of(file))
            if is_segmentation(dataset):
                return _segments(dataset, plane)
            stored = _stored(dataset, plane)
        if stored.ndim != 2 or stored.dtype.kind not in "iub":
            raise ValueError(f"expected whole numbers of one channel, got {stored.dtype} of shape {stored.shape}")
        return stored

    def _grey(self, stored: npt.NDArray[Any], file: Path, plane: int) -> Pixels:
        """Pixels (H, W, 1) of the stored numbers (H, W) of a frame."""
        dataset = _dataset(Stamp.of(file))
        frame = _frame(dataset, plane)

        def pixels(numbers: npt.NDArray[Any]) -> Pixels:
            values = modality_values(numbers, dataset, frame)
            if self.window is not None:
                return to_pixels(values, self.window)
            if has_window(frame):
                return _shown(values, frame)
            if int(dataset.BitsAllocated) <= 8 and _is_plain(frame):
                top = 2 ** int(dataset.BitsStored) - 1
                return to_pixels(numbers.copy()) if top == 255 else to_pixels(values, (0.0, float(top)))
            return to_pixels(values, _percentiles(Stamp.of(file)))

        return _by_number(stored, pixels)


def _by_number(stored: npt.NDArray[Any], pixels: Callable[[npt.NDArray[Any]], Pixels]) -> Pixels:
    """What `pixels` makes of numbers (H, W), asked once for each number that there may be, as most are there often."""
    low, high = int(stored.min()), int(stored.max())
    if stored.dtype.kind not in "iu" or high - low >= stored.size:
        return pixels(stored)
    table = pixels(np.arange(low, high + 1, dtype=stored.dtype)[:, None])[:, 0]
    return np.asarray(table[np.subtract(stored, low, dtype=np.intp)])


def _colours(stored: npt.NDArray[Any], dataset: Dataset) -> Pixels:
    """Pixels of colours (H, W, 3 or 4), of which the fourth is dropped; deep ones by the bits that are in use."""
    colours = stored[:, :, :3]
    if colours.dtype == np.uint8:
        return to_pixels(colours.copy())
    return to_pixels(colours, (0.0, 2.0 ** int(dataset.BitsStored) - 1))


def modality_values(stored: npt.NDArray[Any], dataset: Dataset, frame: Dataset) -> npt.NDArray[Any]:
    """Stored numbers (H, W) in the units of their modality: by its LUT, slope and intercept, or scaling of doses."""
    from pydicom.pixels.processing import apply_modality_lut

    values: npt.NDArray[Any] = apply_modality_lut(stored, frame)
    scaling = dataset.get("DoseGridScaling")
    return values if scaling is None else values * float(scaling)


def _shown(values: npt.NDArray[Any], frame: Dataset) -> Pixels:
    """What the first window or VOI LUT of the header makes of values, its whole range as 0 to 1."""
    from pydicom.pixels.processing import apply_voi_lut, apply_windowing

    shown = apply_voi_lut(values, frame)
    if frame.get("VOILUTSequence"):
        return to_pixels(shown, (0.0, 2.0 ** int(frame.VOILUTSequence[0].LUTDescriptor[2]) - 1))
    with np.errstate(over="ignore"):
        low, high = apply_windowing(np.asarray([-np.inf, np.inf]), frame).tolist()
    return to_pixels(shown, (low, high))


def _is_plain(frame: Dataset) -> bool:
    """Whether the stored numbers are unsigned, and the values are the same."""
    slope, intercept = frame.get("RescaleSlope"), frame.get("RescaleIntercept")
    same = slope is None or intercept is None or (slope == 1 and intercept == 0)
    return same and int(frame.get("PixelRepresentation", 0)) == 0 and "ModalityLUTSequence" not in frame


@kept(64)
def _percentiles(stamp: Stamp) -> Window:
    """Percentiles of the values of some frames, evenly spread, without padding."""
    dataset = _dataset(stamp)
    frames = frames_of(dataset)
    some = sorted({k * frames // MOST_FRAMES for k in range(MOST_FRAMES)}) if frames > MOST_FRAMES else range(frames)
    return spread_of(np.concatenate([_unpadded(dataset, plane) for plane in some]))


def spread_of(values: npt.NDArray[Any]) -> Window:
    """The percentiles (low, high) of values that become 0 and 1; ValueError where they are one."""
    if not len(values):
        raise ValueError("every pixel is padding")
    low, high = percentiles(values, (LEAST, MOST))
    if not low < high:
        raise ValueError(f"all that lies between the percentiles {LEAST} and {MOST} is {low:g}: set data.window")
    return low, high


def _unpadded(dataset: Dataset, plane: int) -> npt.NDArray[Any]:
    stored = _stored(dataset, plane)
    return np.asarray(modality_values(stored, dataset, _frame(dataset, plane))[~padding(stored, dataset)])


def sampled_values(file: Path, plane: int = 0) -> npt.NDArray[Any]:
    """The values (n,) of a frame in the units of its modality, without padding: of them a series has percentiles."""
    with reading():
        return _unpadded(_dataset(Stamp.of(file)), plane)


def _frame(dataset: Dataset, plane: int) -> Dataset:
    """What the header says of the values of one frame, also in its functional groups."""
    from pydicom import Dataset

    frame = Dataset()
    frame.file_meta = dataset.file_meta
    for keyword in _OF_FILE:
        if keyword in dataset and dataset[keyword].value is not None:
            frame[keyword] = dataset[keyword]
    for group in functional_groups(dataset, plane):
        for sequence, keywords in _OF_FRAMES.items():
            for item in group.get(sequence) or ():
                for keyword in keywords:
                    if keyword in item:
                        frame[keyword] = item[keyword]
    return frame


def _stored(dataset: Dataset, plane: int) -> npt.NDArray[Any]:
    """The numbers of one frame as they are stored, unpacked: (H, W), or (H, W, 3) in RGB."""
    from pydicom.pixels.utils import pixel_array

    refuse_pixelless(dataset)
    stored = np.asarray(pixel_array(dataset, index=plane_of(frames_of(dataset), plane)))
    if stored.shape[:2] != (dataset.Rows, dataset.Columns):
        raise ValueError(f"its header claims {dataset.Rows} x {dataset.Columns} pixels, it holds {stored.shape}")
    return stored


def segment_names(file: Path) -> dict[int, str]:
    """Number and label of each segment of a segmentation, without the background, 0."""
    with reading():
        items = _dataset(Stamp.of(file)).get("SegmentSequence") or ()
        names = {int(item.SegmentNumber): str(item.get("SegmentLabel") or item.SegmentNumber) for item in items}
        return {number: name for number, name in names.items() if number}


def _segments(dataset: Dataset, plane: int) -> npt.NDArray[Any]:
    """The numbers of the segments (H, W) in a plane, 0 where there is none; ValueError where two are."""
    planes = planes_of([place_of(dataset, frame) for frame in range(frames_of(dataset))])
    numbers = np.zeros((int(dataset.Rows), int(dataset.Columns)), dtype=np.int64)
    for frame in planes[plane_of(len(planes), plane)]:
        stored = _stored(dataset, frame)
        if dataset.SegmentationType == "LABELMAP":
            return stored.astype(np.int64)
        top = int(dataset.get("MaximumFractionalValue") or 1) if dataset.SegmentationType == "FRACTIONAL" else 1
        if not np.isin(stored, (0, top)).all():
            raise ValueError("a segmentation of fractions, which are no classes")
        (number,) = [
            int(item.ReferencedSegmentNumber)
            for group in functional_groups(dataset, frame)
            for item in group.get("SegmentIdentificationSequence") or ()
        ]
        if (numbers[stored > 0] > 0).any():
            raise ValueError(f"segment {number} overlaps another one: a pixel has one class")
        numbers[stored > 0] = number
    return numbers


def tag_group(file: Path, keyword: str, where: str, name: str, key: str = "data.group") -> str:
    """The value of a keyword in the header of a file, which is its group or domain; InputError where there is none.

    A DICOM file that cannot be read has `name` for a group: it is refused, or left out, when its pixels are looked at.
    """
    if not is_keyword(keyword):
        raise UnknownName(f"{key}.tag", keyword, GROUPS)
    try:
        with reading():
            value = str(read_header(file, keywords=[keyword]).get(keyword) or "").strip()
    except (OSError, ValueError) as error:
        if file.name.lower().endswith(Dicom.SUFFIXES) or not file.is_file():
            return name
        raise InputError(where, f"DICOM with {keyword} ({key}.tag)", f"{name} ({error})") from error
    if not value:
        raise InputError(where, f"a value of {keyword} ({key}.tag)", f"none in {name}")
    return value


def is_keyword(text: str) -> bool:
    """Whether a text is the keyword of an attribute of the standard, as PatientID is."""
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(text) is not None


@kept(4)
def _dataset(stamp: Stamp) -> Dataset:
    return read_header(stamp.file, pixels=True)


def read_header(file: Path, *, pixels: bool = False, keywords: Sequence[str] = ()) -> Dataset:
    """The header of a file, with `keywords` these alone, or all of it with the pixels, still packed.

    ValueError where it is no DICOM file, or one that unpacks to more than the limit.
    """
    import pydicom

    with reading():
        with file.open("rb") as stream:
            head = stream.read(4096)
            if not Dicom.claims(head):
                raise ValueError("no DICOM file")
            if DEFLATED.encode() in head:
                _check_deflated(file)
        tags: list[Any] | None = list(keywords) or None
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=True, specific_tags=tags)
        if not len(dataset):
            raise ValueError("no DICOM file, or one cut short in its header")
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            uids = pydicom.uid
            plain = uids.ExplicitVRLittleEndian if little else uids.ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = uids.ImplicitVRLittleEndian if implicit else plain
        return dataset


def _check_deflated(file: Path) -> None:
    """ValueError where a deflated file holds more than the limit: it is unpacked as a whole."""
    import pydicom

    with file.open("rb") as stream:
        meta = pydicom.filereader.read_file_meta_info(file)
        stream.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        unpack, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (packed := stream.read(65536)) and not unpack.eof:
            while packed:
                total += len(unpack.decompress(packed, 1 << 24))
                packed = unpack.unconsumed_tail
                if total > MAX_BYTES:
                    raise ValueError(f"it unpacks to more than the limit of {MAX_BYTES} bytes")


@contextmanager
def reading() -> Iterator[None]:
    """`parsing`, for what pydicom and its decoders raise; their remarks are not printed."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with parsing("DICOM that cannot be read"), quiet():
        yield
