"""Masks: reading, checking, resizing, and the sources that find them."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.types import IGNORE, LabelMap
from hybrid_al.data.base import Dataset
from hybrid_al.data.masks import inside, read_mask, resize_mask, to_classes, value_table
from hybrid_al.data.pixels import image_box, resize
from hybrid_al.data.readers.images import decode, header, probe, read_values
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError, UnknownName, UnreadableImages

CLASSES = ("background", "nucleus")
MASK = np.asarray([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=np.uint8)


def put(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images of 3 x 4 pixels, two with a mask, the third without."""
    for i in range(3):
        put(tmp_path / "images" / f"{i}.png", np.full((3, 4), i, dtype=np.uint8))
    put(tmp_path / "masks" / "0.png", MASK)
    put(tmp_path / "masks" / "1.png", 1 - MASK)
    rows = ["file,mask,split", "0,masks/0.png,train", "1,masks/1.png,test", "2,,train"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    return tmp_path


def from_csv(root: Path, **changes: Any) -> Dataset:
    columns = {"path": "images/{file}.png", "mask": "mask", "split": "split"}
    settings = {"columns": columns, "group": "none", "classes": CLASSES, **changes}
    return Csv(root / "index.csv", **settings).load()


def from_folder(root: Path, **changes: Any) -> Dataset:
    return Folder(root / "images", **{"group": "none", "masks": root / "masks", "classes": CLASSES, **changes}).load()


@pytest.mark.parametrize("load", [from_csv, from_folder])
def test_sources_find_masks(root: Path, load: Any) -> None:
    data = load(root)
    assert data.classes == CLASSES and data.truth.tolist() == [-1, -1, -1]
    masks = data.masks
    assert masks is not None and masks.labeled.tolist() == [True, True, False]
    np.testing.assert_array_equal(masks.read(0), MASK)
    np.testing.assert_array_equal(masks.read(1), 1 - MASK)
    assert masks.sizes.tolist() == [[3, 4]] * 3 and np.isnan(masks.spacing).all()
    assert masks.keys[2] == "" and len({*masks.keys}) == 3


def test_keys_hang_on_content_and_on_meaning(root: Path) -> None:
    keys = [from_csv(root).masks.keys[0]]  # type: ignore[union-attr]
    keys.append(from_csv(root, mask_values={0: "nucleus", 1: "background"}).masks.keys[0])  # type: ignore[union-attr]
    put(root / "masks" / "0.png", np.ones_like(MASK))
    keys.append(from_csv(root).masks.keys[0])  # type: ignore[union-attr]
    assert len(set(keys)) == 3


def test_lost_masks_and_masks_of_another_size_are_listed_at_once(root: Path) -> None:
    (root / "masks" / "0.png").unlink()
    put(root / "masks" / "1.png", MASK.T)
    with pytest.raises(UnreadableImages) as caught:
        from_csv(root)
    assert [path for path, _ in caught.value.problems] == ["masks/0.png", "masks/1.png"]
    assert "No such file" in caught.value.problems[0][1]
    assert caught.value.problems[1][1] == "expected 3 x 4 pixels as images/1.png has, got 4 x 3"


def test_bad_masks_are_left_out_with_their_images(root: Path) -> None:
    put(root / "masks" / "1.png", MASK * 9)
    data = from_csv(root, on_error="skip")
    assert data.manifest.ids == ("images/0.png", "images/2.png")
    assert data.masks is not None and data.masks.labeled.tolist() == [True, False]
    assert data.skipped[0][0] == "masks/1.png" and "values 9 outside the classes (0, 1)" in data.skipped[0][1]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ()}, "the background first"),
        ({"classes": ("background",)}, "2 to 254 classes"),
        ({"mask_values": {0: "background", 255: "nucleos"}}, "did you mean 'nucleus'"),
        ({"mask_values": {0: "background"}}, "also for nucleus"),
    ],
)
@pytest.mark.parametrize("load", [from_csv, from_folder])
def test_wrong_settings(root: Path, load: Any, change: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        load(root, **change)


class TestFolderOfMasks:
    def test_what_is_no_mask_is_counted(self, root: Path) -> None:
        (root / "masks" / "2.txt").write_bytes(b"x")
        assert from_folder(root).notes == (f"1 files ignored in {(root / 'masks').resolve()} (.txt 1)",)

    def test_of_no_image(self, root: Path) -> None:
        put(root / "masks" / "x.png", MASK)
        with pytest.raises(InputError, match=r"x\.png: expected a mask at the path of its image"):
            from_folder(root)

    def test_two_of_one_image(self, root: Path) -> None:
        put(root / "masks" / "0.bmp", MASK)
        with pytest.raises(InputError, match=r"one mask for 0\.png"):
            from_folder(root)

    def test_none(self, root: Path) -> None:
        (root / "empty").mkdir()
        masks = from_folder(root, masks=root / "empty").masks
        assert masks is not None and not masks.labeled.any(), "none is drawn yet"
        with pytest.raises(InputError, match="nothing there"):
            from_folder(root, masks=root / "nowhere")


def test_phantom_draws_the_same_images_with_masks() -> None:
    plain = Phantom(n_pool=12, n_val=0, n_test=0)
    data, whole = Phantom(n_pool=12, n_val=0, n_test=0, masks=True).load(), plain.load()
    assert data.classes == ("background", "cell") and data.masks is not None and data.masks.labeled.all()
    assert data.manifest == whole.manifest and whole.masks is None
    np.testing.assert_array_equal(data.masks.read(3), plain.mask(3))
    np.testing.assert_array_equal(data.read(3), whole.read(3))


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, format=format, **options)
    out.seek(0)
    return out


class TestReadMask:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
    def test_modes_of_one_channel(self, mode: str) -> None:
        image = Image.fromarray(MASK.astype(np.uint16) if mode == "I;16" else MASK)
        if mode == "P":
            image = Image.fromarray(MASK, mode="L").convert("P")
            image.putpalette([9, 9, 9, 200, 0, 0])  # the numbers count, not the colours
        elif mode == "1":
            image = Image.fromarray(MASK * 255).convert("1")
        out = io.BytesIO()
        image.save(out, format="PNG")
        np.testing.assert_array_equal(read_mask(out, {0: 0, 1: 1}), MASK)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
    def test_grey_in_several_channels_is_grey(self, mode: str) -> None:
        np.testing.assert_array_equal(read_mask(saved(Image.fromarray(MASK).convert(mode)), {0: 0, 1: 1}), MASK)

    def test_white_of_one_bit(self) -> None:
        file = saved(Image.fromarray(MASK * 255).convert("1"))
        np.testing.assert_array_equal(read_mask(file, {0: 0, 255: 1}), MASK)

    def test_whole_floats(self) -> None:
        np.testing.assert_array_equal(
            read_mask(saved(Image.fromarray(MASK.astype(np.float32)), "TIFF"), {0: 0, 1: 1}), MASK
        )
        with pytest.raises(ValueError, match="no whole numbers"):
            read_mask(saved(Image.fromarray(MASK.astype(np.float32) / 2), "TIFF"), {0: 0, 1: 1})

    @pytest.mark.parametrize(
        ("image", "format", "match"),
        [
            (np.dstack([MASK * 255, MASK, MASK]), "PNG", r"one channel.*colours in mode RGB, as \(255, 1, 1\)"),
            (np.dstack([MASK, MASK, MASK, MASK * 255]), "PNG", "mode RGBA with transparent pixels"),
            (MASK * 255, "JPEG", "JPEG may change the values of a mask"),
            (MASK * 255, "WEBP", "WEBP may change the values of a mask"),
            (np.arange(12, dtype=np.uint8).reshape(3, 4), "PNG", r"values 2, 3, 4, 5, 6, \.\.\. outside.*antialiasing"),
            (MASK.astype(np.uint16) * 65535, "PNG", r"values 65535 outside .* in 4 of 12 pixels: .*\{65535: NAME\}"),
        ],
    )
    def test_what_may_mean_something_else_is_refused(self, image: np.ndarray, format: str, match: str) -> None:
        with pytest.raises(ValueError, match=match):
            read_mask(saved(Image.fromarray(image), format), {0: 0, 1: 1})

    def test_a_palette_that_draws_the_background_white(self) -> None:
        image = Image.fromarray(MASK, mode="L").convert("P")
        image.putpalette([255] * 3 + [0] * 3)
        with pytest.raises(ValueError, match=r"palette.*0 as grey 255, 1 as grey 0"):
            read_mask(saved(image), {0: 0, 1: 1})
        image.putpalette([255] * 3 + [255, 0, 0])  # in colours, numbers are meant
        np.testing.assert_array_equal(read_mask(saved(image), {0: 0, 1: 1}), MASK)

    def test_values(self) -> None:
        table = value_table({0: "background", 255: "nucleus", 128: "ignore"}, CLASSES)
        with pytest.raises(InputError, match=r"data\.classes: expected no class ignore"):
            value_table({}, (*CLASSES, "ignore"))
        assert table == {0: 0, 255: 1, 128: IGNORE}
        classes = to_classes(np.asarray([[0, 255], [128, 0]]), table)
        assert classes.dtype == np.uint8 and classes.tolist() == [[0, 1], [IGNORE, 0]]
        assert value_table({}, CLASSES) == {0: 0, 1: 1}

    def test_strange_values(self) -> None:
        with pytest.raises(ValueError, match=r"values 255 outside the classes \(0, 1\) in 4 of 12 pixels: data\.mask"):
            to_classes(MASK * np.uint8(255), value_table({}, CLASSES))
        with pytest.raises(ValueError, match=r"values 2, 3, 4, 5, 6, \.\.\. outside"):
            to_classes(np.arange(9).reshape(3, 3), value_table({}, CLASSES))

    def test_nothing_known(self) -> None:
        with pytest.raises(ValueError, match="says nothing"):
            to_classes(np.full((2, 2), 7), {7: IGNORE})

    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownName):
            value_table({0: "background", 1: "nucleus", 2: "ignored"}, CLASSES)


def slow_resize(mask: LabelMap, size: int) -> LabelMap:
    """The pixel whose area holds the middle of the new one; what is not covered is to be ignored."""
    height, width = mask.shape
    longer = max(height, width)
    h, w = max(1, round(height * size / longer)), max(1, round(width * size / longer))
    out = np.full((size, size), IGNORE, dtype=np.uint8)
    for y in range(h):
        for x in range(w):
            source = int((y + 0.5) * height / h), int((x + 0.5) * width / w)
            out[(size - h) // 2 + y, (size - w) // 2 + x] = mask[source]
    return out


@pytest.mark.parametrize("shape", [(8, 8), (3, 4), (5, 11), (9, 2), (1, 7), (40, 31)])
@pytest.mark.parametrize("size", [1, 4, 8, 13])
def test_resizing_equals_the_slow_reference(shape: tuple[int, int], size: int) -> None:
    mask = np.random.default_rng(0).integers(0, 4, shape, dtype=np.uint8)
    np.testing.assert_array_equal(resize_mask(mask, size), slow_resize(mask, size))


@pytest.mark.parametrize("shape", [(8, 8), (3, 4), (9, 2), (1, 7)])
def test_masks_lie_where_their_images_lie(shape: tuple[int, int]) -> None:
    image = resize(np.full((*shape, 1), 255, dtype=np.uint8), 8)[:, :, 0]
    mask = resize_mask(np.ones(shape, dtype=np.uint8), 8)
    np.testing.assert_array_equal(mask != IGNORE, image == 255)
    np.testing.assert_array_equal(inside(np.asarray([shape]), 8)[0], image == 255)
    box = image_box(*shape, 8)
    assert (box.height, box.width) == ((image == 255).any(axis=1).sum(), (image == 255).any(axis=0).sum())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(9))
def test_image_header_and_mask_are_turned_alike(format: str, orientation: int) -> None:
    values = np.arange(15, dtype=np.uint8).reshape(3, 5)
    file = saved(Image.fromarray(values), format, exif=exif(orientation))
    height, width, _ = probe(file)
    assert (height, width) == decode(file).shape[:2] == ((5, 3) if orientation >= 5 else (3, 5))
    assert header(file).orientation == orientation
    if format in ("PNG", "TIFF"):
        upright = decode(file)[:, :, 0]
        assert orientation < 2 or not np.array_equal(upright, values)
        np.testing.assert_array_equal(read_values(file), upright)


@pytest.mark.parametrize("kind", [b"eXIf", b"iTXt"])
def test_an_orientation_behind_the_pixels_of_a_png(kind: bytes) -> None:
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<a xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"></a>'
    data = exif(6).tobytes(8).removeprefix(b"Exif\0\0") if kind == b"eXIf" else xmp
    whole = saved(Image.fromarray(MASK)).getvalue()
    chunk = len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    file = io.BytesIO(whole[:-12] + chunk + whole[-12:])
    assert probe(file) == (4, 3, 1) and decode(file).shape == (4, 3, 1)
    np.testing.assert_array_equal(read_values(file), np.rot90(MASK, 3))


def exif(orientation: int) -> Image.Exif:
    out = Image.Exif()
    if orientation:
        out[0x0112] = orientation
    return out


class TestTurnedImagesAndMasks:
    """Images of 3 x 4 pixels whose file says an orientation, and masks with and without one."""

    def load(
        self, root: Path, image: int, mask: int, values: np.ndarray = MASK, shape: tuple[int, int] = (3, 4)
    ) -> Dataset:
        for i in range(2):
            bright = np.full(shape, i, dtype=np.uint8)
            bright[: MASK.shape[0], : MASK.shape[1]] += MASK * np.uint8(200)
            Image.fromarray(bright).save(root / "images" / f"{i}.png", exif=exif(image))
            Image.fromarray(values).save(root / "masks" / f"{i}.png", exif=exif(mask))
        return from_csv(root)

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_both_say_it(self, root: Path, orientation: int) -> None:
        data = self.load(root, orientation, orientation)
        assert data.masks is not None
        np.testing.assert_array_equal(data.masks.read(0), data.read(0)[:, :, 0] >= 200)

    def test_the_mask_was_drawn_upright(self, root: Path) -> None:
        data = self.load(root, 6, 0, np.rot90(MASK, 3))
        assert data.masks is not None and data.masks.sizes[0].tolist() == [4, 3]
        np.testing.assert_array_equal(data.masks.read(0), data.read(0)[:, :, 0] >= 200)

    def test_the_mask_was_not_turned(self, root: Path) -> None:
        with pytest.raises(UnreadableImages, match=r"4 x 3 pixels .*got 3 x 4 \(the image has EXIF orientation 6, the"):
            self.load(root, 6, 0)

    @pytest.mark.parametrize(("image", "mask"), [(3, 0), (0, 3), (2, 0), (4, 0)])
    def test_either_may_be_upright(self, root: Path, image: int, mask: int) -> None:
        one = "image" if image else "mask"
        with pytest.raises(
            UnreadableImages, match=rf"the {one} has EXIF orientation {image + mask}, the other.*either"
        ):
            self.load(root, image, mask)

    def test_a_square_may_be_turned_or_not(self, root: Path) -> None:
        with pytest.raises(UnreadableImages, match="either may be the upright one"):
            self.load(root, 6, 0, np.zeros((4, 4), dtype=np.uint8), shape=(4, 4))


def test_images_and_masks_of_one_pixel(root: Path) -> None:
    for i in range(2):
        put(root / "images" / f"{i}.png", np.zeros((1, 1), dtype=np.uint8))
        put(root / "masks" / f"{i}.png", np.full((1, 1), i, dtype=np.uint8))
    data = from_csv(root)
    assert data.masks is not None and data.masks.read(1).tolist() == [[1]] and data.read(1).shape == (1, 1, 1)
    assert (resize_mask(data.masks.read(1), 8) == 1).all()
    assert data.masks.values == "0 background, 1 nucleus"
