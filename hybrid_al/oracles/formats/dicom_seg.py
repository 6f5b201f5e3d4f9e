"""DICOM SEG by highdicom: segments on the images of a series, which it names one by one."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.types import IGNORE, AnnotationKind, BoolArray
from ...data.drawn.base import Mark
from ...errors import InputError, reading
from .base import UNKNOWN, Asked, Given, Instance, Item, Sheet
from .content import Content

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


class DicomSeg:
    """The DICOM files that are asked about, and segmentations whose segments are labeled with the classes."""

    TOOL: ClassVar[str] = "programs with DICOM SEG (3D Slicer, OHIF, MITK)"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = ("mask",)
    STEPS: ClassVar[tuple[str, ...]] = (
        "load images/, and the SEG of each series in start/, the model's proposal, where there is one",
        "the labels of segments are those of classes.txt; draw on the images that are there",
        "save a SEG for each series, all in one folder, and hand it in; where nothing is drawn an image waits, --empty "
        "says that there is nothing to draw",
        "the files hold what identifies patients, as the ones that they are copies of do",
    )

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`: DICOM, which as an answer is a SEG."""
        return any(map(is_dicom, content.heads))

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`; InputError for images that are no DICOM, and without highdicom."""
        with _library():
            import highdicom  # noqa: F401
        if other := next((item.id for item in sheet.items if item.instance is None), None):
            expected = "DICOM images, as a SEG names the files that it lies on (volumes go out as nifti or seg_nrrd)"
            raise InputError("--format", expected, other)
        (folder / "images").mkdir()
        (folder / "classes.txt").write_text("\n".join(sheet.labels) + "\n", encoding="utf-8")
        series: dict[str, list[Item]] = {}
        for item in sheet.items:
            assert item.instance is not None
            series.setdefault(item.instance.series, []).append(item)
        for number, items in enumerate(series.values(), 1):
            _write_series(sheet, items, number, folder)

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`; InputError for a SEG of other images, without the names of them, or of fractions."""
        with _library():
            import highdicom  # noqa: F401
        instances, out = asked.instances(), list[Given]()
        for file, head in zip(content.files, content.heads, strict=True):
            if not is_dicom(head):
                continue
            with reading(file, "a DICOM SEG on images of the query"):
                out += _given(file, instances, asked.say)
        return out


def is_dicom(head: bytes) -> bool:
    """By the word behind the preamble."""
    return head[128:132] == b"DICM"


def instance_of(file: Path, frame: int) -> Instance:
    """The UIDs of a DICOM image; InputError where the file says none."""
    with _library():
        import pydicom
    with reading(file, "a DICOM file with UIDs of series and instance"):
        tags = ["SOPInstanceUID", "SeriesInstanceUID"]
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        return Instance(file, frame, str(header.SeriesInstanceUID), str(header.SOPInstanceUID))


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError("dicom_seg", "highdicom (pip install 'hybrid-al[dicomseg]')", "none installed") from error


def _write_series(sheet: Sheet, items: Sequence[Item], number: int, folder: Path) -> None:
    """Write the files of a series and its proposals."""
    for file, of_file in _by_file(items).items():
        shutil.copyfile(file, folder / "images" / f"{of_file[0].name}.dcm")
    write_segs(sheet, items, number, folder / "start")


def _by_file(items: Sequence[Item]) -> dict[Path, list[Item]]:
    files: dict[Path, list[Item]] = {}
    for item in items:
        assert item.instance is not None
        files.setdefault(item.instance.file, []).append(item)
    return files


def write_segs(sheet: Sheet, items: Sequence[Item], number: int, folder: Path, *, by_hand: bool = False) -> None:
    """Write the proposals of images of one series as SEGs; none where nothing is drawn.

    by_hand  they are what people drew
    """
    import pydicom

    if not any(item.proposal is not None and _drawn(sheet, item).any() for item in items):
        return
    folder.mkdir(exist_ok=True)
    files = _by_file(items)
    for k, (file, of_file) in enumerate(files.items()):
        source = pydicom.dcmread(file)
        frames = int(source.get("NumberOfFrames", 1))
        if frames == 1 and k:
            continue  # single images of a series are one SEG
        every = [source] if frames > 1 else [pydicom.dcmread(one) for one in files]
        maps = np.zeros((frames if frames > 1 else len(every), *items[0].size, len(sheet.labels)), dtype=np.bool_)
        for place, item in enumerate(of_file if frames > 1 else [one for ones in files.values() for one in ones]):
            assert item.instance is not None
            maps[item.instance.frame if frames > 1 else place] = _drawn(sheet, item)
        if maps.any():
            target = folder / f"{of_file[0].name}.seg.dcm"
            with reading(file, "what a SEG takes over of its images"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they would say the names of patients
                segmentation(sheet, every, maps, number, by_hand=by_hand).save_as(target)


def _drawn(sheet: Sheet, item: Item) -> BoolArray:
    """The proposal of an image: (H, W, labels of the sheet)."""
    labels = item.proposal.labels if item.proposal else None
    numbers = [IGNORE if name == UNKNOWN else sheet.classes.index(name) for name in sheet.labels]
    if labels is None:
        return np.zeros((*item.size, len(numbers)), dtype=np.bool_)
    return np.stack([labels == c for c in numbers], axis=2)


def segmentation(
    sheet: Sheet, sources: list[Any], maps: BoolArray, number: int, *, by_hand: bool = False
) -> Segmentation:
    """A SEG of the segments (frames, H, W, labels) that are drawn somewhere, by the model or `by_hand`."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    program = version("hybrid-al")
    used = [k for k in range(maps.shape[3]) if maps[..., k].any()]
    algorithm = hd.AlgorithmIdentificationSequence(sheet.run[:64], codes.DCM.ArtificialIntelligence, program)
    segments = [
        hd.seg.SegmentDescription(
            segment_number=place,
            segment_label=sheet.labels[k],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues["MANUAL" if by_hand else "AUTOMATIC"],
            algorithm_identification=None if by_hand else algorithm,
        )
        for place, k in enumerate(used, 1)
    ]
    return hd.seg.Segmentation(
        sources,
        maps[..., used].astype(np.uint8),
        hd.seg.SegmentationTypeValues.BINARY,
        segments,
        series_instance_uid=hd.UID(),
        series_number=9000 + number,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="hybrid-al",
        manufacturer_model_name="hybrid-al",
        software_versions=program,
        device_serial_number="0",
    )


def _given(file: Path, instances: Mapping[Instance, str], say: Callable[[str], None]) -> list[Given]:
    """What a SEG says of the images of its series that may be answered."""
    import highdicom as hd

    seg = hd.seg.segread(file)
    if str(seg.SegmentationType) == "FRACTIONAL":
        raise ValueError("fractions, which are no classes")
    frames = list(_frames(seg))
    series = {str(one.SeriesInstanceUID) for one in seg.get("ReferencedSeriesSequence") or ()}
    own = {(one.uid, one.frame): name for one, name in instances.items()}
    images = {name: [] for one, name in instances.items() if one.series in series}  # type: dict[str, list[Any]]
    if not images:
        raise ValueError("the series of none of the images of the query")
    others = set()
    for uid, frame, label, mask in frames:
        name = own.get((uid, frame))
        if name is None:
            others.add((uid, frame))
        else:
            images.setdefault(name, []).append((label, mask))
    if others:
        say(f"{file.name}: labels on {len(others)} images that nobody asked about are not read")
    return [_image(f"{file.name} {name}", name, marks) for name, marks in images.items()]


def _image(where: str, name: str, drawn: Sequence[tuple[str, BoolArray]]) -> Given:
    for k, (label, mask) in enumerate(drawn):
        if clash := next((other for other, before in drawn[:k] if (before & mask).any() and other != label), None):
            raise ValueError(f"pixels of {label} that are {clash} too on {name}")
    size = drawn[0][1].shape if drawn else None
    marks = tuple(Mark(label, draw=partial(_same, mask)) for label, mask in drawn)
    return Given(where, name, None if size is None else (int(size[0]), int(size[1])), (), marks)


def _same(mask: BoolArray, height: int, width: int) -> BoolArray:
    return mask


def _frames(seg: Any) -> Iterator[tuple[str, int, str, BoolArray]]:
    """(instance, its frame from 0, label, mask) of each frame and segment with a pixel."""
    labels = {int(one.SegmentNumber): str(one.SegmentLabel) for one in seg.SegmentSequence}
    shared = (seg.get("SharedFunctionalGroupsSequence") or [{}])[0]
    pixels: npt.NDArray[Any] = np.asarray(seg.pixel_array).reshape(-1, int(seg.Rows), int(seg.Columns))
    for values, group in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        derivation = group.get("DerivationImageSequence") or shared.get("DerivationImageSequence")
        images = derivation[0].get("SourceImageSequence") if derivation else None
        if not images:
            raise ValueError("frames that do not name the image that they lie on (SourceImageSequence)")
        uid, frame = str(images[0].ReferencedSOPInstanceUID), images[0].get("ReferencedFrameNumber")
        identified = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        numbers = labels if identified is None else [int(identified[0].ReferencedSegmentNumber)]
        for number in numbers:
            mask = values == number if identified is None else values > 0
            if mask.any() and not (identified is None and number == 0):
                yield uid, 0 if frame is None else int(frame) - 1, labels[number], mask
