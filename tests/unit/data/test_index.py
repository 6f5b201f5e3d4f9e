"""What is known of files: an unchanged one is not read again, a changed one is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hybrid_al.data.files as files_module
import hybrid_al.data.index as index_module
from hybrid_al.assemble import check_place, open_project
from hybrid_al.data.describe import describe
from hybrid_al.data.index import FileIndex
from hybrid_al.data.samples import content_digest
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.studies import dicom_files
from hybrid_al.errors import InputError, UnreadableImages
from hybrid_al.recipe import load, parse
from tests.helpers.command import call

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SETTLED", -1)


def images(folder: Path) -> Path:
    for i, pixels in enumerate(PIXELS):
        (folder / f"class{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"class{i % 2}" / f"{i}.png")
    return folder


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def find(self) -> list[int]:
        self.calls += 1
        return [self.calls]


def test_a_finding_is_believed_until_the_file_changes(tmp_path: Path) -> None:
    file, index_file = tmp_path / "a.bin", tmp_path / "index" / "files.json"
    file.write_bytes(b"one")
    source = Counted()
    for _ in range(2):  # the second time from disk
        index = FileIndex(index_file)
        assert index.look(file, "v1", source.find) == [1]
        index.save()
    assert FileIndex(index_file).look(file, "v2", source.find) == [2]  # read by another reader
    before = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copying tool would set it back
    assert FileIndex(index_file).look(file, "v1", source.find) == [3]
    file.write_bytes(b"three")
    assert FileIndex(index_file).look(file, "v1", source.find) == [4]
    with pytest.raises(FileNotFoundError):
        FileIndex(index_file).look(tmp_path / "gone", "v1", source.find)


def test_a_file_that_has_just_changed_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SETTLED", 10**12)
    (tmp_path / "a").write_bytes(b"one")
    index, source = FileIndex(tmp_path / "i.json"), Counted()
    assert [index.look(tmp_path / "a", "", source.find) for _ in range(2)] == [[1], [2]]
    index.save()
    assert not (tmp_path / "i.json").exists()


@pytest.mark.parametrize("harm", ["flip", "cut", "binary"])
def test_a_damaged_index_is_said_and_made_again(tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(b"one")
    index, source, index_file = FileIndex(tmp_path / "i.json"), Counted(), tmp_path / "i.json"
    index.look(tmp_path / "a", "", source.find)
    index.save()
    data = index_file.read_bytes()
    index_file.write_bytes({"flip": data.replace(b"[1]", b"[7]"), "cut": data[:-2], "binary": b"\xff\xfe"}[harm])
    assert FileIndex(index_file).look(tmp_path / "a", "", source.find) == [2]
    assert "damaged; the files of the data are read again" in capsys.readouterr().err


def test_a_second_start_reads_no_image_that_lies_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, read = images(tmp_path / "data"), []
    inner = content_digest

    def counting(content: bytes) -> str:
        read.append(len(content))
        return inner(content)

    monkeypatch.setattr(files_module, "content_digest", counting)
    data = {"source": "folder", "root": str(root), "group": "none"}
    recipe = parse({"name": "x", "data": data, "pretrain": "none", "loop": {"budgets": [2]}})
    first = open_project(recipe, run_dir=tmp_path / "runs" / "a").dataset
    assert len(read) == 6
    again = open_project(recipe, run_dir=tmp_path / "runs" / "b").dataset
    assert len(read) == 6 and again.manifest.fingerprint == first.manifest.fingerprint and again.channels == 1
    Image.fromarray(255 - PIXELS[3]).save(root / "class1" / "3.png")
    changed = open_project(recipe, run_dir=tmp_path / "runs" / "b").dataset
    assert len(read) == 7 and changed.manifest.fingerprint != first.manifest.fingerprint
    plain = Folder(root, group="none").load().manifest
    assert plain.fingerprint == changed.manifest.fingerprint and len(read) == 13


def test_an_npz_that_lies_still_is_not_unpacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=PIXELS, labels=np.arange(6) % 2)
    index = FileIndex(tmp_path / "i.json")
    first = Npz(path, group="none").load(index)
    index.save()
    monkeypatch.setattr("hybrid_al.data.archives.content_digest", lambda content: "read again")
    again = Npz(path, group="none").load(FileIndex(tmp_path / "i.json"))
    assert again.manifest.fingerprint == first.manifest.fingerprint
    assert np.array_equal(again.read(4)[:, :, 0], PIXELS[4])
    assert Npz(path, group="none").load().manifest.digests == ("read again",) * 6


def test_a_place_that_cannot_be_written_to_costs_time_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As beside a run of somebody else, whose model looks at new images."""
    (tmp_path / "file").write_text("")
    index = FileIndex(tmp_path / "file" / "index.json")
    assert index.look(tmp_path / "file", "size", lambda: 3) == 3
    index.save()
    assert capsys.readouterr().err.endswith("the next call reads the files of the data again\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_what_is_no_file_is_never_read(tmp_path: Path) -> None:
    """A FIFO that lies among images would hold whoever opens it for good."""
    root = images(tmp_path / "data")
    os.mkfifo(root / "class0" / "fifo.png")
    os.mkfifo(root / "class0" / "fifo")
    with pytest.raises(UnreadableImages, match=r"fifo.png: a FIFO, a socket or a device, and no file"):
        Folder(root, group="none").load()
    with pytest.raises(UnreadableImages, match=r"fifo.png: a FIFO, a socket or a device, and no file"):
        Folder(root, group="none", reader="images").load()
    assert len(Folder(root, group="none", on_error="skip").load().manifest) == len(PIXELS)
    assert "fifo.png" in str(describe(root))
    assert dicom_files(root)[0] == []


def test_nothing_is_written_among_the_images(tmp_path: Path) -> None:
    root = images(tmp_path / "data")
    data, place = {"source": "folder", "root": str(root)}, root / "runs" / "x"
    with pytest.raises(InputError, match=r"runs/x: expected a place outside the images of .* \(--run-dir\)"):
        open_project(parse({"name": "x", "data": data}), run_dir=place)
    for fine in ({**data, "ignore": ["runs"]}, {**data, "source": "csv"}):
        check_place(parse({"name": "x", "data": fine}), place, "--run-dir")
    check_place(parse({"name": "x", "data": data}), root / ".runs" / "x", "--run-dir")
    check_place(parse({"name": "x", "data": data}), tmp_path / "data2", "--run-dir")
    with pytest.raises(InputError, match="expected a path in UTF-8"):
        check_place(parse({"name": "x", "data": data}), tmp_path / "\udcff", "--run-dir")


def test_a_recipe_made_among_the_images_leaves_out_what_the_next_commands_write_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = images(tmp_path / "data")
    monkeypatch.chdir(root)
    assert call("init", ".", "-o", "recipe.yaml") == 0
    recipe = load("recipe.yaml")
    assert recipe.data.params["ignore"] == ["runs", "views.png"]
    check_place(recipe, Path("runs") / "data-s0", "--run-dir")
    monkeypatch.chdir(tmp_path)
    assert call("init", "data", "-o", "recipe.yaml") == 0 and "ignore" not in load("recipe.yaml").data.params
