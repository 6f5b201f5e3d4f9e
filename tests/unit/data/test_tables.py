"""The one reader of CSV files, and what the cells of a table mean: files, groups, classes, labels, nothing."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.table import Csv
from hybrid_al.data.tables import read_table
from hybrid_al.data.words import class_numbers, label_rows, missing_marks
from hybrid_al.errors import InputError


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def images(folder: Path, *names: str) -> None:
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 6), k).save(folder / name)


def rows_of(path: Path) -> list[dict[str, str]]:
    return [row for _, row in read_table(path)[1]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "file,dx\na.png,no tumour\n"),
        ("x.CSV", "file;dx\r\na.png;no tumour\r\n"),
        ("x.csv", "file\tdx\na.png\tno tumour\n"),
        ("x.TSV", "file\tdx\na.png\tno tumour"),
        ("x.tsv", "file,dx\na.png,no tumour\n"),
        ("x.csv", "\ufefffile , dx\n\n a.png , no tumour \n"),
        ("x.csv", '"file", "dx"\n"a.png", "no tumour"\n,\n'),
        ("x.csv", ",file,dx,\n0,a.png,no tumour,\n,,,,\n"),
        ("x.csv", "file,dx\ra.png,no tumour\r"),
    ],
)
def test_one_table_however_it_is_written(tmp_path: Path, name: str, text: str) -> None:
    assert read_table(write(tmp_path / name, text))[0] == ["file", "dx"]
    assert rows_of(tmp_path / name) == [{"file": "a.png", "dx": "no tumour"}]


def test_what_stands_between_the_cells_where_the_header_has_several_marks(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "file;a, b;c\n1.png;x;y\n")
    assert rows_of(one) == [{"file": "1.png", "a, b": "x", "c": "y"}]
    two = write(tmp_path / "two.csv", 'file;"a, b"\n1.png;"x;y"\n')
    assert rows_of(two) == [{"file": "1.png", "a, b": "x;y"}]
    three = write(tmp_path / "three.csv", "id,label; several\n1,mass;oedema\n")
    assert rows_of(three) == [{"id": "1", "label; several": "mass;oedema"}]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a,b\n1,2\n1,2,\n", r"line 3: expected 2 cells as the header has, with commas between them, got 3"),
        ("a;b\n1;2\n\n1\n", r"line 4: expected 2 cells .*semicolons between them, got 1"),
        ("a,b,\n1,2,\n1,2,lost\n", r"line 3: expected a name above each column .* got none above 'lost'"),
        ("a, a \n1,2\n", r"line 1: .*'a' twice"),
        ('a,b\n1,2\n3,"4\n', r"line 3: expected CSV in UTF-8, got a quote that is not closed"),
        ('a,b\n1,"2"2\n', r"line 2: expected CSV in UTF-8"),
        ("a,b\n1," + "x" * 131_073 + "\n", r"line 2: .*a cell of more than 131072 characters"),
        ("a,b\nbösartig,2\n".encode("latin-1"), r"line 2: expected CSV in UTF-8 .*another encoding"),
        ("a,b\n1,2\n".encode("utf-16"), r"line 1: expected CSV in UTF-8 .*UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), r"zero bytes, as UTF-16"),
        ("a,b\n", "a header and at least one row"),
    ],
)
def test_what_is_no_table_is_said_with_its_line(tmp_path: Path, content: str | bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_table(write(tmp_path / "x.csv", content))


def test_a_path_that_leads_nowhere_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"oracle.costs: {tmp_path}/no.csv: .*nothing there"):
        read_table(Path("no.csv"), "oracle.costs")
    for source in (Csv(Path("no.csv"), {}), Folder(Path("no.csv"), group="none")):
        with pytest.raises(InputError, match=f"data.root: {tmp_path}/no.csv"):
            source.load()


class TestRoles:
    def test_usual_names_stand_in_for_roles_that_are_not_listed(self, tmp_path: Path) -> None:
        images(tmp_path, "i1.png", "i2.png", "m1.png", "m2.png")
        table = write(
            tmp_path / "x.csv", "Image,mask,Patient ID,split\ni1.png,m1.png,p1,train\ni2.png,m2.png,p2,test\n"
        )
        data = Csv(table, {"mask": "mask"}, classes=("rest", "cell"), mask_values={2: "rest", 3: "cell"}).load()
        assert data.manifest.ids == ("i1.png", "i2.png") and data.manifest.groups == ("p1", "p2")
        assert data.manifest.splits == ("pool", "test") and data.masks is not None and data.masks.labeled.all()
        plain = Csv(table, {"mask": "none", "split": "none"}, group="none").load()
        assert plain.masks is None and plain.manifest.splits == ("pool", "pool")
        assert plain.manifest.groups == plain.manifest.ids

    def test_label_and_mask_columns_of_usual_names_need_a_word(self, tmp_path: Path) -> None:
        images(tmp_path, "1.png")
        table = write(tmp_path / "x.csv", "file,mask,label\n1.png,1.png,a\n")
        with pytest.raises(InputError, match="label or mask, as the table has both"):
            Csv(table, {}, group="none").load()
        assert Csv(table, {"label": "label"}, group="none").load().classes == ("a",)

    def test_a_group_is_said_or_found(self, tmp_path: Path) -> None:
        images(tmp_path, "p7/1.png")
        with pytest.raises(InputError, match='"none" said on purpose'):
            Csv(write(tmp_path / "x.csv", "file\np7/1.png\n"), {}).load()

    @pytest.mark.parametrize("group", [{"column": "who", "pattern": r"patient(\d+)"}, {"pattern": r"p(\d)/"}])
    def test_a_group_by_regular_expression(self, tmp_path: Path, group: dict[str, str]) -> None:
        images(tmp_path, "p7/1.png", "p8/1.png")
        table = write(tmp_path / "x.csv", "file,who\np7/1.png,a/patient7/b\np8/1.png,a/patient8/b\n")
        assert Csv(table, {}, group=group).load().manifest.groups == ("7", "8")
        with pytest.raises(InputError, match=r"line 2.*a text in which 'q' finds a group"):
            Csv(table, {}, group={**group, "pattern": "q"}).load()
        with pytest.raises(InputError, match=r"data\.group.*did you mean 'column'"):
            Csv(table, {}, group={"colum": "who", "pattern": "q"}).load()

    def test_a_table_without_a_header(self, tmp_path: Path) -> None:
        images(tmp_path, "1.png", "2.png")
        with pytest.raises(
            InputError, match=r"line 1: expected a header with the names of the columns, got the file 1.png"
        ):
            Csv(write(tmp_path / "x.csv", "1.png,a\n2.png,b\n"), {}, group="none").load()

    def test_paths_of_windows_and_letters_in_two_forms(self, tmp_path: Path) -> None:
        apart = unicodedata.normalize("NFD", "bösartig")
        images(tmp_path, "i/1.png", f"i/{apart}.png")
        data = Csv(write(tmp_path / "x.csv", "file\ni\\1.png\ni\\bösartig.png\n"), {}, group="none").load()
        assert data.manifest.ids == ("i/1.png", "i/bösartig.png")
        assert data.read(0)[0, 0, 0] == 0 and data.read(1)[0, 0, 0] == 1

    def test_numbers_of_slices(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"line 2, column z: expected a number from 0, got '1\.5'"):
            Csv(write(tmp_path / "x.csv", "file,z\na.nii,1.5\n"), {"slice": "z"}, group="none").load()


def cells(*texts: str) -> list[tuple[str, str]]:
    return [(f"line {i + 2}", text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "settings", "expected"),
    [
        (("b", "", "a"), {}, (("a", "b"), [1, -1, 0])),
        (("1", "-1", "0", ""), {}, (("0", "1"), [1, -1, 0, -1])),
        (("1.0", "-1.0", "0.0"), {}, (("0", "1"), [1, -1, 0])),
        (("10", "9"), {}, (("9", "10"), [1, 0])),
        (("1.0", "0.0", "-1"), {"classes": ("no", "yes")}, (("no", "yes"), [1, 0, -1])),
        (("a", "NA", "b"), {"unknown": ["NA"]}, (("a", "b"), [0, -1, 1])),
        (("a", "-1", "9.0"), {"unknown": [-1, "9"]}, (("a",), [0, -1, -1])),
        (("a", "NA"), {"classes": ("NA", "a")}, (("NA", "a"), [1, 0])),
        (("-1", "1"), {"classes": ("-1", "1")}, (("-1", "1"), [0, 1])),
        (("b\u00f6se",), {"classes": ("bo\u0308se",)}, (("b\u00f6se",), [0])),
        (("", ""), {}, ((), [-1, -1])),
    ],
)
def test_classes_and_what_is_unknown(texts: tuple[str, ...], settings: dict[str, Any], expected: object) -> None:
    assert class_numbers(cells(*texts), settings.get("classes"), settings.get("unknown", ())) == expected


@pytest.mark.parametrize(
    ("texts", "classes", "unknown", "match"),
    [
        (("a", "NA"), None, (), r"line 3: .*'NA', which looks like a missing label: say data.unknown: \['NA'\]"),
        (("a", "-1"), None, (), r"line 3: .*'-1', which looks like a missing label"),
        (("0", "-2"), None, (), r"line 3: .*'-2', which looks like a missing label"),
        (("0", "?"), None, (), r"line 3: .*'\?', which looks like a missing label"),
        (("a", "NA"), ("a", "b"), (), r"line 3: expected a label among a, b; data.unknown lists .*got 'NA'"),
        (("2",), ("a", "b"), (), r"line 2: expected a label among 0, 1, got '2'"),
        (("a",), ("a", "a"), (), r"data.classes: .*each once, got 'a'"),
        (("a",), ("a", "NA"), ("NA",), r"data.unknown: .*got 'NA'"),
    ],
)
def test_labels_that_are_none(texts: Any, classes: Any, unknown: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        class_numbers(cells(*texts), classes, unknown)


def test_what_init_takes_for_a_missing_mark() -> None:
    assert missing_marks(["a", "NA", "", "-1"]) == ["-1", "NA"] and missing_marks(["0", "-1.0", "1"]) == []


def test_a_class_folder_of_unlabeled_images(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png", "Unknown/3.png")
    with pytest.raises(InputError, match=r"class folder .*Unknown: .*looks like a missing label"):
        Folder(tmp_path, group="none").load()
    assert Folder(tmp_path, group="none", unknown=("Unknown",)).load().truth.tolist() == [-1, 0, 1]
    assert Folder(tmp_path, group="none", classes=("a", "b", "Unknown")).load().truth.tolist() == [2, 0, 1]


def test_several_labels_in_a_column() -> None:
    texts = cells("Mass|Edema", "No Finding", "", "Edema", "NA")
    names, rows = label_rows(texts, "|", "No Finding", None, ["NA"])
    assert names == ("Edema", "Mass") and rows == [(1, 1), (0, 0), (-1, -1), (1, 0), (-1, -1)]
    assert label_rows(texts, "|", "No Finding", ("Mass", "Edema"), ["NA"])[1][3] == (0, 1)
    assert label_rows(cells("10|2", "1", "2"), "|", "", None)[0] == ("1", "2", "10")


@pytest.mark.parametrize(
    ("text", "settings", "match"),
    [
        ("No Finding", ("|", "", None), r"line 3: .*looks like none of the labels: say data.none: 'No Finding'"),
        ("Mass|No Finding", ("|", "No Finding", None), r"line 3: .*each once, No Finding alone"),
        ("Mass|", ("|", "", None), r"line 3: expected labels with \| between them"),
        ("Mass|Mass", ("|", "", None), r"line 3: expected labels with .*each once"),
        ("Hernia", ("|", "No Finding", ("Mass",)), r"line 3: expected labels among Mass, or No Finding, got 'Hernia'"),
        ("?", ("|", "", None), r"line 3: .*'\?', which looks like a missing label"),
        ("Mass", ("|", "Mass", ("Mass",)), r"data.none: expected a text that is not in data.classes"),
    ],
)
def test_several_labels_that_are_none(text: str, settings: tuple[str, str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        label_rows(cells("Mass", text), *settings)


def test_several_labels_of_a_table(tmp_path: Path) -> None:
    images(tmp_path, *(f"{i}.png" for i in range(4)))
    text = "Image Index,Finding Labels\n0.png,Mass|Edema\n1.png,No Finding\n2.png,\n3.png,Edema\n"
    table, columns = write(tmp_path / "x.csv", text), {"label": "Finding Labels"}
    data = Csv(table, columns, group="none", separator="|", none="No Finding").load()
    assert data.classes == ("Edema", "Mass") and data.labels is not None
    assert data.labels.tolist() == [[1, 1], [0, 0], [-1, -1], [1, 0]] and data.truth.tolist() == [-1] * 4
    with pytest.raises(InputError, match=r"data\.separator"):
        Csv(table, {"label": "none"}, group="none", separator="|").load()
    with pytest.raises(InputError, match=r"data\.none"):
        Csv(table, columns, group="none", none="No Finding").load()


def test_yes_and_no_as_chexpert_has_them(tmp_path: Path) -> None:
    images(tmp_path, *(f"patient{i}/v.jpg" for i in range(4)))
    rows = ("1.0,0.0", "0.0,1.0", "-1.0,", "NA,0")
    text = "Path,Edema,Mass\n" + "".join(f"patient{i}/v.jpg,{row}\n" for i, row in enumerate(rows))
    table = write(tmp_path / "x.csv", text)
    data = Csv(table, {}, group={"pattern": r"patient\d+"}, labels=("Edema", "Mass"), unknown=["NA"]).load()
    assert data.labels is not None and data.labels.tolist() == [[1, 0], [0, 1], [-1, -1], [-1, 0]]
    assert data.manifest.groups[2] == "patient2"
    data = Csv(table, {}, group="none", labels=("Edema", "Mass"), unknown=["NA"], empty=0).load()
    assert data.labels is not None and data.labels.tolist() == [[1, 0], [0, 1], [-1, 0], [-1, 0]]
    with pytest.raises(InputError, match=r"data\.empty: expected columns of 0 and 1"):
        Csv(table, {"label": "Edema"}, group="none", empty=0).load()
    with pytest.raises(InputError, match="line 5, column Edema: expected 0 or 1, -1 or an empty cell"):
        Csv(table, {}, group="none", labels=("Edema", "Mass")).load()
