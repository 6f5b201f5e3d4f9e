"""The boundary to libraries: whatever they raise is one line of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.data.describe import describe
from hybrid_al.data.readers import images
from hybrid_al.errors import InputError, parsing, reading


class _OfNoList(Exception):
    """What no list of exceptions would name."""


def test_whatever_a_library_raises_is_one_line() -> None:
    line = r"^x.png: expected an image, got _OfNoList: two lines$"
    with pytest.raises(InputError, match=line), reading("x.png", "an image"):
        raise _OfNoList("two\nlines")
    with pytest.raises(ValueError, match=r"^damaged \(_OfNoList\)$"), parsing("damaged"):
        raise _OfNoList
    with pytest.raises(ValueError, match=r"^of our own words$"), parsing("damaged"):
        raise ValueError("of our own\nwords")


def test_readers_know_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **keys: object) -> None:
        raise _OfNoList("a new one")

    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ValueError, match="damaged image"):
        images.Images().probe(tmp_path / "a.png")


def test_nested_json_beside_volumes_is_no_traceback(tmp_path: Path) -> None:
    import nibabel

    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    for i in range(3):
        for folder in ("imagesTr", "labelsTr"):
            voxels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) // (1 if folder == "imagesTr" else 32)
            nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / folder / f"case{i}.nii.gz")
    (tmp_path / "dataset.json").write_text("[" * 100_000, encoding="utf-8")
    assert describe(tmp_path).data["source"] == "nifti"
