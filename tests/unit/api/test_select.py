"""`select` on data: picks of a person's own images, in one call."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

import hybrid_al as hal
from hybrid_al.api import encoding
from hybrid_al.api.pixels_only import place_of
from hybrid_al.api.select import Selection, default_folder, read_embeddings, select
from hybrid_al.errors import InputError
from hybrid_al.recipe import load
from tests.helpers import dicom

N = 24
VECTORS = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for i in range(N):
        file = folder / f"p{i % 4}" / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 16), 9 * i, dtype=np.uint8)).save(file)
    return folder


@pytest.fixture
def vectors(scans: Path) -> Path:
    """Of the images in the order of the sorted ids."""
    file = scans.parent / "vectors.npy"
    np.save(file, VECTORS)
    return file


def rows_of(selection: Selection) -> list[dict[str, str]]:
    with (selection.folder / "picks.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_picks_are_those_of_pick_with_reasons_and_a_sheet(scans: Path, vectors: Path) -> None:
    selection = select(scans, 6, embeddings=vectors, copy=True, seed=3)
    ids = sorted(path.relative_to(scans).as_posix() for path in scans.rglob("*.png"))
    assert selection.ids == tuple(ids[i] for i in hal.pick(VECTORS, 6, seed=3).indices)
    assert selection.folder == default_folder(scans) == scans.parent / "scans-picks"
    rows = rows_of(selection)
    assert list(rows[0]) == ["rank", "id", "path", "group", "reason"]
    assert [row["rank"] for row in rows] == list("123456") and tuple(row["id"] for row in rows) == selection.ids
    counts = [int(row["reason"].split()[2]) if "stands" in row["reason"] else 1 for row in rows]
    assert sum(counts) == N and all("nearest pick is" in row["reason"] for row in rows)
    with Image.open(selection.folder / "contact_sheet.png") as sheet:
        assert sheet.width > sheet.height > 100
    copies = sorted((selection.folder / "images").iterdir())
    assert [file.name for file in copies] == [f"{r:03d}_{Path(i).name}" for r, i in enumerate(selection.ids, 1)]
    assert copies[0].read_bytes() == (scans / selection.ids[0]).read_bytes()


def test_the_same_call_gives_the_same_files_and_takes_its_own_embeddings(scans: Path, vectors: Path) -> None:
    first = select(scans, 5, embeddings=vectors, out=scans.parent / "a")
    again = select(scans, 5, embeddings=first.folder / "embeddings.npz", out=scans.parent / "b")
    for name in ("picks.csv", "contact_sheet.png"):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()
    assert select(scans, 5, embeddings=vectors, seed=1, out=scans.parent / "c").ids != first.ids


def test_picks_go_elsewhere_than_labels(scans: Path, vectors: Path) -> None:
    first = select(scans, 10, embeddings=vectors)
    second = select(scans, N - 10, embeddings=vectors, already=first.folder / "picks.csv", out=scans.parent / "next")
    assert not set(first.ids) & set(second.ids) and len(second.ids) == N - 10
    with pytest.raises(InputError, match=r"-k: expected 1 to 14, the images without a label \(10 of 24 have one\)"):
        select(scans, 15, embeddings=vectors, already=first.folder / "picks.csv", out=scans.parent / "more")
    whole = select(scans, N, embeddings=vectors, out=scans.parent / "whole").folder / "picks.csv"
    with pytest.raises(InputError, match=r"picks\.csv: expected images without a label left .* got all 24 images"):
        select(scans, 1, embeddings=vectors, already=whole, out=scans.parent / "none")


def test_copies_are_named_as_such_and_a_label_of_one_counts_for_its_original(scans: Path, vectors: Path) -> None:
    (scans / "p0" / "00.png").rename(scans / "p0" / "a.png")
    (scans / "z.png").write_bytes((scans / "p0" / "a.png").read_bytes())
    np.save(vectors, np.vstack([VECTORS, VECTORS[:1]]))
    said: list[str] = []
    labeled = scans.parent / "labels.csv"
    labeled.write_text("id\nz.png\n", encoding="utf-8")
    picks = select(scans, N - 1, embeddings=vectors, already=labeled, say=said.append)
    assert said == ["24 images", "1 images that are copies are not picked"] and not {"p0/a.png", "z.png"} & set(
        picks.ids
    )


def test_answers_and_splits_of_the_data_stop_no_picks_and_images_left_out_are_named(
    scans: Path, vectors: Path, tmp_path: Path
) -> None:
    ids = sorted(path.relative_to(scans).as_posix() for path in scans.rglob("*.png"))
    for i, cells in enumerate(("A||B", "C|A")):
        rows = [f"scans/{sample},{cells}" for sample in ids]
        (tmp_path / f"{i}.csv").write_text("\n".join(["path,label", *rows, ""]), encoding="utf-8")
        assert len(select(tmp_path / f"{i}.csv", 3, embeddings=vectors).ids) == 3
    (folder := scans / "p0" / "few.csv").write_text("path,predicted\n00.png,x\n04.png,y\n", encoding="utf-8")
    np.save(vectors, VECTORS[:2])
    said: list[str] = []
    select(folder.parent, 2, embeddings=vectors, say=said.append)
    assert said == ["2 images", "not among them: 4 images that the table does not name (08.png)"]


def test_patients_share_the_picks(tmp_path: Path, scans: Path) -> None:
    table, file = tmp_path / "scans.csv", tmp_path / "grouped.npy"
    lines = [f"p{i % 4}/{i:02d}.png,p{i % 4 if i < 4 else 0}" for i in range(N)]
    table.write_text("path,patient\n" + "\n".join(f"scans/{line}" for line in lines) + "\n", encoding="utf-8")
    np.save(file, VECTORS)
    lines_said: list[str] = []
    rows = rows_of(select(table, 4, embeddings=file, say=lines_said.append))
    assert "24 images of 4 patients or volumes" in lines_said
    assert max(Counter(row["group"] for row in rows).values()) <= 2, "21 of 24 images are of p0"


def test_images_that_cannot_be_read_are_skipped_and_val_is_left_alone(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 3)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), 9 * i).save(tmp_path / "data" / split / f"{i}.png")
    (tmp_path / "data" / "train" / "bad.png").write_text("no image")
    np.save(tmp_path / "v.npy", VECTORS[:8])
    said: list[str] = []
    selection = select(tmp_path / "data", 5, embeddings=tmp_path / "v.npy", say=said.append)
    assert selection.skipped[0][0] == "train/bad.png" and any(
        line.startswith("skipped train/bad.png: ") for line in said
    )
    assert all(i.startswith("train/") for i in selection.ids)
    assert "3 images of val and test are not picked" in said


def test_rows_of_an_archive_and_slices_of_a_volume(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (9, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "rows.npz", images=images)
    np.save(tmp_path / "v.npy", VECTORS[:9])
    selection = select(tmp_path / "rows.npz", 2, embeddings=tmp_path / "v.npy", copy=True)
    with Image.open(sorted((selection.folder / "images").iterdir())[0]) as image:
        assert np.array_equal(np.asarray(image), images[int(selection.ids[0].split("/")[1])])
    nibabel.Nifti1Image(images.astype(np.float32), np.eye(4)).to_filename(tmp_path / "scan.nii.gz")
    np.save(tmp_path / "w.npy", VECTORS[:8])
    volume = select(tmp_path / "scan.nii.gz", 2, embeddings=tmp_path / "w.npy", copy=True)
    assert volume.folder.name == "scan-picks" and len(list((volume.folder / "images").glob("*.png"))) == 2


@pytest.mark.parametrize("source", [{"source": "nifti"}, {"source": "folder", "reader": "volumes"}])
def test_new_volumes_lie_in_the_folder_that_was_named(source: dict[str, str], tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(9, 9, 4)).astype(np.float32)
    for name in ("v1_0000.nii.gz", "v2_0000.nii.gz"):
        nibabel.Nifti1Image(images, np.eye(4)).to_filename(tmp_path / name)
    data = {**source, "root": str(tmp_path), "group": "none", "classes": ["a", "b"]}
    place = place_of(tmp_path, tmp_path / "scratch", load({"name": "x", "data": data}))
    manifest = place.load().manifest
    assert len(manifest) == 8 and place.files == tmp_path and (place.files / manifest.paths[0]).is_file()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"k": 0}, "-k: expected 1 or more images to pick, got 0"),
        ({"k": 25}, "-k: expected 1 to 24, the images without a label, got 25"),
        (
            {"strategy": "margin"},
            "--strategy: expected a strategy that needs embeddings at most, got margin, that needs",
        ),
        ({"strategy": "typiclus"}, "did you mean 'typiclust'"),
        ({"embeddings": "gone.npy"}, "got nothing there"),
        ({"embeddings": "short.npy"}, "expected 24 rows, one for each image in the order of the sorted ids, got 23"),
        ({"embeddings": "other.npz"}, "expected a row for each image, got none for 'p0/00.png'"),
        ({"embeddings": "bad.npy"}, "p0/04.png: expected finite numbers, got nan or inf"),
        ({"embeddings": "pickle.npy"}, "expected a .npy"),
        ({"already": "labels.csv"}, "labels.csv line 2: expected the id of an image, got 'nobody.png'"),
        ({"embeddings": "shape.npz"}, "expected a .npy (N, D), or an .npz of ids (N,) and embeddings (N, D), got ids"),
        ({"embeddings": "twice.npz"}, "expected each id once, got 'p0/00.png' more than once"),
        ({"embeddings": "few.npz"}, "expected 23 rows, one for each of its ids, got 24"),
        ({"embeddings": "large.npy"}, "p0/00.png: expected finite numbers, got nan or inf"),
        ({"embeddings": "scans"}, "embeddings (N, D), got a folder"),
        ({"embeddings": "labels.csv"}, "embeddings (N, D), got another kind of file"),
        ({"already": "files.csv"}, "files.csv, line 1: expected a column id, got file"),
        ({"already": "all.csv"}, "all.csv: expected images without a label left to pick from, got all 24 images"),
        ({"out": "."}, "expected a new folder or file to write to (-o), got one that exists"),
        ({"out": "scans/picks"}, "scans/picks: expected a folder outside the images of"),
        ({"out": "labels.csv/picks"}, "labels.csv, which is no folder"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    scans: Path, vectors: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], line: str
) -> None:
    monkeypatch.chdir(scans.parent)
    np.save("short.npy", VECTORS[1:])
    np.save("bad.npy", np.where(np.arange(N)[:, None] == 1, np.nan, VECTORS))
    np.save("pickle.npy", np.asarray([{}], dtype=object), allow_pickle=True)
    np.save("large.npy", VECTORS.astype(np.float64) * 1e300)
    ids = np.asarray(sorted(path.relative_to(scans).as_posix() for path in scans.rglob("*.png")))
    np.savez("shape.npz", ids=ids[:, None], embeddings=VECTORS)
    np.savez("twice.npz", ids=np.append(ids[:-1], ids[0]), embeddings=VECTORS)
    np.savez("few.npz", ids=ids[1:], embeddings=VECTORS)
    Path("files.csv").write_text("file\np0/00.png\n", encoding="utf-8")
    Path("all.csv").write_text("\n".join(["id", *ids.tolist()]), encoding="utf-8")
    np.savez("other.npz", ids=np.arange(N).astype(str), embeddings=VECTORS)
    Path("labels.csv").write_text("id,label\nnobody.png,x\n", encoding="utf-8")
    before = sorted(Path().iterdir())
    with pytest.raises(InputError) as error:
        select(scans, **{"k": 5, "embeddings": vectors, **changes})
    assert line in str(error.value) and "\n" not in str(error.value)
    assert sorted(Path().iterdir()) == before


def test_the_encoder_is_chosen_by_what_is_installed_and_by_the_number_of_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoding, "has_pretrained", lambda: True)
    assert [encoding.plan_of(n, 512).image_size for n in (500, 9_000, 50_000)] == [192, 128, 96]
    assert encoding.plan_of(500, 28).image_size == 96 and encoding.plan_of(500, 28).method == {"name": "none"}
    monkeypatch.setattr(encoding, "has_pretrained", lambda: False)
    trained = encoding.plan_of(1_000, 512)
    assert trained.method["epochs"] == 8 and trained.image_size == 64 and "pip install" in trained.words
    for n in (50, 50_000):
        assert "random weights" in encoding.plan_of(n, 512).words
    assert [encoding.duration(s) for s in (0.2, 12, 300)] == ["about 1 s", "about 12 s", "about 5 minutes"]


@pytest.mark.slow
@pytest.mark.parametrize("installed", [True, False])
def test_images_without_embeddings_get_some(scans: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Damaged pixels show when the images are decoded; the picks are made without them."""
    if not installed:
        monkeypatch.setattr(encoding, "has_pretrained", lambda: False)
        monkeypatch.setattr(encoding, "TRAINABLE", (10, 1000))
        monkeypatch.setattr(encoding, "PASSES", 2 * N)
    whole = (scans / "p0" / "00.png").read_bytes()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(scans / "p0" / "00.png")
    cut = (scans / "p0" / "00.png").read_bytes()[:2000]
    (scans / "p0" / "00.png").write_bytes(cut)
    said: list[str] = []
    first = select(scans, 4, say=said.append, out=scans.parent / "a")
    assert [path for path, _ in first.skipped] == ["p0/00.png"] and len(first.ids) == 4
    assert any(
        "about" in line and ("ImageNet" in line) == installed and ("SimCLR" in line) != installed for line in said
    )
    with np.load(first.folder / "embeddings.npz") as archive:
        assert archive["embeddings"].shape == (N - 1, 1280 if installed else 512)
    assert select(scans, 4, out=scans.parent / "b").ids == first.ids
    (scans / "p0" / "00.png").write_bytes(whole)
    small = select(scans, 4, overrides=["encoder.name=test_resnet", "pretrain=none", "data.image_size=16"])
    with np.load(small.folder / "embeddings.npz") as archive:
        assert archive["embeddings"].shape == (N, 96)


@pytest.mark.parametrize(("ending", "left"), [("_0000", 2), ("_0001", 2), ("_0003", 0)])
def test_of_several_channels_the_one_is_taken_that_a_run_was_trained_on(ending: str, left: int, tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        Image.fromarray(np.full((20, 16), len(name), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    data = {"source": "folder", "root": "x", "masks": "y", "group": "none", "image_size": 16, "image_ending": ending}
    like = load({"name": "x", "data": {**data, "classes": ["no", "yes"]}, "task": "segmentation"})
    place = place_of(tmp_path, tmp_path, like)
    ids = place.load().manifest.ids
    assert len(ids) == 4 - left and (not left or all(ending in name for name in ids))
    said = "2 files whose names do not end in " + ending + ", as those do that the model was trained on"
    assert (said in place.left) == bool(left)


def test_deep_images_get_the_window_that_init_drafts_but_for_a_model_that_of_its_run(tmp_path: Path) -> None:
    for i in range(3):
        values = np.random.default_rng(i).integers(0, 4096, (12, 12)).astype(np.uint16)
        values[0, :2] = 0, 4095
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    assert place_of(tmp_path, tmp_path).data["window"] == [0, 4095]
    run = load({"name": "x", "data": {"source": "folder", "root": "x", "group": "none", "window": [0, 2000]}})
    assert tuple(place_of(tmp_path, tmp_path, run).data["window"]) == (0, 2000)  # type: ignore[arg-type]
    plain = load({"name": "x", "data": {"source": "folder", "root": "x", "group": "none"}})
    assert "window" not in place_of(tmp_path, tmp_path, plain).data


def test_slices_of_dicom_series_in_the_window_and_the_stack_of_a_recipe(tmp_path: Path) -> None:
    for k in range(3):
        dicom.write_series(tmp_path / "in" / str(k), [0, 1, 2], seed=k, PatientID=f"P{k}")
    (tmp_path / "in" / "labels.csv").write_text("patient,dx\nP0,a\nP1,b\n")
    plain = place_of(tmp_path / "in", tmp_path).load()
    assert len(plain.manifest) == 9 and plain.manifest.paths[:3] == ("0/003.dcm", "0/002.dcm", "0/001.dcm")
    assert set(plain.manifest.groups) == {"P0", "P1", "P2"} and plain.classes == ()
    own = {"source": "dicom", "root": "elsewhere", "stack": 3, "window": [-1000, 1000]}
    data = place_of(tmp_path / "in", tmp_path, load({"name": "r", "data": own}, [])).load()
    assert data.stack == 3 and data.span == (-1000, 1000)
    assert place_of(tmp_path / "in" / "0" / "001.dcm", tmp_path).load().manifest.paths == ("001.dcm",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_embeddings_that_are_no_file_or_damaged_in_any_way_are_a_line(vectors: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.npy")
    spoiled = vectors.read_bytes().replace(b"{'descr'", b"{'descr\\")
    assert spoiled != vectors.read_bytes()
    (tmp_path / "spoiled.npy").write_bytes(spoiled)
    for name in ("fifo.npy", "spoiled.npy"):
        with pytest.raises(InputError, match=f"{name}: expected a .npy .*, got another kind of file"):
            read_embeddings(tmp_path / name, ["a"])
