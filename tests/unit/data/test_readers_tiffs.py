"""TIFF of any depth is read as tifffile reads it; what cannot be read right is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from hybrid_al.data.readers import choose
from hybrid_al.data.readers.images import decode as by_pillow
from hybrid_al.data.readers.tiffs import Tiffs
from hybrid_al.data.sources.folder import Folder

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 10), dtype=np.uint8)


def write(path: Path, array: Any, **how: Any) -> Path:
    tifffile.imwrite(path, array, metadata=None, **how)
    return path


@pytest.mark.parametrize("packed", [None, "lzw", "zlib", "packbits", "zstd"])
def test_grey_of_8_16_and_32_bits(tmp_path: Path, packed: str | None) -> None:
    for dtype in (np.uint8, np.uint16, np.uint32):
        array = RNG.integers(0, np.iinfo(dtype).max, (12, 10), dtype=dtype, endpoint=True)
        file = write(tmp_path / "1.tif", array, photometric="minisblack", compression=packed)
        pixels = Tiffs().decode(file)[:, :, 0]
        if dtype is np.uint8:
            np.testing.assert_array_equal(pixels, array)
        else:
            np.testing.assert_allclose(pixels, array / np.iinfo(dtype).max, atol=1e-6)
        assert Tiffs().probe(file).span == (() if dtype is np.uint8 else (0, np.iinfo(dtype).max))
        np.testing.assert_array_equal(Tiffs().values(file), array)


def test_twelve_bits_use_their_whole_range(tmp_path: Path) -> None:
    array = RNG.integers(0, 4096, (12, 10), dtype=np.uint16)
    packed = np.zeros((12, 15), dtype=np.uint8)
    packed[:, 0::3], packed[:, 1::3] = array[:, 0::2] >> 4, ((array[:, 0::2] & 15) << 4) | (array[:, 1::2] >> 8)
    packed[:, 2::3] = array[:, 1::2] & 255
    with tifffile.TiffWriter(tmp_path / "1.tif") as out:
        strips = iter([packed.tobytes()])
        out.write(strips, shape=(12, 10), dtype=np.uint16, bitspersample=12, photometric="minisblack", rowsperstrip=12,
                  compression="none")  # fmt: skip
    if not np.array_equal(tifffile.imread(tmp_path / "1.tif"), array):
        pytest.skip("this tifffile writes no 12 bits")
    np.testing.assert_allclose(Tiffs().decode(tmp_path / "1.tif")[:, :, 0], array / 4095, atol=1e-6)


def test_signed_and_float_need_a_window(tmp_path: Path) -> None:
    signed = write(tmp_path / "1.tif", GREY.astype(np.int16) - 100)
    with pytest.raises(ValueError, match=r"set data\.window"):
        Tiffs().decode(signed)
    np.testing.assert_allclose(Tiffs((-100, 155)).decode(signed)[:, :, 0], GREY / 255, atol=1e-6)
    fractions = write(tmp_path / "2.tif", GREY.astype(np.float32) / 255)
    np.testing.assert_allclose(Tiffs().decode(fractions)[:, :, 0], GREY / 255, atol=1e-6)


def test_deep_colours_alpha_planes_apart_and_palettes(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (12, 10, 3), dtype=np.uint16)
    np.testing.assert_allclose(
        Tiffs().decode(write(tmp_path / "1.tif", deep, photometric="rgb")), deep / 65535, atol=1e-6
    )
    apart = write(tmp_path / "2.tif", np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(Tiffs().decode(apart), deep / 65535, atol=1e-6)
    alpha = RNG.integers(0, 256, (12, 10, 4), dtype=np.uint8)
    file = write(tmp_path / "3.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(Tiffs().decode(file), alpha[:, :, :3])
    colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * np.uint16(257)
    file = write(tmp_path / "4.tif", GREY, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(Tiffs().decode(file), (colours.T >> 8)[GREY])
    np.testing.assert_array_equal(Tiffs().values(file), GREY)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_what_pillow_reads_is_the_same_and_upright(tmp_path: Path, mode: str, orientation: int, quarters: int) -> None:
    colours = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    deep = mode.startswith("I")
    image = Image.fromarray(GREY.astype(np.uint16) * np.uint16(200)) if deep else Image.fromarray(colours).convert(mode)
    image.save(tmp_path / "0.tif")
    image.save(tmp_path / "1.tif", tiffinfo={274: orientation})
    header = Tiffs().probe(tmp_path / "1.tif")
    expected, pixels = np.rot90(by_pillow(tmp_path / "0.tif"), quarters), Tiffs().decode(tmp_path / "1.tif")
    assert pixels.dtype == expected.dtype and pixels.shape == (header.height, header.width, header.channels)
    np.testing.assert_allclose(pixels.astype(np.float64), expected, atol=1 if mode == "CMYK" else 1e-6)


def test_white_is_zero(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        Tiffs().decode(write(tmp_path / "1.tif", GREY, photometric="miniswhite"))[:, :, 0], 255 - GREY
    )


def test_pages_are_slices(tmp_path: Path) -> None:
    pages = RNG.integers(0, 65536, (6, 12, 10), dtype=np.uint16)
    write(tmp_path / "a.tif", pages, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.ome.tif", pages.reshape(3, 2, 12, 10), metadata={"axes": "ZCYX"})
    data = Folder(tmp_path, group="none").load()
    assert data.manifest.ids == tuple(f"{name}#{z}" for name in ("a.tif", "b.ome.tif") for z in range(6))
    for i in range(12):
        np.testing.assert_allclose(data.read(i)[:, :, 0], pages[i % 6] / 65535, atol=1e-6)


def test_what_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as out:
        out.write(GREY, photometric="minisblack")
        out.write(GREY[::2, ::2], photometric="minisblack")
    write(tmp_path / "channels.tif", RNG.integers(0, 9, (12, 10, 5), dtype=np.uint8), photometric="minisblack",
          planarconfig="contig")  # fmt: skip
    write(tmp_path / "complex.tif", GREY.astype(np.complex64))
    for name, reason in (("pyramid", "not alike"), ("channels", "5 channels"), ("complex", "complex64")):
        with pytest.raises(ValueError, match=reason):
            Tiffs().probe(tmp_path / f"{name}.tif")
    lossy = write(tmp_path / "lossy.tif", GREY, photometric="minisblack", compression="jpeg")
    assert choose().name(lossy) == "tiffs" and Tiffs().decode(lossy).shape == (12, 10, 1)
    with pytest.raises(ValueError, match="JPEG may change the values of a mask"):
        Tiffs().values(lossy)
