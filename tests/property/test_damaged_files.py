"""Mutated files of every format end in pixels, a table, or one clear line: never in another error, or in no end."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import openpyxl
import pydicom
import pytest
import tifffile

from hybrid_al.data.readers import choose
from hybrid_al.data.studies import read_facts
from hybrid_al.data.tables import read_table
from hybrid_al.errors import InputError

CASES = 60
DICOM = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = (
    "MR_small_RLE",
    "JPEG2000",
    "MR_small_jpeg_ls_lossless",
    "SC_rgb_jpeg_gdcm",
    "examples_palette",
    "liver_1frame",
)
VOXELS = np.random.default_rng(0).integers(0, 60000, (3, 12, 10)).astype(np.uint16)
META = (
    b"ObjectType = Image\nNDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\n"
    b"DimSize = 10 12 3\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
)


def write_xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    for i in range(5):
        book.active.append([f"a{i}", i, 0.5])
    book.save(path)


def write_nrrd(path: Path) -> None:
    nrrd.write(str(path), VOXELS, {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0]})


WRITERS: dict[str, Callable[[Path], Any]] = {
    **{f"{name}.dcm": partial(shutil.copyfile, DICOM / f"{name}.dcm") for name in (*NAMES, "rtdose", "rtplan")},
    "plain.tif": lambda path: tifffile.imwrite(path, VOXELS, metadata=None, photometric="minisblack"),
    "packed.tif": lambda path: tifffile.imwrite(
        path, VOXELS, metadata=None, photometric="minisblack", compression="lzw"
    ),
    "v.nrrd": write_nrrd,
    "v.mha": lambda path: path.write_bytes(META + VOXELS.tobytes()),
    "v.npy": lambda path: np.save(path, VOXELS),
    "t.xlsx": write_xlsx,
    "t.jsonl": lambda path: path.write_bytes(b'{"a": "1", "b": 2}\n{"a": "3", "b": null}\n'),
}


def mutated(whole: bytes, rng: random.Random) -> bytes:
    data = bytearray(whole)
    head = min(len(data), rng.choice([200, 1200, len(data)]))
    for _ in range(rng.choice([1, 2, 5, 20])):
        place, kind = rng.randrange(max(1, min(head, len(data)))), rng.random()
        if kind < 0.6 and data:
            data[place] = rng.choice([0, 255, rng.randrange(256)])
        elif kind < 0.75:
            del data[place : place + rng.choice([1, 2, 8, 100])]
        elif kind < 0.9:
            data[place:place] = rng.randbytes(rng.choice([1, 4, 30]))
        else:
            data = data[: rng.randrange(len(data) + 1)]
    return bytes(data)


def readings(file: Path) -> Iterator[Callable[[], object]]:
    if file.suffix in (".xlsx", ".jsonl"):
        yield lambda: read_table(file)
        return
    yield lambda: choose().of(file).probe(file)
    yield lambda: choose().of(file).decode(file)
    yield lambda: choose().of(file).values(file)
    if file.suffix == ".dcm":
        yield lambda: read_facts(file, ["PatientID"])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_each_ends_in_a_result_or_in_one_line(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    whole, rng = (tmp_path / name).read_bytes(), random.Random(name)
    for case in range(CASES):
        file = tmp_path / f"{case}-{name}"
        file.write_bytes(mutated(whole, rng))
        for reading in readings(file):
            with suppress(OSError):
                try:
                    reading()
                except (ValueError, InputError) as error:
                    assert str(error).strip() and len(str(error).splitlines()) == 1
        file.unlink()
