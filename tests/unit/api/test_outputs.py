"""New files and folders for people: whole or not at all, and every id has a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_al.api.outputs import file_names, new_folder
from hybrid_al.errors import InputError


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half"), new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x", encoding="utf-8")
        raise ValueError("half")
    assert not list((tmp_path / "a").iterdir())
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x", encoding="utf-8")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]
    with pytest.raises(InputError, match="one that exists"), new_folder(tmp_path / "a" / "b"):
        pass


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["p1/a.png", "p2/a.png"], ["p1/a.png", "p2/a.png"]),
        (["a.png", "a.jpg", "b.jpg"], ["a.png.png", "a.jpg.png", "b.png"]),
        (["v.nii.gz#0", "v.nii.gz#12", "train/00012"], ["v_0000.png", "v_0012.png", "train/00012.png"]),
        (["../../etc/passwd", "/root/x"], ["etc/passwd.png", "root/x.png"]),
        (["A.png", "a.jpg"], ["A.png.png", "a.jpg.png"]),
        (["../x", "x"], ["000000.png", "000001.png"]),
    ],
)
def test_every_id_has_a_name_of_its_own_below_the_folder(ids: list[str], names: list[str]) -> None:
    assert file_names(ids, ".png") == names
