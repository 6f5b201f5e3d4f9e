"""Embeddings: rows as they are on disk, pages of a mapped file, and sets that are not those of the manifest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.core import embeddings
from hybrid_al.core.embeddings import Embeddings, Metric
from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError

ROWS = np.random.default_rng(0).normal(size=(5000, 100)).astype(np.float32)  # 488 pages
ORDER = np.random.default_rng(1).permutation(5000)


def on_disk(folder: Path, **note: object) -> Path:
    path = folder / "plain.npy"
    np.save(path, ROWS)
    facts = {"manifest": "a manifest", "encoder": "an encoder", "shape": list(ROWS.shape), **note}
    path.with_suffix(".json").write_text(json.dumps(facts))
    return path


def resident(path: Path) -> int:
    """KiB of a mapped file in this process."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.endswith(str(path))]
    return sum(int(next(row for row in lines[i:] if row.startswith("Rss:")).split()[1]) for i in starts)


def test_a_set_is_read_where_manifest_and_encoder_are_those_asked_for(tmp_path: Path) -> None:
    path = on_disk(tmp_path)
    for encoder in (None, "an encoder"):
        embeddings = Embeddings.load(path, manifest="a manifest", encoder=encoder)
        assert isinstance(embeddings.vectors, np.memmap) and (embeddings.encoder, embeddings.manifest) == (
            "an encoder",
            "a manifest",
        )
        np.testing.assert_array_equal(embeddings.take(ORDER), ROWS[ORDER])


def test_a_set_of_another_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plain\.npy: expected embeddings of manifest another, got of a manifest"):
        Embeddings.load(on_disk(tmp_path), manifest="another", encoder="an encoder")


def test_a_set_by_another_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plain\.npy: expected embeddings by encoder another, got by an encoder"):
        Embeddings.load(on_disk(tmp_path), manifest="a manifest", encoder="another")


def test_a_set_of_images_that_were_decoded_otherwise_is_refused(tmp_path: Path) -> None:
    path = on_disk(tmp_path, images="one store")
    Embeddings.load(path, manifest="a manifest", images="one store")
    with pytest.raises(InputError, match=r"of the images as they are decoded today.*got those of another decoding"):
        Embeddings.load(path, manifest="a manifest", images="another")


def test_a_set_of_another_shape_or_of_no_known_origin_is_refused(tmp_path: Path) -> None:
    path = on_disk(tmp_path, shape=[5000, 99])
    with pytest.raises(InputError, match=r"expected shape \(5000, 99\), got \(5000, 100\)"):
        Embeddings.load(path, manifest="a manifest")
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="expected embeddings with a JSON beside them"):
        Embeddings.load(path, manifest="a manifest")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("large", "came"), [(3e18, "numbers whose squares float32 holds, got up to 3e"), (np.inf, "finite")]
)
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_vectors_whose_distances_would_overflow_are_refused(large: float, came: str, metric: Metric) -> None:
    """Their k-means would end the process, and as unit vectors they would be 0."""
    vectors = np.ones((5, 3), dtype=np.float32)
    vectors[3] = large
    embeddings = Embeddings(vectors, "e", "m")
    assert len(embeddings.take(np.arange(3), metric)) == 3
    with pytest.raises(InputError, match=f"embedding of sample 3: expected {came}"):
        embeddings.take(np.arange(5), metric)


def test_a_large_copy_lets_go_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = on_disk(tmp_path)
    mapped = Embeddings.load(path, manifest="a manifest")
    mapped.take(ORDER)
    assert resident(path) > ROWS.nbytes // 1024
    monkeypatch.setattr(embeddings, "LARGE", ROWS.nbytes)
    for part in (
        mapped,
        Embeddings(mapped.vectors[:], "", ""),
        Embeddings(np.asarray(mapped.vectors), "", ""),
    ):
        np.testing.assert_array_equal(part.take(ORDER), ROWS[ORDER])
        assert resident(path) == 0
        np.testing.assert_array_equal(part.take(ORDER[:10]), ROWS[ORDER[:10]])
        assert resident(path) > 0


def test_what_was_written_into_an_array_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "LARGE", 0)
    path = on_disk(tmp_path)
    arrays: list[FloatArray] = [np.load(path, mmap_mode="c"), np.load(path, mmap_mode="r+"), ROWS.copy()]
    for vectors in arrays:
        vectors[7] = 3
        for _ in range(2):
            np.testing.assert_array_equal(Embeddings(vectors, "", "").take(ORDER)[ORDER == 7], 3)
    view = np.load(path, mmap_mode="c")
    view[7] = 5
    view = view[:]
    view.flags.writeable = False
    for _ in range(2):
        np.testing.assert_array_equal(Embeddings(view, "", "").take(ORDER)[ORDER == 7], 5)
