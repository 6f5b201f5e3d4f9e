"""Label files of clients: what one says of an image, and the file of a label map."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.temporary import scratch_folder
from ..core.types import AnnotationKind, LabelMap
from ..data.drawn.base import Mark
from ..errors import InputError, reading
from ..oracles.base import NONE, SEPARATOR, SKIP
from ..oracles.formats.base import WORDS, Asked, Given, Reference
from ..oracles.formats.content import Content
from ..oracles.formats.geojson import GeoJson
from ..oracles.formats.nifti import read_values
from ..oracles.formats.seg_nrrd import SegNrrd
from ..oracles.formats.voxels import FLAT, by_values, flat, given
from . import asap
from .forms import Part, mapping

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

LABEL, MORE = "label", ("reason", "comment", "seconds")
"""The keys of a label in JSON."""
VOXELS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
TEXTS = (".xml", ".geojson")
OTHERS = (".json", ".png", ".bin")
HEAD = 65_536  # bytes, in which the header of a segmentation names its first segment
BACKGROUND = ""


class LabelFile:
    """A label file and the `params` beside it, about an image of height and width `size`.

    labels  what may be said, of value 1 on in a file of values; `params.label_info` names others, by their order
    """

    def __init__(self, part: Part, params: Mapping[str, Any], size: tuple[int, int], labels: Sequence[str]) -> None:
        self.name = PurePosixPath((part.file or "").replace("\\", "/")).name
        self._part, self._size = part, size
        self._labels = _segments(params) or list(labels)

    def answer(self, kind: AnnotationKind, classes: Sequence[str]) -> tuple[dict[str, Any], tuple[Mark, ...]]:
        """Keys of a `Submission`, and the marks of one that is drawn; InputError for a file that says none."""
        if self.name.lower().endswith(".json"):
            return self._in_words(kind), ()
        one = self._given(kind, classes)
        if one.size not in (None, self._size):
            self._refuse_size(one.size)
        names = tuple(dict.fromkeys([*one.words, *(mark.label for mark in one.marks)]))
        words = tuple(name for name in names if name in (NONE, SKIP))
        if kind not in WORDS:
            if words and len(names) > 1:
                raise InputError(f"label {self.name}", f"areas, or {NONE} or {SKIP} alone", ", ".join(names))
            return ({"kind": "skip"}, ()) if words == (SKIP,) else ({"kind": "answer"}, () if words else one.marks)
        if not names:
            raise InputError(f"label {self.name}", "an area that has the name of a class", "nothing drawn")
        return _words(names), ()

    def slices(
        self, kind: AnnotationKind, classes: Sequence[str], reference: Reference, *, asked_only: bool
    ) -> tuple[dict[str, Any], dict[str, tuple[Mark, ...]]]:
        """As `answer`, of the slices of a volume: keys that are those of all, and the marks of each by its name.

        asked_only  what is drawn on other slices is left out; else it is an InputError
        """
        if self.name.lower().endswith(".json"):
            return self._in_words(kind), dict.fromkeys(reference.images.values(), ())
        suffix = next((end for end in VOXELS if self.name.lower().endswith(end)), None)
        if suffix is None:
            raise InputError("label", f"a label volume ({', '.join(VOXELS)}), or .json", repr(self.name))
        beside: list[str] = []
        values = {0: BACKGROUND} | dict(enumerate(self._labels, 1))
        given = self._parse(suffix, Asked(kind, tuple(classes), values, lambda _: reference, beside.append))
        if beside and not asked_only:
            numbers = ", ".join(map(str, reference.images))
            expected = (
                f"areas on the slices that are asked about, {numbers} from 0 (serve --asked-only leaves others out)"
            )
            raise InputError(f"label {self.name}", expected, "areas on others too")
        return {"kind": "answer"}, {one.image: one.marks for one in given}

    def _in_words(self, kind: AnnotationKind) -> dict[str, Any]:
        plain = mapping(f"label {self.name}", self._part.data)
        unknown = plain.keys() - {LABEL, *MORE}
        text = plain.get(LABEL)
        if unknown or not isinstance(text, str) or not text:
            came = f"the key {min(unknown)!r}" if unknown else repr(text)
            raise InputError(f"label {self.name}", f"{LABEL}: a text, and maybe {', '.join(MORE)}", came)
        names = tuple(name.strip() for name in text.split(SEPARATOR))
        if kind not in WORDS and names not in ((NONE,), (SKIP,)):
            raise InputError(f"label {self.name}", f"a mask, or {NONE} or {SKIP}", repr(text))
        return _words(names) | {key: plain[key] for key in MORE if key in plain}

    def _given(self, kind: AnnotationKind, classes: Sequence[str]) -> Given:
        """What a file of areas says."""
        name, (height, width) = self.name.lower(), self._size
        suffix = next((end for end in (*VOXELS, *TEXTS, *OTHERS) if name.endswith(end)), None)
        if suffix is None:
            raise InputError("label", f"a file ending in {', '.join((*VOXELS, *TEXTS, *OTHERS))}", repr(self.name))
        values = {0: BACKGROUND} | dict(enumerate(self._labels, 1))
        lies_on = Reference((width, height, 1), FLAT, {0: self.name})
        asked = Asked(kind, tuple(classes), values, lambda _: lies_on)
        return self._parse(suffix, asked)[0]

    def _parse(self, suffix: str, asked: Asked) -> Sequence[Given]:
        with scratch_folder() as folder, reading(f"label {self.name}", "a label file of the image"):
            file = Path(folder) / f"label{suffix}"
            file.write_bytes(self._part.data)
            try:
                return self._read(file, suffix, asked)
            except InputError as error:
                raise error.at(f"label {self.name}") from None

    def _read(self, file: Path, suffix: str, asked: Asked) -> Sequence[Given]:
        if suffix == ".xml":
            return [asap.read(file)]
        if suffix == ".geojson":
            return GeoJson.read(Content(file), asked)
        if suffix in (".png", ".bin"):
            voxels = self._pixels(suffix).T[:, :, None]
            drawn = [(name, mask) for name, mask in by_values(voxels, asked.values) if name != BACKGROUND]
            return given(file, drawn, FLAT, asked)
        if suffix == ".nrrd" and b"\nSegment0_" in self._part.data[:HEAD]:
            return SegNrrd.read(Content(file), asked)
        return read_values(file, asked)

    def _pixels(self, suffix: str) -> npt.NDArray[Any]:
        if suffix == ".bin":
            if len(self._part.data) != self._size[0] * self._size[1]:
                raise ValueError(
                    f"{len(self._part.data)} bytes, its image has {self._size[0]} x {self._size[1]} pixels"
                )
            return np.frombuffer(self._part.data, dtype=np.uint8).reshape(self._size)
        with Image.open(io.BytesIO(self._part.data), formats=["PNG"]) as image:
            if image.size != (self._size[1], self._size[0]):
                self._refuse_size((image.size[1], image.size[0]))
            if image.mode not in ("L", "P", "I;16"):
                raise ValueError(f"a PNG of mode {image.mode}, expected grey values that are numbers of labels")
            return np.asarray(image)

    def _refuse_size(self, size: tuple[int, int] | None) -> None:
        expected = "{} x {} pixels (height x width) as its image has".format(*self._size)
        raise InputError(f"label {self.name}", expected, "{} x {}".format(*(size or ())))


def _words(names: tuple[str, ...]) -> dict[str, Any]:
    """A submission of names."""
    if SKIP in names or NONE in names:
        if len(names) > 1:
            raise InputError("label", f"classes, or {NONE} or {SKIP} alone", ", ".join(names))
        return {"kind": "skip"} if names == (SKIP,) else {"kind": "answer", "classes": ()}
    return {"kind": "answer", "classes": names}


def _segments(params: Mapping[str, Any]) -> list[str]:
    """The names of segments by the order of their values, as `params.label_info` gives them; maybe none."""
    info = params.get("label_info") or []
    if not isinstance(info, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in info
    ):
        raise InputError("params.label_info", "a list of segments, each with a name", repr(info)[:100])
    for value, one in enumerate(info, 1):
        if one.get("idx", value) != value:
            expected = "segments numbered from 1 on, without another one between (no background, no scribbles)"
            raise InputError("params.label_info", expected, f"{one['name']!r} with {one['idx']!r} at place {value}")
    return [str(one["name"]) for one in info]


def label_file(labels: LabelMap | Nifti1Image, suffix: str) -> tuple[bytes, str]:
    """(bytes, ending) of a volume of labels, or of a label map (H, W) as one slice: plain NRRD, or packed NIfTI."""
    volume = flat(labels) if isinstance(labels, np.ndarray) else labels
    if suffix.endswith(".nrrd"):
        return _nrrd(np.asarray(volume.dataobj), volume.affine), ".nrrd"
    return gzip.compress(volume.to_bytes(), mtime=0), ".nii.gz"


def _nrrd(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> bytes:
    """Voxels (X, Y, Z), whose affine says where they lie in millimetres to the right, to the front and up."""
    left_back = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    vectors = [",".join(f"{float(n) + 0:.10g}" for n in column) for column in left_back.T]
    lines = (
        "NRRD0004",
        "type: unsigned char",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, voxels.shape))}",
        f"space directions: {' '.join(f'({vector})' for vector in vectors[:3])}",
        "kinds: domain domain domain",
        "encoding: raw",
        f"space origin: ({vectors[3]})",
    )
    return "\n".join([*lines, "", ""]).encode() + voxels.astype(np.uint8).tobytes(order="F")
