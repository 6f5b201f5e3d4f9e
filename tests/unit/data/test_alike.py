"""Near-identical images: found among alike ones, in seconds, and said once."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.data import alike
from hybrid_al.data.base import Dataset
from hybrid_al.data.copies import near_notes
from hybrid_al.data.stores.images import ImageStore

SIDE = 64


def scenes(count: int) -> npt.NDArray[np.uint8]:
    """Images (N, SIDE, SIDE) of one kind: a common form, with detail of their own."""
    rng, shared = np.random.default_rng(3), np.random.default_rng(4).normal(size=(4, 4))
    coarse = [Image.fromarray(shared + rng.normal(size=(4, 4)) * 0.5).resize((SIDE, SIDE)) for _ in range(count)]
    fine = [Image.fromarray(rng.normal(size=(16, 16))).resize((SIDE, SIDE)) for _ in range(count)]
    return np.stack(
        [np.clip(128 + 30 * np.asarray(c) + 12 * np.asarray(f), 0, 255) for c, f in zip(coarse, fine, strict=True)]
    ).astype(np.uint8)


def compressed(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=50)
    return np.asarray(Image.open(out))


def near(images: npt.NDArray[np.uint8], groups: list[int]) -> list[list[int]]:
    return [[i, j] for i, j in alike.near_identical(lambda rows: images[rows], np.asarray(groups))]


def test_variants_of_an_image_are_found_and_other_images_of_its_kind_are_not() -> None:
    images = scenes(60)
    half = np.asarray(Image.fromarray(images[2]).resize((SIDE // 2, SIDE // 2)).resize((SIDE, SIDE)))
    large = np.roll(np.asarray(Image.fromarray(images[3]).resize((SIDE * 4, SIDE * 4))), 1, axis=1)
    shifted = np.asarray(Image.fromarray(large).resize((SIDE, SIDE)))
    brighter = np.clip(images[1] * 1.1 + 8.0, 0, 255).astype(np.uint8)
    black = np.zeros((2, SIDE, SIDE), dtype=np.uint8)
    added = [compressed(images[0]), brighter, half, shifted, *black]
    everything = np.concatenate([images, np.stack(added)])
    assert near(everything, list(range(66))) == [[0, 60], [1, 61], [2, 62], [3, 63]]
    assert near(everything, [i % 60 for i in range(66)]) == [], "those of one group are no pair"
    assert near(images[:1], [0]) == [] and near(black, [0, 1]) == []


def test_pairs_of_hashes_are_those_of_all_comparisons_but_in_crowds() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1 << 63, 400, dtype=np.uint64)
    for flips in range(9):
        codes[200 + flips] = codes[flips] ^ np.uint64(
            sum(1 << int(bit) for bit in rng.choice(63, flips, replace=False))
        )
    expected = np.argwhere(np.triu(np.bitwise_count(codes[:, None] ^ codes) <= alike.DISTANCE, 1))
    np.testing.assert_array_equal(alike.close_pairs(codes, np.arange(400)), expected)
    assert len(expected) == 7
    assert len(alike.close_pairs(np.zeros(200, dtype=np.uint64), np.arange(200))) < 200 * alike.CROWD


def test_pairs_are_kept_beside_the_images_and_said_by_kind(tmp_path: Path) -> None:
    images = np.concatenate([scenes(20), scenes(20)])
    images[20:23] = [compressed(image) for image in images[:3]]
    images[24:] = 255 - images[24:]
    names = tuple(f"{i:02d}" for i in range(40))
    digests = tuple("same" if i in (2, 22) else name for i, name in enumerate(names))
    splits: tuple[Split, ...] = ("pool",) * 21 + ("test",) * 19
    manifest = Manifest(names, names, names, splits, digests)
    truth = np.asarray([0, 1] * 20)
    truth[20] = 1
    data = Dataset(manifest, ("no", "yes"), truth, lambda i: images[i][:, :, None], 1)
    store = ImageStore.build(data, image_size=SIDE, channels=1, cache=tmp_path)
    pairs = store.near_identical(manifest)
    assert pairs.tolist() == [[0, 20], [1, 21]], "22 has the bytes of 2, 23 the pixels of 3: said elsewhere"
    assert store.leaks(manifest) == [("03", "23")]
    text = "1 pairs of near-identical images {}, the first is {} = {}"
    others = [text.format("of two groups in one split", "00", "20"), text.format("under two labels", "00", "20")]
    assert near_notes(data, pairs) == (text.format("in two splits", "01", "21"), others)
    again = replace(store, images=np.zeros_like(store.images))
    assert again.near_identical(manifest).tolist() == pairs.tolist(), "read, not looked for again"
    assert near_notes(data, pairs[:0]) == ("", [])
