"""Files of images, volumes and tables: whole ones of each format, ways to spoil what they say, and their readers."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import openpyxl
import pydicom
import tifffile
from PIL import Image

from hybrid_al.data.base import Dataset
from hybrid_al.data.describe import describe
from hybrid_al.data.samples import reason
from hybrid_al.data.sources.dicom import DicomFolder
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.slides import Slides
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import HybridALError, UnreadableImages
from tests.fuzz.mutations import EDGES, Rng, Silent, numbers, spoil
from tests.helpers.slides import picture, write_slide

GREY = np.random.default_rng(0).integers(0, 256, (14, 12)).astype(np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (14, 12, 3)).astype(np.uint8)
VOXELS = np.random.default_rng(2).integers(0, 60000, (10, 12, 3)).astype(np.uint16)
DICOM = Path(pydicom.__file__).parent / "data" / "test_files"
DICOMS = (
    *("CT_small", "MR_small_RLE", "JPEG2000", "MR_small_jpeg_ls_lossless", "SC_rgb_jpeg_gdcm", "examples_palette"),
    *("liver_1frame", "rtdose", "rtplan", "image_dfl", "MR_small_bigendian"),
)
META = (
    b"ObjectType = Image\nNDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\n"
    b"DimSize = 10 12 3\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
)
Whole = tuple[str, bytes]
"""The ending of a name, and the content."""


def _image(kind: str, mode: str, **keys: Any) -> Whole:
    buffer = io.BytesIO()
    array: Any = {"RGB": COLOURS, "P": COLOURS, "CMYK": COLOURS, "I;16": VOXELS[:, :, 0]}.get(mode, GREY)
    Image.fromarray(array).convert(mode).save(buffer, kind, **keys)
    return f".{kind.lower()}", buffer.getvalue()


def images() -> list[Whole]:
    """Image files of Pillow's formats."""
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        *(("PNG", mode, {}) for mode in ("L", "RGB", "P", "1", "LA", "I;16")),
        *(("JPEG", mode, keys) for mode, keys in (("L", {}), ("RGB", {"progressive": True}), ("CMYK", {}))),
        *((kind, "RGB", {}) for kind in ("BMP", "PPM", "WEBP")),
        *(("GIF", "P", {}), ("PNG", "L", {"transparency": 3})),
    ]
    turned = Image.Exif()
    turned[274] = 6
    jp2 = _image("JPEG2000", "RGB")[1]
    return [*(_image(kind, mode, **keys) for kind, mode, keys in kinds), _image("PNG", "L", exif=turned), (".jp2", jp2)]


def tiffs() -> list[Whole]:
    """TIFF files: strips, tiles, pages, packed and not, classic and big."""
    pages = VOXELS.transpose(2, 1, 0)
    kinds: list[tuple[Any, dict[str, Any]]] = [
        *((pages, {"compression": packed}) for packed in (None, "lzw", "deflate", "packbits", "jpeg2000")),
        (GREY, {"compression": "jpeg"}),
        (COLOURS, {"tile": (16, 16), "compression": "zstd"}),
        (pages[0].astype(np.float32), {"bigtiff": True}),
        (pages, {"ome": True}),
        (pages, {"imagej": True}),
        (GREY > 99, {"photometric": "miniswhite"}),
    ]
    files = []
    for array, keys in kinds:
        colours = {"photometric": "rgb" if array.shape[-1] == 3 else "minisblack"}
        tifffile.imwrite(buffer := io.BytesIO(), array, **{**colours, **keys})
        files.append((".tif", buffer.getvalue()))
    return files


def slides() -> list[Whole]:
    """Slides: levels in pages or below a page, packed in several ways, with a resolution or without."""
    import tiffslide  # noqa: F401  (once, in the parent of all children)

    files = []
    with tempfile.TemporaryDirectory() as folder:
        kinds: tuple[dict[str, Any], ...] = (
            {},
            {"kind": "pages", "compression": "jpeg"},
            {"kind": "flat"},
            {"compression": None, "mpp": None},
        )
        for keys in kinds:
            file = write_slide(Path(folder) / "a.tif", picture(128, 160, (slice(0, 128), slice(0, 96))), **keys)
            files += [(ending, file.read_bytes()) for ending in (".tif", ".svs")]
    return files


def dicoms() -> list[Whole]:
    """DICOM files that come with pydicom, of several transfer syntaxes."""
    return [(".dcm", (DICOM / f"{name}.dcm").read_bytes()) for name in DICOMS]


def volumes() -> list[Whole]:
    """NIfTI-1 and 2, packed and not, NRRD and MetaImage."""
    files = []
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        for dtype in (np.uint8, np.int16, np.float32):
            content = kind(VOXELS.astype(dtype), np.diag([1, 1, 2, 1])).to_bytes()
            files += [(".nii", content), (".nii.gz", gzip.compress(content, mtime=0))]
    header: dict[str, Any] = {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0]}
    for packed in ("raw", "gzip"):
        nrrd.write(buffer := io.BytesIO(), VOXELS, {**header, "encoding": packed})
        files.append((".nrrd", buffer.getvalue()))
    data = VOXELS.tobytes(order="F")
    small = META.replace(b"ElementData", b"CompressedData = True\nElementData")
    return [*files, (".mha", META + data), (".mha", small + zlib.compress(data))]


def arrays() -> list[Whole]:
    """NPY files."""
    files = []
    for array in (GREY, COLOURS, VOXELS, VOXELS.astype(np.float32), np.asfortranarray(VOXELS), GREY > 99):
        np.save(buffer := io.BytesIO(), array)
        files.append((".npy", buffer.getvalue()))
    return files


def tables() -> list[Whole]:
    """Tables of files, labels and patients: CSV, Excel, JSON lines."""
    rows = [("file", "label", "patient"), *((f"images/{i}.png", "ab"[i % 2], f"p{i // 2}") for i in range(6))]
    text = "".join(",".join(row) + "\n" for row in rows)
    objects = "".join(f"{json.dumps(dict(zip(rows[0], row, strict=True)))}\n" for row in rows[1:])
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(buffer := io.BytesIO())
    plain = [(".csv", text.encode()), (".csv", text.replace(",", ";").encode("utf-16"))]
    tabbed = (".tsv", text.replace(",", "\t").encode("latin-1"))
    return [*plain, tabbed, (".jsonl", objects.encode()), *[(".xlsx", buffer.getvalue())] * 3]


def outlines() -> list[Whole]:
    """Outlines of three images of 14 x 12 pixels in COCO, of one in GeoJSON."""
    square = [[2, 2], [9, 2], [9, 9], [2, 9], [2, 2]]
    corners = [v for corner in square for v in corner]
    masks = ([corners], {"size": [14, 12], "counts": [20, 30, 118]}, {"size": [14, 12], "counts": "d0n0f3"})
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 14, "width": 12} for i in range(3)],
        "annotations": [
            {"id": k, "image_id": k % 3, "category_id": k % 2, "segmentation": masks[k % 3], "bbox": [2, 2, 7, 7]}
            for k in range(6)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate("bc")],
    }
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "b"}}}
        for geometry in (
            {"type": "Polygon", "coordinates": [square, square]},
            {"type": "MultiPolygon", "coordinates": [[square], [square]]},
        )
    ]
    collection = {"type": "FeatureCollection", "features": features}
    return [(".json", json.dumps(coco).encode()), (".geojson", json.dumps(collection).encode())]


def _same(rng: Rng, data: bytes) -> bytes:
    return spoil(rng, data)


def in_png(rng: Rng, data: bytes) -> bytes:
    """A PNG, one of whose chunks is spoiled, with sums that are right: the parsers of chunks get to see it."""
    out, place, chosen = [data[:8]], 8, int(rng.integers(4))
    for number in range(100):
        if place + 8 > len(data):
            break
        length = int.from_bytes(data[place : place + 4], "big")
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if number == chosen:
            body = numbers(rng, body) if rng.random() < 0.6 else spoil(rng, body)
        out.append(len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big"))
        place += 12 + length
    return b"".join(out)


def in_zip(rng: Rng, data: bytes) -> bytes:
    """A ZIP file, some of whose members are spoiled."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = int(rng.integers(len(old.namelist())))
        for number, member in enumerate(old.namelist()):
            content = old.read(member)
            new.writestr(member, spoil(rng, content) if number == chosen else content)
    return buffer.getvalue()


def in_dicom(rng: Rng, data: bytes) -> bytes:
    """A DICOM file in which one to three elements have another value, or are not there."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    elements = [element for element in dataset if element.VR != "SQ"]
    for _ in range(int(rng.integers(1, 4))):
        element = elements[int(rng.integers(len(elements)))]
        if rng.random() < 0.3:
            dataset.pop(element.tag, None)
        elif isinstance(element.value, int):
            element._value = (0, 1, 2, 3, 7, 255, 32768, 65535)[int(rng.integers(8))]
        else:
            element._value = EDGES[int(rng.integers(len(EDGES)))]
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(buffer)
    except Exception:  # noqa: BLE001 (whatever the library raises)
        return spoil(rng, data)  # what pydicom does not write
    return buffer.getvalue()


def packed_again(rng: Rng, data: bytes) -> bytes:
    """What a gzip file holds, spoiled and packed."""
    return gzip.compress(numbers(rng, gzip.decompress(data), 400), mtime=0)


def in_header(rng: Rng, data: bytes) -> bytes:
    """Numbers in the first bytes are others."""
    return numbers(rng, data, 400)


def in_text(rng: Rng, data: bytes) -> bytes:
    """Words in the text at the beginning are others."""
    words = data[:600].split(b" ")
    words[int(rng.integers(len(words)))] = str(EDGES[int(rng.integers(len(EDGES)))])[:200].encode()
    return b" ".join(words) + data[600:]


def in_json(rng: Rng, data: bytes) -> bytes:
    """JSON in which one value, deep inside, is another."""
    place = value = json.loads(data)
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[int(rng.integers(len(keys)))]
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.1:
            break
        place = place[key]
    place[key] = EDGES[int(rng.integers(len(EDGES)))]
    return json.dumps(value, default=str).encode("utf-8", "surrogatepass")


WAYS: dict[str, Callable[[Rng, bytes], bytes]] = {
    **{".png": in_png, ".xlsx": in_zip, ".dcm": in_dicom, ".nii.gz": packed_again},
    **dict.fromkeys((".nii", ".tif", ".svs", ".bmp", ".gif", ".webp", ".jp2", ".jpeg"), in_header),
    **dict.fromkeys((".nrrd", ".mha", ".npy", ".ppm", ".xml"), in_text),
    **dict.fromkeys((".json", ".geojson"), in_json),
}
"""Ending of a name -> how what such a file says is spoiled, beside its bytes."""


class Readable:
    """A format whose files lie in a folder of data; see `Target`."""

    def __init__(self, name: str, whole: Callable[[], list[Whole]], load: Callable[[Path, Path], None], folder: Path):
        self.name, self.whole, self.load, self.folder = name, whole(), load, folder

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        (ending, data), (_, other) = (self.whole[int(rng.integers(len(self.whole)))] for _ in range(2))
        if ending in WAYS and rng.random() < 0.5:
            return f"{number}{ending}", WAYS[ending](rng, data)
        return f"{number}{ending}", spoil(rng, data, other)

    def play(self, file: Path) -> None:
        """See `Target`."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "images").mkdir(parents=True)
        self.load(self.folder, file)


def _pixels(dataset: Dataset) -> None:
    """Read some samples, whose pixels are as the header says."""
    for i in np.unique(np.linspace(0, len(dataset.manifest) - 1, 4).astype(int)).tolist():
        try:
            pixels = dataset.read(i)
        except (OSError, ValueError) as error:  # as readers raise; the stores name the file
            raise UnreadableImages([(dataset.manifest.paths[i], reason(error))]) from error
        if pixels.ndim != 3 or pixels.shape[2] > max(3, dataset.channels):
            raise Silent(f"pixels of shape {pixels.shape}")
        if pixels.dtype != np.uint8 and not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise Silent("pixels that are no numbers from 0 to 1")


def _all(main: Callable[[], object], *others: Callable[[], object]) -> None:
    """Call all; what the others refuse is no matter."""
    for call in others:
        with suppress(HybridALError):
            call()
    main()


def _as_images(folder: Path, file: Path) -> None:
    """As an image among images, and as a mask; a draft of a recipe too."""
    ending = "".join(file.suffixes)
    shutil.copy(file, folder / "images" / f"spoiled{ending}")
    (folder / "masks").mkdir()
    shutil.copy(file, folder / "masks" / f"spoiled{ending}")
    root, reader = folder / "images", "npy" if ending == ".npy" else "auto"
    source = Folder(root, group="none", labels="none", reader=reader)
    masks = Folder(root, group="none", masks=folder / "masks", classes=["a", "b"], on_error="skip", reader=reader)
    _all(lambda: _pixels(source.load()), masks.load, lambda: describe(root))


def _as_dicom(folder: Path, file: Path) -> None:
    shutil.copy(file, folder / "images" / "spoiled.dcm")
    root = folder / "images"
    by_frame = DicomFolder(root, sample="file", group="none")
    _all(lambda: _pixels(by_frame.load()), DicomFolder(root).load, lambda: describe(root))


def _as_slide(folder: Path, file: Path) -> None:
    shutil.copy(file, folder / "images" / f"spoiled{file.suffix}")
    root = folder / "images"
    _all(
        lambda: _pixels(Slides(root, level=0, tile=64).load()),
        Slides(root, mpp=1.0, tile=32).load,
        lambda: describe(root),
    )


def _as_table(folder: Path, file: Path) -> None:
    for i in range(6):
        Image.fromarray(GREY).save(folder / "images" / f"{i}.png")
    table = folder / f"table{file.suffix}"
    shutil.copy(file, table)
    _all(lambda: Csv(table, {"path": "file", "label": "label", "group": "patient"}).load(), lambda: describe(table))


def _as_outlines(folder: Path, file: Path) -> None:
    for i in range(3):
        Image.fromarray(GREY).save(folder / "images" / f"{i}.png")
    masks = folder / "outlines.json"
    if file.suffix == ".geojson":
        (masks := folder / "masks").mkdir()
    shutil.copy(file, masks / "0.geojson" if masks.is_dir() else masks)
    found = Folder(folder / "images", group="none", masks=masks, classes=["a", "b", "c"]).load().masks
    assert found is not None
    for i in np.flatnonzero(found.labeled).tolist():
        try:
            labels = found.read(i)
        except (OSError, ValueError) as error:  # as the store of masks does
            raise UnreadableImages([(f"{i}.png", reason(error))]) from error
        if labels.shape != GREY.shape or labels.dtype != np.uint8:
            raise Silent(f"a label map {labels.dtype} of shape {labels.shape}")


READABLE: dict[str, Callable[[Path], Readable]] = {
    name: partial(Readable, name, whole, load)
    for name, whole, load in (
        ("images", images, _as_images),
        ("tiff", tiffs, _as_images),
        ("dicom", dicoms, _as_dicom),
        ("volumes", volumes, _as_images),
        ("npy", arrays, _as_images),
        ("tables", tables, _as_table),
        ("outlines", outlines, _as_outlines),
        ("slides", slides, _as_slide),
    )
}
