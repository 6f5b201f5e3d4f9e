"""The synthetic cells."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hybrid_al.data.sources.phantom import KINDS, Phantom
from hybrid_al.errors import InputError

SMALL = Phantom(n_pool=120, n_val=30, n_test=40)


def test_what_there_is() -> None:
    data = SMALL.load()
    manifest = data.manifest
    assert [len(manifest.indices(split)) for split in ("pool", "val", "test")] == [120, 30, 40]
    assert data.classes == tuple(kind.name for kind in KINDS[:5]) and data.channels == 3
    assert manifest.leaks() == []
    image = data.read(0)
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8


def test_every_split_has_the_long_tail_and_all_classes() -> None:
    data = SMALL.load()
    for split in ("pool", "val", "test"):
        counts = np.bincount(data.truth[data.manifest.indices(split)], minlength=5)
        assert counts.min() >= 1 and (np.diff(counts) <= 0).all() and counts[0] > 3 * counts[-1]


def test_patients_have_several_images_and_a_stain_of_their_own() -> None:
    data = Phantom(n_pool=400, n_val=0, n_test=0).load()
    codes = data.manifest.group_codes
    assert 15 <= codes.max() + 1 <= 20
    colour = np.stack([data.read(i).mean(axis=(0, 1)) for i in range(400)])
    means = np.stack([colour[codes == code].mean(axis=0) for code in range(codes.max() + 1)])
    within = np.sqrt(np.mean((colour - means[codes]) ** 2))
    assert means.std(axis=0).mean() > 0.5 * within


def test_masks_show_the_cell() -> None:
    data = SMALL.load()
    masks = np.stack([SMALL.mask(i) for i in range(40)])
    assert masks.shape == (40, 32, 32) and masks.dtype == np.bool_
    assert masks[:, 14:18, 14:18].all() and 0.05 < masks.mean() < 0.5
    darkness = 255 - np.stack([data.read(i).mean(axis=2) for i in range(40)])
    inside, outside = (
        np.asarray([d[m].mean() for d, m in zip(darkness, which, strict=True)]) for which in (masks, ~masks)
    )
    assert (inside > outside).all()


def test_some_images_show_a_cell_again() -> None:
    data = Phantom(n_pool=600, n_val=0, n_test=0).load()
    images = np.stack([data.read(i) for i in range(600)]).reshape(600, -1).astype(np.float64)
    same = (data.manifest.group_codes[:, None] == data.manifest.group_codes) & (data.truth[:, None] == data.truth)
    squares = (images**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * images @ images.T, 0.0) / images.shape[1])
    np.fill_diagonal(distance, np.inf)
    nearest = np.where(same, distance, np.inf).min(axis=1)
    typical = np.median(distance[np.isfinite(distance)])
    assert 0.05 < np.mean(nearest < 0.4 * typical) < 0.6


def test_same_seed_same_images_other_seed_others() -> None:
    code = (
        "import hashlib; from hybrid_al.data.sources.phantom import Phantom; "
        "d = Phantom(n_pool=120, n_val=30, n_test=40).load(); print(d.manifest.fingerprint)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == SMALL.load().manifest.fingerprint
    assert Phantom(120, 30, 40, seed=1).load().manifest.fingerprint != SMALL.load().manifest.fingerprint


def test_global_random_state_is_left_alone() -> None:
    before = repr(np.random.get_state())  # noqa: NPY002
    Phantom(40, 0, 0, seed=7).load()
    assert repr(np.random.get_state()) == before  # noqa: NPY002


def test_other_sizes() -> None:
    data = Phantom(30, 0, 12, size=48, classes=2).load()
    assert data.read(0).shape == (48, 48, 3) and data.classes == ("lobed", "round")
    assert data.manifest.indices("val").size == 0


def test_the_last_chunk_may_be_one_image() -> None:
    assert len(Phantom(257, 0, 0).load().manifest) == 257


@pytest.mark.parametrize("change", [{"classes": 1}, {"classes": 9}, {"size": 8}, {"n_pool": 0}, {"n_test": 3}])
def test_wrong_settings(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Phantom(**change).load()
