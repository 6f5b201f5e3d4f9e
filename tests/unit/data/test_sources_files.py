"""The sources of image files: folder and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from hybrid_al.data.sources import SOURCES
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError, UnknownName, UnreadableImages


def draw(path: Path, value: int = 0, channels: int = 1, side: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side) if channels == 1 else (side, side, 3)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


def table(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> Path:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    path.write_text(out.getvalue(), encoding=encoding)
    return path


def test_registry() -> None:
    assert sorted(SOURCES) == ["csv", "dicom", "folder", "medmnist", "mni152", "nifti", "npz", "phantom", "slides"]


class TestFolder:
    def test_classes(self, tmp_path: Path) -> None:
        draw(tmp_path / "b" / "2.png", 2)
        draw(tmp_path / "a" / "deep" / "1.png", 1, channels=3)
        draw(tmp_path / "a" / ".hidden.png")
        draw(tmp_path / ".cache" / "x" / "1.png")
        (tmp_path / "a" / "notes.txt").write_text("no image")
        data = Folder(tmp_path, group="none").load()
        assert data.manifest.ids == data.manifest.paths == data.manifest.groups == ("a/deep/1.png", "b/2.png")
        assert data.classes == ("a", "b") and data.truth.tolist() == [0, 1] and data.channels == 3
        assert data.read(1).shape == (6, 6, 1) and data.read(1)[0, 0, 0] == 2

    def test_classes_that_are_numbers_come_by_value(self, tmp_path: Path) -> None:
        for name in ("0", "1", "2", "10", "11"):
            draw(tmp_path / name / "1.png", int(name))
        data = Folder(tmp_path, group="none").load()
        assert data.classes == ("0", "1", "2", "10", "11") and data.truth.tolist() == [0, 1, 3, 4, 2]
        draw(tmp_path / "9b" / "1.png", 9)
        assert Folder(tmp_path, group="none").load().classes == ("0", "1", "10", "11", "2", "9b")

    def test_what_is_ignored_is_counted(self, tmp_path: Path) -> None:
        for i, name in enumerate(["a/1.png", "b/2.PNG", "a/3.jfif"]):
            draw(tmp_path / "x.jpg" if name.endswith("jfif") else tmp_path / name, i)
        (tmp_path / "x.jpg").rename(tmp_path / "a" / "3.jfif")
        for name in ("a/1.txt", "a/2.txt", "a/bare", "t.csv", "b/.DS_Store", "__MACOSX/a/._1.png", ".git/x"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        data = Folder(tmp_path, group="none").load()
        assert data.manifest.ids == ("a/1.png", "a/3.jfif", "b/2.PNG") and data.classes == ("a", "b")
        (note,) = data.notes
        assert note.startswith(f"5 files ignored in {tmp_path} (.txt 2, ")
        assert sorted(note.partition("(")[2].rstrip(")").split(", ")) == [".csv 1", ".txt 2", "hidden 1", "none 1"]

    def test_a_class_folder_without_images_says_what_it_holds(self, tmp_path: Path) -> None:
        draw(tmp_path / "a" / "1.png")
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "1.txt").write_bytes(b"x")
        with pytest.raises(InputError, match=r"leaves a folder out\), got none; 1 files ignored in .*/b \(\.txt 1\)"):
            Folder(tmp_path, group="none").load()

    def test_splits_and_classes(self, tmp_path: Path) -> None:
        for i, name in enumerate(["train/a/1.png", "train/b/1.png", "val/a/1.png", "test/b/1.png", "train/2.png"]):
            draw(tmp_path / name, i)
        data = Folder(tmp_path, group="none").load()
        assert dict(zip(data.manifest.ids, data.manifest.splits, strict=True)) == {
            "test/b/1.png": "test",
            "train/2.png": "pool",
            "train/a/1.png": "pool",
            "train/b/1.png": "pool",
            "val/a/1.png": "val",
        }
        assert data.classes == ("a", "b") and data.truth.tolist() == [1, -1, 0, 1, 0]

    def test_unlabeled(self, tmp_path: Path) -> None:
        draw(tmp_path / "p1" / "1.png")
        draw(tmp_path / "p2" / "1.png")
        nested = Folder(tmp_path, group="([^/]+)/", labels="none").load()
        assert nested.classes == () and nested.truth.tolist() == [-1, -1] and nested.manifest.groups == ("p1", "p2")
        flat = Folder(tmp_path / "p1", group="none").load()
        assert flat.classes == () and flat.manifest.ids == ("1.png",)

    def test_names_of_the_classes(self, tmp_path: Path) -> None:
        draw(tmp_path / "a" / "1.png")
        draw(tmp_path / "b" / "1.png")
        assert Folder(tmp_path, group="none", classes=("b", "a")).load().truth.tolist() == [1, 0]
        unlabeled = Folder(tmp_path, group="none", labels="none", classes=("x", "y")).load()
        assert unlabeled.classes == ("x", "y") and unlabeled.truth.tolist() == [-1, -1]
        with pytest.raises(UnknownName, match="'b'"):
            Folder(tmp_path, group="none", classes=("a", "c")).load()
        with pytest.raises(InputError, match=r"class 2 \(c\)"):
            Folder(tmp_path, group="none", classes=("a", "b", "c")).load()

    def test_holdout_by_group(self, tmp_path: Path) -> None:
        for patient in range(10):
            for i in range(3):
                draw(tmp_path / "c" / f"p{patient}_{i}.png", 10 * patient + i)
        data = Folder(tmp_path, group=r"p\d+", holdout={"val": 0.1, "test": 0.2}).load()
        assert Counter(data.manifest.splits) == {"pool": 21, "val": 3, "test": 6}

    def test_what_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="a folder, got nothing there"):
            Folder(tmp_path / "no", group="none").load()
        with pytest.raises(InputError, match="expected images"):
            Folder(tmp_path, group="none").load()
        draw(tmp_path / "a" / "1.png")
        with pytest.raises(InputError, match='"none" said on purpose'):
            Folder(tmp_path).load()
        with pytest.raises(InputError, match="a regular expression"):
            Folder(tmp_path, group="(").load()
        with pytest.raises(InputError, match=r"data.group: a/1.png"):
            Folder(tmp_path, group=r"patient\d+").load()
        with pytest.raises(InputError, match="low below high"):
            Folder(tmp_path, group="none", window=(3, 3)).load()
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match=r"class folder .*empty: expected at least one image"):
            Folder(tmp_path, group="none").load()

    def test_links_that_leave_the_root(self, tmp_path: Path) -> None:
        draw(tmp_path / "outside.png")
        draw(tmp_path / "root" / "a" / "1.png")
        link = tmp_path / "root" / "a" / "2.png"
        link.symlink_to("1.png")
        assert len(Folder(tmp_path / "root", group="none").load().manifest) == 2
        link.unlink()
        link.symlink_to(tmp_path / "outside.png")
        with pytest.raises(InputError, match="a symbolic link to"):
            Folder(tmp_path / "root", group="none").load()
        link.unlink()
        (tmp_path / "root" / "b").symlink_to(tmp_path / "root" / "a")
        with pytest.raises(InputError, match="in circles"):
            Folder(tmp_path / "root", group="none").load()

    def test_unreadable_images_are_listed_at_once_or_left_out(self, tmp_path: Path) -> None:
        for i in range(4):
            draw(tmp_path / "a" / f"{i}.png", i, side=40)
        whole = (tmp_path / "a" / "0.png").read_bytes()
        (tmp_path / "a" / "1.png").write_text("no image")
        (tmp_path / "a" / "2.png").write_bytes(b"")
        (tmp_path / "a" / "3.png").write_bytes(whole[:-30])  # its header is whole: only decoding can tell
        with pytest.raises(UnreadableImages, match=r"2 image\(s\)") as caught:
            Folder(tmp_path, group="none").load()
        assert [path for path, _ in caught.value.problems] == ["a/1.png", "a/2.png"]
        data = Folder(tmp_path, group="none", on_error="skip").load()
        assert data.manifest.ids == ("a/0.png",) and data.truth.tolist() == [0]
        assert [path for path, _ in data.skipped] == ["a/1.png", "a/2.png", "a/3.png"]
        assert all(why for _, why in data.skipped)

    def test_nothing_readable_is_an_error_even_when_skipping(self, tmp_path: Path) -> None:
        (tmp_path / "1.png").write_text("no image")
        with pytest.raises(UnreadableImages):
            Folder(tmp_path, group="none", on_error="skip").load()

    def test_a_name_with_a_line_break(self, tmp_path: Path) -> None:
        draw(tmp_path / "a" / "1\n2.png")
        with pytest.raises(InputError, match="without control characters"):
            Folder(tmp_path, group="none").load()

    def test_window_reaches_the_reader(self, tmp_path: Path) -> None:
        draw(tmp_path / "a" / "1.png", 50)
        data = Folder(tmp_path, group="none", window=(0, 100)).load()
        assert data.read(0)[0, 0, 0] == 0.5 and data.reader != Folder(tmp_path, group="none").load().reader


class TestCsv:
    COLUMNS: ClassVar = {"path": "file", "label": "dx", "group": "patient", "split": "set"}
    ROWS: ClassVar = [
        ["file", "dx", "patient", "set"],
        ["i/1.png", "mel", "p1", "train"],
        ["i/2.png", "nev", "p1", "train"],
        ["i/3.png", "", "p2", "val"],
        ["i/4.png", "mel", "p3", "test"],
    ]

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for i in range(1, 5):
            draw(tmp_path / "i" / f"{i}.png", i)
        return table(tmp_path / "labels.csv", self.ROWS)

    def rewritten(self, root: Path, row: int, column: int, text: str) -> Path:
        rows = [list(cells) for cells in self.ROWS]
        rows[row][column] = text
        return table(root, rows)

    def test_rows(self, root: Path) -> None:
        data = Csv(root, self.COLUMNS).load()
        assert data.manifest.ids == ("i/1.png", "i/2.png", "i/3.png", "i/4.png")
        assert data.manifest.groups == ("p1", "p1", "p2", "p3")
        assert data.manifest.splits == ("pool", "pool", "val", "test")
        assert data.classes == ("mel", "nev") and data.truth.tolist() == [0, 1, -1, 0]
        assert data.read(2)[0, 0, 0] == 3 and data.channels == 1

    def test_order_of_the_classes_is_that_of_the_list(self, root: Path) -> None:
        assert Csv(root, self.COLUMNS, classes=("nev", "mel")).load().truth.tolist() == [1, 0, -1, 1]

    @pytest.mark.parametrize("classes", [None, 2, ("other", "melanoma")])
    def test_numbers_as_labels(self, root: Path, classes: Any) -> None:
        rows = [[*cells[:1], {"mel": "1", "nev": "0"}.get(cells[1], cells[1]), *cells[2:]] for cells in self.ROWS]
        data = Csv(table(root, rows), self.COLUMNS, classes=classes).load()
        assert data.truth.tolist() == [1, 0, -1, 1]
        assert data.classes == (classes if isinstance(classes, tuple) else ("0", "1"))

    def test_labels_are_never_a_mix_of_names_and_numbers(self, root: Path) -> None:
        with pytest.raises(InputError, match=r"line 3: expected a label among mel, nev, got '1'"):
            Csv(self.rewritten(root, 2, 1, "1"), self.COLUMNS, classes=("mel", "nev")).load()

    def test_byte_order_mark_and_semantics_of_tabs(self, root: Path) -> None:
        table(root, self.ROWS, encoding="utf-8-sig")
        assert len(Csv(root, self.COLUMNS).load().manifest) == 4
        tabs = root.with_suffix(".tsv")
        tabs.write_text("\n".join("\t".join(cells) for cells in self.ROWS))
        assert len(Csv(tabs, self.COLUMNS).load().manifest) == 4

    def test_images_and_templates(self, root: Path, tmp_path: Path) -> None:
        moved = tmp_path / "tables"
        moved.mkdir()
        rows = [["n", "folder"], ["1", "i"], ["2", "i"]]
        data = Csv(table(moved / "x.csv", rows), {"path": "{folder}/{n}.png"}, images=tmp_path, group="none").load()
        assert data.manifest.ids == ("i/1.png", "i/2.png") and data.truth.tolist() == [-1, -1] and data.classes == ()
        with pytest.raises(UnknownName, match="did you mean 'folder'"):
            Csv(moved / "x.csv", {"path": "{foldr}/{n}.png"}, images=tmp_path, group="none").load()
        with pytest.raises(InputError, match="a column, or a template"):
            Csv(moved / "x.csv", {"path": "{folder"}, images=tmp_path, group="none").load()

    def test_holdout_for_what_is_lacking(self, root: Path) -> None:
        columns = {"path": "file", "label": "dx"}
        data = Csv(root, columns, group="none", holdout={"test": 0.25, "val": 0.25}).load()
        assert Counter(data.manifest.splits) == {"pool": 2, "val": 1, "test": 1}

    @pytest.mark.parametrize(
        ("row", "column", "text", "match"),
        [
            (2, 1, "nevv", r"line 3: expected a label among mel, nev, got 'nevv'"),
            (2, 0, "../labels.csv", r"line 3: expected a path below"),
            (2, 0, "/etc/passwd", r"line 3: .* below .*, links as well, got .*, which leads to /etc/passwd"),
            (2, 0, "", r"line 3: expected a path, got an empty cell"),
            (
                2,
                0,
                "i/../i/1.png",
                r"line 3: expected an image of its own, .* as in line 2, where file is i/1.png, ",
            ),
            (2, 2, " ", r"line 3, column patient: expected a group"),
            (2, 3, "trian", r"line 3: .*did you mean 'train'"),
            (2, 3, "test", r"group 'p1'"),
        ],
    )
    def test_wrong_cells_name_their_line(self, root: Path, row: int, column: int, text: str, match: str) -> None:
        with pytest.raises(InputError, match=match):
            Csv(self.rewritten(root, row, column, text), self.COLUMNS, classes=("mel", "nev")).load()

    def test_missing_files_are_listed_at_once(self, root: Path) -> None:
        for i in (2, 3):
            (root.parent / "i" / f"{i}.png").unlink()
        with pytest.raises(UnreadableImages, match="No such file") as caught:
            Csv(root, self.COLUMNS).load()
        assert [path for path, _ in caught.value.problems] == ["i/2.png", "i/3.png"]

    def test_a_recipe_has_one_task(self, root: Path) -> None:
        with pytest.raises(InputError, match="label or mask"):
            Csv(table(root, self.ROWS), {**self.COLUMNS, "mask": "file"}).load()

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"columns": {"path": "flie"}}, "did you mean 'file'"),
            ({"columns": {"path": "file", "lable": "dx"}}, "did you mean 'label'"),
            ({"columns": {"path": "none"}}, "data.columns.path"),
            ({"group": "pateint"}, "did you mean 'patient'"),
            ({"classes": ("mel", "nev", "bcc")}, r"at least one sample of class 2 \(bcc\)"),
            ({"classes": 2}, "a label among 0, 1"),
            ({"images": Path("/nowhere")}, "no such folder"),
            ({"on_error": "ignore"}, "stop or skip"),
        ],
    )
    def test_wrong_settings(self, root: Path, change: dict[str, Any], match: str) -> None:
        with pytest.raises(InputError, match=match):
            Csv(**{"root": root, "columns": self.COLUMNS, "group": "none", **change}).load()

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "a header and at least one row"),
            (b"file\n", "a header and at least one row"),
            (b"file,file\na,b\n", "'file' twice"),
            (b"file,dx\na.png\n", "line 2: expected 2 cells as the header has, with commas between them, got 1"),
            (b'file,dx\n"a.png,1\n', "CSV in UTF-8"),
            (b"file,dx\n\xff\xfe,1\n", "CSV in UTF-8"),
        ],
    )
    def test_no_table(self, tmp_path: Path, content: bytes, match: str) -> None:
        (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(InputError, match=match):
            Csv(tmp_path / "x.csv", {"path": "file"}, group="none").load()


def test_a_path_with_a_star_is_that_of_one_file(tmp_path: Path) -> None:
    for name in ("part_1/a.png", "part_2/b.png", "part_2/[c].png"):
        draw(tmp_path / name, len(name))
    file = table(tmp_path / "t.csv", [["id"], ["a"], ["b"], ["[c]"]])
    source = Csv(file, {"path": "part_*/{id}.png"}, group="none")
    assert source.load().manifest.ids == ("part_1/a.png", "part_2/b.png", "part_2/[c].png")
    draw(tmp_path / "part_1" / "b.png", 9)
    with pytest.raises(InputError, match="one file of the name"):
        source.load()


def test_names_that_a_folder_ignores(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/1_Mask.png", "old/1.png", "__MACOSX/a/2.png"):
        draw(tmp_path / name, len(name))
    dataset = Folder(tmp_path, group="none", ignore=("*_mask.png", "old")).load()
    assert dataset.manifest.ids == ("a/1.png", "b/1.png") and dataset.classes == ("a", "b")


def test_the_folder_that_holds_an_image_may_be_its_class(tmp_path: Path) -> None:
    for name in ("north/a/1.png", "north/b/1.png", "south/a/1.png", "2.png"):
        draw(tmp_path / name, len(name))
    dataset = Folder(tmp_path, group="none", labels="parents").load()
    assert dataset.classes == ("a", "b") and dataset.truth.tolist() == [-1, 0, 1, 0]


def test_images_may_have_an_ending_as_channels_of_nnunet(tmp_path: Path) -> None:
    for name in ("i/1_0000.png", "i/1_0001.png", "i/2_0000.png", "m/1.png"):
        draw(tmp_path / name, int("m/" in name))
    settings: dict[str, Any] = {"group": "none", "classes": ("rest", "organ"), "masks": tmp_path / "m"}
    dataset = Folder(tmp_path / "i", image_ending="_0000", ignore=["*_0001.*"], **settings).load()
    assert dataset.manifest.ids == ("1_0000.png", "2_0000.png")
    assert dataset.masks is not None and dataset.masks.labeled.tolist() == [True, False]
    with pytest.raises(InputError, match="the path of its image"):
        Folder(tmp_path / "i", **settings).load()


def test_a_mask_of_two_images_is_refused(tmp_path: Path) -> None:
    for name in ("i/1.jpg", "i/1.png", "m/1.png"):
        draw(tmp_path / name, int("m/" in name))
    with pytest.raises(InputError, match=r"m/1\.png: .* got 2: 1\.jpg, 1\.png"):
        Folder(tmp_path / "i", group="none", classes=("rest", "organ"), masks=tmp_path / "m").load()


def test_where_nothing_can_be_read_leaving_out_is_no_way(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UnreadableImages, match=r"2 image\(s\) cannot be read; there is no other:"):
        Folder(tmp_path, group="none", labels="none", on_error="skip").load()


def test_a_share_of_copies_says_that_they_are(tmp_path: Path) -> None:
    for i in range(20):
        draw(tmp_path / "ab"[i % 2] / f"{i}.png", i // 5)
    with pytest.raises(InputError, match=r"holdout\.val: .* got 0\.4 of 4 \(20 samples, of which 16 are copies\)"):
        Folder(tmp_path, group="none", holdout={"val": 0.1}).load()


def test_masks_may_have_an_ending(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 200)
    draw(tmp_path / "2.png", 100)
    draw(tmp_path / "1_seg.png", 1)
    folder = Folder(
        tmp_path, "none", classes=("rest", "organ"), masks=tmp_path, mask_ending="_seg", ignore=("*_seg.png",)
    )
    masks = folder.load().masks
    assert masks is not None and masks.labeled.tolist() == [True, False]
