"""Decoding, resizing and converting images."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from hybrid_al.components import source
from hybrid_al.core import limits
from hybrid_al.data.pixels import resize, to_channels, to_pixels, to_uint8
from hybrid_al.data.readers.images import decode, probe, read_values
from hybrid_al.recipe import parse

RAMP = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


def png(array: npt.NDArray[Any], **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG", **options)
    out.seek(0)
    return out


def saved(image: Image.Image, format: str, **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, format=format, **options)
    out.seek(0)
    return out


def huge_png(width: int, height: int) -> io.BytesIO:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + body)


def test_grey_stays_one_channel() -> None:
    pixels = decode(png(RAMP))
    assert pixels.shape == (12, 16, 1) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[:, :, 0], RAMP)


def test_sixteen_bits_become_float() -> None:
    deep = (RAMP.astype(np.uint16) * 257)[::-1]
    pixels = decode(png(deep))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, :, 0], deep / 65535.0, atol=1e-7)


def test_deep_pgm_is_scaled_as_deep_png() -> None:
    deep = RAMP.astype(">u2") * 257
    file = io.BytesIO(b"P5 16 12 65535\n" + deep.tobytes())
    np.testing.assert_allclose(decode(file)[:, :, 0], RAMP / 255.0, atol=1e-6)


def test_window_maps_and_clips() -> None:
    deep = np.asarray([[0, 100, 200, 300, 1000]], dtype=np.uint16)
    pixels = decode(png(deep), window=(100, 300))
    np.testing.assert_allclose(pixels[0, :, 0], [0, 0, 0.5, 1, 1])
    assert decode(png(RAMP), window=(0, 100)).dtype == np.float32


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_modes_become_grey_or_rgb(mode: str) -> None:
    image = Image.fromarray(np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)).convert(mode)
    file = saved(image, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    pixels = decode(file)
    assert pixels.shape == (12, 16, 1 if mode in ("1", "LA") else 3) and pixels.dtype == np.uint8
    file.seek(0)
    assert probe(file) == pixels.shape


def test_palette_with_alpha_gives_its_colours_without_a_warning() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    file = saved(image, "PNG", transparency=bytes([0, 128]))
    np.testing.assert_array_equal(decode(file)[0], [[10, 20, 30], [40, 50, 60]])


def test_orientation_is_applied() -> None:
    image = Image.fromarray(RAMP)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    pixels = decode(saved(image, "PNG", exif=exif))
    np.testing.assert_array_equal(pixels[:, :, 0], np.rot90(RAMP, 3))


def test_several_frames_are_refused() -> None:
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP[::-1])]
    with pytest.raises(ValueError, match="2 frames"):
        decode(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_a_header_that_claims_too_much_is_refused_before_decoding(side: int) -> None:
    with pytest.raises(ValueError, match=r"(11000 x 11000 is|3600000000 pixels are) more than the limit of 100000000"):
        decode(huge_png(side, side))


def test_a_recipe_raises_and_lowers_the_limits() -> None:
    usual = limits.limits()
    try:
        source(
            parse({"name": "a", "data": {"source": "phantom", "max_pixels": 400_000_000, "max_voxels": 500_000_000}})
        )
        assert probe(huge_png(15_000, 15_000)) == (15_000, 15_000, 1)
        with pytest.raises(ValueError, match=r"24000 x 24000 x 1 is more than the limit of 500000000 voxels|400000000"):
            probe(huge_png(24_000, 24_000))
        source(parse({"name": "a", "data": {"source": "phantom", "max_pixels": 100}}))
        with pytest.raises(ValueError, match=r"limit of 100 pixels \(data.max_pixels\)"):
            decode(saved(Image.fromarray(RAMP), "PNG"))
        with pytest.raises(ValueError, match=r"5 x 5 x 5 is more than the limit of 100 voxels"):
            limits.use(limits.Limits(voxels=100))
            limits.check_volume((5, 5, 5))
    finally:
        limits.use(usual)
    assert "max_pixels" not in parse({"name": "a"}).plain()["data"]


def test_just_below_the_limit_is_no_warning() -> None:
    assert probe(huge_png(9_999, 9_999)) == (9_999, 9_999, 1)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_every_truncation_is_an_error_with_a_reason(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), format).getvalue()
    decode(io.BytesIO(whole))
    for length in [0, 1, 10, *range(20, len(whole) * 3 // 4, 61)]:
        with pytest.raises((OSError, ValueError), match=r"\w+"):
            decode(io.BytesIO(whole[:length]))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_damage_never_raises_anything_else(format: str) -> None:
    whole = saved(Image.fromarray(np.stack([RAMP] * 3, axis=2)), format).getvalue()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        try:
            pixels = decode(io.BytesIO(bytes(damaged)))
        except (OSError, ValueError):
            continue
        assert pixels.ndim == 3


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "no.png")


def test_no_image() -> None:
    with pytest.raises(ValueError, match="no image"):
        decode(io.BytesIO(b"patient,label\n1,0\n"))


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.full((2, 2), 3.0), "data.window"),
        (np.full((2, 2), np.nan), r"^4 of 4 pixels are not finite numbers \(NaN or infinite\)$"),
        (np.asarray([[0.0, np.inf]]), r"^1 of 2 pixels are not finite"),
        (np.full((2, 2), "a"), "expected an image of numbers, got <U1"),
        (np.full((2, 2), 1j), "expected an image of numbers, got complex128"),
        (np.full((2, 2), 3, dtype=np.int16), "data.window"),
        (np.zeros((2, 2, 4), dtype=np.uint8), "shape"),
        (np.zeros(4, dtype=np.uint8), "shape"),
        (np.zeros((0, 4), dtype=np.uint8), "shape"),
    ],
)
def test_arrays_without_a_fixed_range_or_shape_are_refused(array: npt.NDArray[Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        to_pixels(array)


def test_window_refuses_values_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        to_pixels(np.asarray([[0.0, np.nan]]), (0.0, 1.0))


def test_bool_arrays_are_black_and_white() -> None:
    np.testing.assert_array_equal(to_pixels(np.asarray([[False, True]]))[:, :, 0], [[0, 255]])


def test_resize_averages() -> None:
    checks = np.indices((32, 32)).sum(axis=0)[:, :, None] % 2 * 255
    small = resize(checks.astype(np.uint8), 8)
    assert abs(small.astype(int) - 127.5).max() <= 20  # nearest neighbour would give 0 and 255


def test_resize_pads_and_cuts_nothing() -> None:
    wide = np.full((10, 30, 3), 200, dtype=np.uint8)
    out = resize(wide, 15)
    assert out.shape == (15, 15, 3)
    assert (out[5:10] == 200).all() and (out[:5] == 0).all() and (out[10:] == 0).all()
    np.testing.assert_array_equal(resize(wide.transpose(1, 0, 2), 15), out.transpose(1, 0, 2))


def test_resize_float_stays_in_range() -> None:
    values = np.random.default_rng(0).random((50, 41, 1)).astype(np.float32).round()
    for size in (7, 64):
        out = resize(values, size)
        assert out.dtype == np.float32 and out.shape == (size, size, 1)
        assert out.min() >= 0.0 and out.max() <= 1.0


def test_resize_to_the_same_size_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert resize(pixels, 9) is pixels


@pytest.mark.parametrize("shape", [(1, 900), (900, 1)])
def test_resize_of_a_line(shape: tuple[int, int]) -> None:
    assert resize(np.ones((*shape, 1), dtype=np.uint8), 8).sum() == 8


def test_channels() -> None:
    grey = RAMP[:, :, None]
    colour = to_channels(grey, 3)
    assert colour.shape == (12, 16, 3)
    np.testing.assert_array_equal(to_channels(colour, 1), grey)
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    luma = np.asarray(Image.fromarray(rgb).convert("L")).astype(int)
    assert abs(to_channels(rgb, 1)[:, :, 0].astype(int) - luma).max() <= 1
    assert to_channels(rgb.astype(np.float32) / np.float32(255), 1).dtype == np.float32
    with pytest.raises(ValueError, match="1 or 3"):
        to_channels(grey, 2)


def test_to_uint8_rounds() -> None:
    values = np.asarray([0.0, 0.499 / 255, 0.501 / 255, 1.0], dtype=np.float32).reshape(2, 2, 1)
    np.testing.assert_array_equal(to_uint8(values).ravel(), [0, 0, 1, 255])


def deep_png(array: npt.NDArray[Any]) -> io.BytesIO:
    """A PNG of 16 bits a colour (H, W, 3), which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return io.BytesIO(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_sixteen_bits_a_colour_are_not_cut_to_nothing() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 8, 3))
    np.testing.assert_array_equal(decode(deep_png(values)), values >> 8)
    for dark, window in ((values >> 4, None), (values, (0, 4095))):
        with pytest.raises(ValueError, match="16 bits a colour, of which 8 can be read"):
            decode(deep_png(dark), window=window)
    with pytest.raises(ValueError, match="colours of 16 bits"):
        read_values(deep_png(values))


def test_no_program_is_started_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    with pytest.raises(ValueError, match="no image, or of a format"):
        decode(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"))


def test_every_number_of_16_bits_is_the_nearest_float() -> None:
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(to_pixels(every)[:, :, 0], (every / 65535).astype(np.float32))
