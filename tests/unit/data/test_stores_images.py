"""The cache of decoded images."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.data.base import Dataset, Pixels
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.errors import InputError, UnreadableImages

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
NAMES = tuple("abcde")


def image(index: int) -> Pixels:
    pixels: Pixels = IMAGES[index]
    return pixels


def dataset(read: Callable[[int], Pixels] = image) -> Dataset:
    manifest = Manifest(NAMES, NAMES, NAMES, ("pool",) * 5, NAMES)
    return Dataset(manifest, (), np.full(5, -1), read, 3)


def never(index: int) -> Pixels:
    raise AssertionError(f"image {index} was decoded again")


def test_images_and_batches(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    store = ImageStore.build(
        dataset(), image_size=8, channels=None, cache=tmp_path, progress=lambda count, n: progress.append((count, n))
    )
    assert len(store) == 5 and store.size == 8 and store.channels == 3 and len(store.digest) == 64
    assert isinstance(store.images, np.memmap) and not store.images.flags.writeable
    np.testing.assert_array_equal(store.images, IMAGES)
    assert progress == [(i, 5) for i in range(1, 6)]
    batch = store.batch(np.asarray([3, 0, 3]))
    assert batch.shape == (3, 3, 8, 8) and batch.is_contiguous()
    np.testing.assert_allclose(batch.numpy(), IMAGES[[3, 0, 3]].transpose(0, 3, 1, 2) / np.float32(255), rtol=1e-6)
    assert store.batch(np.asarray([], dtype=np.int64)).shape == (0, 3, 8, 8)


def test_size_and_channels(tmp_path: Path) -> None:
    store = ImageStore.build(dataset(), image_size=4, channels=1, cache=tmp_path)
    assert store.images.shape == (5, 4, 4, 1)
    mixed = dataset(lambda i: IMAGES[i] if i % 2 else IMAGES[i, :, :, :1])
    colour = ImageStore.build(replace(mixed, reader="mixed"), image_size=8, channels=None, cache=tmp_path)
    np.testing.assert_array_equal(colour.images[0], np.repeat(IMAGES[0, :, :, :1], 3, axis=2))


def test_float_pixels_are_rounded(tmp_path: Path) -> None:
    data = dataset(lambda i: (IMAGES[i] / np.float32(255)).astype(np.float32))
    np.testing.assert_array_equal(ImageStore.build(data, image_size=8, channels=3, cache=tmp_path).images, IMAGES)


def test_the_second_time_nothing_is_decoded(tmp_path: Path) -> None:
    first = ImageStore.build(dataset(), image_size=8, channels=None, cache=tmp_path)
    again = ImageStore.build(dataset(never), image_size=8, channels=None, cache=tmp_path)
    assert again.digest == first.digest
    np.testing.assert_array_equal(again.images, IMAGES)


def test_digest_sees_all_that_decides_the_pixels(tmp_path: Path) -> None:
    data = dataset()
    other = replace(data, manifest=replace(data.manifest, digests=tuple("abcdx")))
    digests = [
        ImageStore.build(source, image_size=size, channels=channels, cache=tmp_path).digest
        for source, size, channels in [
            (data, 8, 3),
            (data, 4, 3),
            (data, 8, 1),
            (other, 8, 3),
            (replace(data, reader="window=(0, 1)"), 8, 3),
        ]
    ]
    assert len(set(digests)) == 5


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone", "no record", "broken record"])
def test_a_damaged_cache_is_built_again(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    ImageStore.build(dataset(), image_size=8, channels=None, cache=tmp_path)
    images, record = next(tmp_path.rglob("images.npy")), next(tmp_path.rglob("images.json"))
    content = images.read_bytes()
    match damage:
        case "cut":
            images.write_bytes(content[:-1])
        case "flipped":
            images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "empty":
            images.write_bytes(b"")
        case "gone":
            images.unlink()
        case "no record":
            record.unlink()
        case _:
            record.write_text('{"sha256"')
    assert capsys.readouterr().err == ""
    store = ImageStore.build(dataset(), image_size=8, channels=None, cache=tmp_path)
    assert ("damaged; its images are decoded again" in capsys.readouterr().err) == (damage != "gone")
    np.testing.assert_array_equal(store.images, IMAGES)
    np.testing.assert_array_equal(
        ImageStore.build(dataset(never), image_size=8, channels=None, cache=tmp_path).images, IMAGES
    )


def test_all_unreadable_images_at_once_and_nothing_left(tmp_path: Path) -> None:
    def read(index: int) -> Pixels:
        if index in (1, 3):
            raise ValueError("image file is truncated")
        return image(index)

    with pytest.raises(UnreadableImages) as caught:
        ImageStore.build(dataset(read), image_size=8, channels=None, cache=tmp_path)
    assert caught.value.problems == [("b", "image file is truncated"), ("d", "image file is truncated")]
    assert not [*tmp_path.rglob("images*")]
    np.testing.assert_array_equal(
        ImageStore.build(dataset(), image_size=8, channels=None, cache=tmp_path).images, IMAGES
    )


def test_an_interrupted_build_leaves_no_cache(tmp_path: Path) -> None:
    def read(index: int) -> Pixels:
        if index == 3:
            raise KeyboardInterrupt
        return image(index)

    with pytest.raises(KeyboardInterrupt):
        ImageStore.build(dataset(read), image_size=8, channels=None, cache=tmp_path)
    assert not [*tmp_path.rglob("images*")]


@pytest.mark.parametrize(("size", "channels"), [(0, 3), (8, 2)])
def test_wrong_settings(tmp_path: Path, size: int, channels: int) -> None:
    with pytest.raises(InputError):
        ImageStore.build(dataset(), image_size=size, channels=channels, cache=tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnail(tmp_path: Path, channels: int) -> None:
    store = ImageStore.build(dataset(), image_size=100, channels=channels, cache=tmp_path)
    with Image.open(io.BytesIO(store.thumbnail(2))) as thumb:
        assert thumb.format == "JPEG" and thumb.size == (64, 64) and thumb.mode == ("L" if channels == 1 else "RGB")
    with Image.open(io.BytesIO(store.thumbnail(2, side=16))) as thumb:
        assert thumb.size == (16, 16)


@pytest.mark.parametrize("slices", [3, 5])
def test_a_stack_keeps_its_slices_and_shows_the_middle_one(tmp_path: Path, slices: int) -> None:
    pixels = np.random.default_rng(1).random((5, 8, 8, slices)).astype(np.float32)
    stacked = replace(dataset(lambda i: pixels[i]), channels=slices, stack=slices)
    store = ImageStore.build(stacked, image_size=8, channels=None, cache=tmp_path)
    np.testing.assert_array_equal(store.images, np.rint(pixels * 255))
    assert store.channels == slices and store.batch(np.asarray([4, 1])).shape == (2, slices, 8, 8)
    np.testing.assert_array_equal(store.picture(2)[:, :, 0], store.images[2, :, :, slices // 2])
    thumbnail = Image.open(io.BytesIO(store.thumbnail(2)))
    assert thumbnail.mode == "L" and np.abs(np.asarray(thumbnail).astype(int) - store.picture(2)[:, :, 0]).mean() < 20
    with pytest.raises(
        InputError, match=rf"data\.channels: expected null: the channels are the {slices} of data\.stack"
    ):
        ImageStore.build(stacked, image_size=8, channels=1, cache=tmp_path)


def test_images_of_another_file_with_the_same_pixels_in_another_split_are_found() -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1), dtype=np.uint8)
    images[2] = images[0]
    images[1] = images[3] = 7
    splits: tuple[Split, ...] = ("pool", "pool", "test", "test")
    ids = ("a", "b", "c", "d")
    store = ImageStore(images, "", ids)
    assert store.leaks(Manifest(ids, ids, ids, splits, ids)) == [("a", "c")]
    assert store.leaks(Manifest(ids, ids, ids, splits, ("x", "b", "x", "d"))) == [], "the same file is said elsewhere"
