"""The manifest: what holds for any rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_al.core.manifest import Manifest
from hybrid_al.data.splits import assign

TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8
)  # sources refuse control characters


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    ids = draw(st.lists(TEXT, min_size=1, max_size=12, unique=True))
    n = len(ids)
    codes = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    of_group = ["pool", *draw(st.lists(st.sampled_from(["pool", "val", "test"]), min_size=4, max_size=4))]
    codes[0] = 0
    return Manifest(
        ids=tuple(ids),
        paths=tuple(draw(st.lists(TEXT, min_size=n, max_size=n))),
        groups=tuple(f"g{code}" for code in codes),
        splits=tuple(of_group[code] for code in codes),  # type: ignore[misc]
        digests=tuple(draw(st.lists(TEXT, min_size=n, max_size=n))),
        z=tuple(draw(st.lists(st.integers(-1, 99), min_size=n, max_size=n))),
    )


@settings(deadline=None, max_examples=60)
@given(manifests())
def test_csv_round_trip(manifest: Manifest) -> None:
    again = Manifest.from_csv(manifest.to_csv())
    assert again == manifest and again.fingerprint == manifest.fingerprint


@settings(deadline=None, max_examples=60)
@given(manifests(), st.data())
def test_fingerprint_of_a_prefix_is_that_of_the_shorter_manifest(manifest: Manifest, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(manifest)))
    columns = (manifest.ids, manifest.paths, manifest.groups, manifest.splits, manifest.digests, manifest.z)
    shorter = Manifest(*(column[:n] for column in columns))  # type: ignore[arg-type]
    assert manifest.fingerprint_of(n) == shorter.fingerprint


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 40), min_size=60, max_size=120),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 5),
)
def test_drawn_splits_never_cut_a_group(codes: list[int], val: float, test: float, seed: int) -> None:
    groups = [f"g{code}" for code in codes]
    largest = int(np.bincount(codes).max())
    if min(val, test) * len(codes) <= largest:
        return
    splits = assign(groups, [None] * len(groups), {"val": val, "test": test}, seed=seed)
    Manifest(tuple(map(str, range(len(groups)))), tuple(groups), tuple(groups), splits, tuple(groups))
    for name, share in (("val", val), ("test", test)):
        assert abs(splits.count(name) - share * len(groups)) <= largest / 2
