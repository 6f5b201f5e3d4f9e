"""Slides as tiles: levels, resolution, tissue, ids and labels, and what is wrong with a slide in one line."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hybrid_al.data import index as index_module
from hybrid_al.data import slide_tissue, slides, tiles
from hybrid_al.data.base import Dataset
from hybrid_al.data.index import FileIndex
from hybrid_al.data.slides import Pyramid, content_of, is_pyramid, opened, read_held
from hybrid_al.data.sources.slides import Slides
from hybrid_al.data.tiles import Cut
from hybrid_al.errors import InputError, UnreadableImages
from tests.helpers.slides import Kind, picture, write_slide

LEFT = slice(0, 256), slice(0, 128)  # of tissue
KINDS: tuple[Kind, ...] = ("subifds", "pages", "flat")


def load(root: Path, **settings: Any) -> Dataset:
    return Slides(root, **{"tile": 64, "mpp": 0.5, **settings}).load()


def pyramid_of(file: Path) -> Pyramid:
    with opened(file) as slide:
        return slide.pyramid


def numbers(dataset: Dataset) -> list[str]:
    return [sample.partition("/")[2] for sample in dataset.manifest.ids]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_has_the_pixels_of_its_place_at_its_resolution(tmp_path: Path, kind: Kind) -> None:
    pixels = picture(256, 384, LEFT)
    file = write_slide(tmp_path / "a.tif", pixels, kind=kind, mpp=0.25)
    pyramid = pyramid_of(file)
    assert pyramid.levels == ((384, 256),) + (() if kind == "flat" else ((96, 64),))
    assert pyramid.mpp == pytest.approx((0.25, 0.25)) and is_pyramid(file) == (kind != "flat")
    np.testing.assert_array_equal(load(tmp_path, mpp=0.25).read(1), pixels[:64, 64:128])
    half = load(tmp_path)
    assert half.manifest.ids == ("a/x0_y0", "a/x0_y128") and half.manifest.paths == ("a.tif", "a.tif")
    mean = pixels[128:, :128].reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(half.read(1).astype(float) - mean).max() < 3
    four = load(tmp_path, mpp=1.0, tile=32, tissue=0)
    assert numbers(four) == ["x0_y0", "x128_y0", "x256_y0", "x0_y128", "x128_y128", "x256_y128"]
    mean = pixels[128:, :128].reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.abs(four.read(3).astype(float) - mean).max() < (3 if kind == "flat" else 1)


def test_where_a_tile_lies_in_its_slide(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", picture(256, 384, None), shrink=(2,))
    locate = load(tmp_path, tissue=0).locator
    assert locate is not None
    small = np.asarray(locate(9))
    assert small.shape == (107, 160, 3)
    rows, columns = np.nonzero(small[:, :, 0] < 60)  # of the frame
    edges = [rows.min(), rows.max(), columns.min(), columns.max()]
    assert edges == pytest.approx([64 / 2.4, 128 / 2.4, 192 / 2.4, 256 / 2.4], abs=2)


def test_the_nearest_finer_level_is_read() -> None:
    pyramid = Pyramid(((100_000, 80_000), (25_000, 20_000), (6_249, 5_000)), (0.25, 0.25), "tiffslide")
    for mpp, level, read in (
        (0.25, 0, 256),
        (0.5, 0, 512),
        (0.99, 0, 1014),
        (0.995, 1, 255),
        (1.0, 1, 256),
        (2, 1, 512),
        (4, 2, 256),
    ):
        grid = Cut(256, mpp, None, 0, 0).grid(pyramid)
        assert (grid.level, grid.read) == (level, (read, read)), mpp


def test_tiles_overlap_and_fit_into_the_slide(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", picture(130, 200, None))
    whole = load(tmp_path, tissue=0)
    assert numbers(whole) == ["x0_y0", "x64_y0", "x128_y0", "x0_y64", "x64_y64", "x128_y64"]
    over = load(tmp_path, tissue=0, overlap=32)
    assert numbers(over)[:5] == ["x0_y0", "x32_y0", "x64_y0", "x96_y0", "x128_y0"] and len(over.manifest) == 15
    with pytest.raises(InputError, match=r"data.overlap: expected less than data.tile: 64, got 64"):
        load(tmp_path, overlap=64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_tiles_of_tissue_alone_are_kept(tmp_path: Path, kind: Kind, seed: int) -> None:
    """Also pale tissue, and not what was not scanned and is black."""
    pixels = picture(256, 384, LEFT, seed, colour=((200, 110, 170), (228, 205, 220), (60, 20, 90))[seed])
    pixels[:, 320:] = 0
    write_slide(tmp_path / "a.tif", pixels, kind=kind)
    kept = load(tmp_path)
    assert numbers(kept) == [f"x{x}_y{y}" for y in range(0, 256, 64) for x in (0, 64)]
    assert kept.notes == ("1 slides, 24 tiles of 64 px at 0.5 microns per pixel, of which 8 are tissue (data.tissue)",)
    shares = {share: len(load(tmp_path, tile=48, tissue=share).manifest) for share in (0.1, 0.6, 0.7)}
    assert shares == {0.1: 15, 0.6: 15, 0.7: 10}  # the third column is tissue by two thirds


def test_the_map_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_slide(tmp_path / "a.tif", picture(256, 384, LEFT), shrink=(2,))
    with opened(file) as slide:
        whole = slide_tissue.tissue_map(slide, 64)
        monkeypatch.setattr(slide_tissue, "READ", 50)
        blocks = slide_tissue.tissue_map(slide, 64)
    assert whole.shape == (64, 96) and (whole != blocks).mean() < 0.02


def test_a_slide_without_tissue_is_said(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", picture(128, 128, None))
    with pytest.raises(InputError, match=r"data.tissue: expected tiles of which 50% is tissue, got none in 1 slides; "):
        load(tmp_path)
    write_slide(tmp_path / "b.tif", picture(128, 128, LEFT))
    dataset = load(tmp_path)
    assert {*dataset.manifest.paths} == {"b.tif"}
    assert dataset.notes[1] == "1 slides without a tile of tissue (a.tif): left out"


def damage(file: Path, tag: str, value: int) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[0].tags[tag].overwrite(value)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("mpp", "settings", "why"),
    [
        (None, {}, "no microns per pixel in its header: data.level: 0, in place of data.mpp, takes its pixels as they"),
        (25400 / 72, {}, "no microns per pixel"),
        (0.5, {"mpp": 0.25}, "0.5 microns per pixel at its finest, coarser than data.mpp: 0.25"),
        (0.5, {"mpp": None, "level": 2}, "expected a level from 0 to 1, got data.level: 2"),
        (0.5, {"tile": 512}, "a tile of 512 pixels is 512 x 512 of its pixels, larger than the slide of 128 x 256"),
    ],
)
def test_a_slide_that_cannot_be_cut_so(tmp_path: Path, mpp: float | None, settings: dict[str, Any], why: str) -> None:
    write_slide(tmp_path / "a.tif", picture(256, 128, LEFT), mpp=mpp)
    with pytest.raises(UnreadableImages) as caught:
        load(tmp_path, **settings)
    ((path, text),) = caught.value.problems
    assert path == "a.tif" and text.startswith(why)


def test_a_level_in_the_place_of_a_resolution(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", picture(256, 256, LEFT), mpp=None)
    write_slide(tmp_path / "b.tif", picture(256, 256, LEFT, 1), mpp=0.25)
    write_slide(tmp_path / "c.tif", picture(256, 256, LEFT, 2), mpp=0.5)
    dataset = load(tmp_path, mpp=None, level=1, tile=32)
    assert dataset.manifest.ids[:2] == ("a/x0_y0", "a/x0_y128") and len(dataset.manifest) == 6
    assert dataset.notes[1].startswith("the pixels of level 1 have 1 to 2 microns: data.mpp would")
    for settings, came in (({"level": 1}, "both"), ({"mpp": None}, "neither")):
        with pytest.raises(InputError, match=rf"data.mpp: expected .* \(0.5 is about 20x\), or data.level, got {came}"):
            load(tmp_path, **settings)


def test_mixed_resolutions_become_one(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", picture(512, 512, (slice(0, 512), slice(0, 256))), mpp=0.2513)
    write_slide(tmp_path / "b.tif", picture(256, 256, LEFT, 1), mpp=0.5021)
    dataset = load(tmp_path)
    sides = [slide.grid.side[0] for slide in (_look(tmp_path, "a.tif"), _look(tmp_path, "b.tif"))]
    assert sides == pytest.approx([127.3, 63.7], abs=0.1)
    assert {dataset.read(i).shape for i in range(len(dataset.manifest))} == {(64, 64, 3)}


def _look(root: Path, path: str) -> tiles.Tiled:
    return tiles.look(root, path, path, Cut(64, 0.5, None, 0, 0.5), FileIndex())


def test_microns_of_ome(tmp_path: Path) -> None:
    size = {"PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as out:
        out.write(picture(128, 128, LEFT), tile=(64, 64), photometric="rgb", metadata=size)
    assert pyramid_of(tmp_path / "a.ome.tif").mpp == pytest.approx((0.5, 0.5))
    assert load(tmp_path).manifest.ids[0] == "a.ome/x0_y0"


@pytest.mark.parametrize("part", [0.01, 0.6, 0.999])
@pytest.mark.parametrize("kind", KINDS)
def test_a_slide_that_is_cut_short(tmp_path: Path, kind: Kind, part: float) -> None:
    file = write_slide(tmp_path / "a.tif", picture(256, 256, LEFT), kind=kind)
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    write_slide(tmp_path / "b.tif", picture(256, 256, LEFT))
    with pytest.raises(UnreadableImages) as caught:
        load(tmp_path)
    ((path, why),) = caught.value.problems
    assert path == "a.tif" and len(why.splitlines()) == 1
    assert {*load(tmp_path, on_error="skip").manifest.paths} == {"b.tif"}


def test_a_damaged_tile(tmp_path: Path) -> None:
    """It shows when it is read; with on_error: skip the slide is left out before."""
    file = write_slide(tmp_path / "a.tif", picture(256, 256, LEFT))
    write_slide(tmp_path / "b.tif", picture(256, 256, LEFT, 1))
    with tifffile.TiffFile(file) as tiff:
        offset = tiff.pages[0].dataoffsets[0]  # type: ignore[union-attr]
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 40)
    dataset = load(tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        dataset.read(0)
    skipped = load(tmp_path, on_error="skip")
    assert {*skipped.manifest.paths} == {"b.tif"} and [path for path, _ in skipped.skipped] == ["a.tif"]


@pytest.mark.parametrize(
    ("tag", "value", "why"),
    [
        ("ImageWidth", 2**30, "levels of 1073741824 x 256|damaged|cut short"),
        ("BitsPerSample", 16, "channels|damaged|cut short"),
    ],
)
def test_a_header_that_claims_too_much(tmp_path: Path, tag: str, value: int, why: str) -> None:
    file = write_slide(tmp_path / "a.tif", picture(256, 256, LEFT), kind="flat")
    damage(file, tag, (value,) * 3 if tag == "BitsPerSample" else value)  # type: ignore[arg-type]
    with pytest.raises(UnreadableImages, match=why):
        load(tmp_path, tissue=0)


def test_a_piece_that_holds_more_than_its_pixels(tmp_path: Path) -> None:
    file = write_slide(tmp_path / "a.tif", picture(64, 64, LEFT), kind="flat")
    file.write_bytes(file.read_bytes() + bytes(2**17))
    damage(file, "TileByteCounts", 2**17)
    with pytest.raises(UnreadableImages, match="pieces that hold more than their pixels"):
        load(tmp_path)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slide(tmp_path / "a.tif", picture(256, 256, LEFT))
    for module, name, limit, why in (
        (slides, "MAX_PIECE", 4000, "stored in pieces of 64 x 64 pixels, too large to be read: save it in tiles"),
        (tiles, "MAX_TILES", 15, "16 tiles, more than the limit of 15: a larger data.tile or data.mpp makes fewer"),
        (tiles, "MAX_REGION", 4000, "a tile is 64 x 64 pixels of level 0, the nearest that it has, too large"),
        (slide_tissue, "MAX_SCAN", 4000, "too large to look for tissue, as level 1 of 64 x 64 is the smallest"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, limit)
            with pytest.raises(UnreadableImages, match=why):
                load(tmp_path)


def table(root: Path, *lines: str) -> Path:
    file = root / "labels.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for k, name in enumerate(("p1/a.tif", "p1/b.tif", "p2/c.svs")):
        write_slide(tmp_path / name, picture(128, 128, LEFT, k))
    return tmp_path


def test_labels_by_slide(three: Path) -> None:
    file = table(
        three, "slide,dx,who,part", "a,ill,P1,train", "p1/b.tif,ill,P1,train", "c.svs,well,P2,test", "d,ill,P3,"
    )
    columns = {"slide": "slide", "label": "dx", "group": "who", "split": "part"}
    dataset = load(three, table=file, columns=columns)
    assert dataset.classes == ("ill", "well") and dataset.truth.tolist() == [0] * 8 + [1] * 4
    assert set(zip(dataset.manifest.groups, dataset.manifest.splits, strict=True)) == {("P1", "pool"), ("P2", "test")}
    assert dataset.notes[-1] == "labels.csv: 1 rows name no slide here (first: line 5)"
    with pytest.raises(InputError, match=r"data.group: expected slide, as data.columns.group says more, got 'p.'"):
        load(three, table=file, columns=columns, group="p.")
    table(three, "slide,dx,who,part", "a,ill,P1,train", "b,ill,P1,test", "c,well,P2,test")
    with pytest.raises(InputError, match=r"data.columns.split: expected all images of a group"):
        load(three, table=file, columns=columns)
    table(three, "slide,dx", "a,ill", "p1/a.tif,well")
    with pytest.raises(
        InputError, match="line 3: expected the answer of line 2, which has the same slide, got another"
    ):
        load(three, table=file, columns={"slide": "slide", "label": "dx"})


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ({"tile": "id"}, ("id,dx", "p1/a/x64_y0,ill", "p2/c/x0_y64,well")),
        ({"slide": "s", "x": "x", "y": "y"}, ("s,x,y,dx", "a.tif,64,0.0,ill", "p2/c.svs,0,64,well")),
    ],
)
def test_labels_by_tile(three: Path, columns: dict[str, str], rows: tuple[str, ...]) -> None:
    dataset = load(three, table=table(three, *rows), columns={**columns, "label": "dx"})
    assert {dataset.manifest.ids[i]: dataset.truth[i] for i in np.flatnonzero(dataset.truth >= 0)} == {
        "p1/a/x64_y0": 0,
        "p2/c/x0_y64": 1,
    }
    assert dataset.notes[-1] == "labels.csv: no row for 10 of 12 (tile), whose images are unlabeled"
    assert [*dataset.manifest.groups[:5]] == ["p1/a.tif"] * 4 + ["p1/b.tif"]


def test_columns_of_tiles_that_do_not_fit(three: Path) -> None:
    file = table(three, "s,x,y,dx", "a.tif,64,here,ill")
    with pytest.raises(InputError, match="line 2, column y: expected a whole number, got 'here'"):
        load(three, table=file, columns={"slide": "s", "x": "x", "y": "y", "label": "dx"})
    with pytest.raises(InputError, match=r"data.columns: expected slide, x and y together, for tiles, got"):
        load(three, table=file, columns={"slide": "s", "x": "x", "label": "dx"})
    with pytest.raises(InputError, match="a row with the tile of an image in column s, x, y, got none in 1 rows"):
        table(three, "s,x,y,dx", "a.tif,63,0,ill")
        load(three, table=file, columns={"slide": "s", "x": "x", "y": "y", "label": "dx"})


def test_groups_by_pattern_and_classes_by_folder(three: Path) -> None:
    dataset = load(three, group=r"^p\d", labels="folders")
    assert dataset.classes == ("p1", "p2") and {*dataset.manifest.groups} == {"p1", "p2"}
    with pytest.raises(InputError, match=r"data.group: expected slide, or a regular .* got none, which would part"):
        load(three, group="none")


def test_two_copies_of_a_slide_stay_in_one_split(tmp_path: Path) -> None:
    for k in range(6):
        write_slide(tmp_path / f"{k}.tif", picture(128, 128, LEFT, k // 2))
    for seed in range(2):
        manifest = load(tmp_path, holdout={"test": 0.4}, seed=seed, tissue=0).manifest
        split_of = dict(zip(manifest.paths, manifest.splits, strict=True))
        assert all(split_of[f"{k}.tif"] == split_of[f"{k + 1}.tif"] for k in (0, 2, 4))


def test_names_that_differ_by_suffix_alone(tmp_path: Path) -> None:
    for name in ("a.tif", "a.svs", "b.tif"):
        write_slide(tmp_path / name, picture(64, 64, LEFT, len(name)))
    assert load(tmp_path).manifest.ids == ("a.svs/x0_y0", "a.tif/x0_y0", "b/x0_y0")


def test_a_slide_that_did_not_change_is_not_opened(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "SETTLED", -(10**12))
    index = FileIndex(three / "index.json")
    first = Slides(three, tile=64, mpp=0.5).load(index)
    with monkeypatch.context() as patch:
        patch.setattr(tiles, "opened", None)
        assert Slides(three, tile=64, mpp=0.5).load(index).manifest == first.manifest
    write_slide(three / "p1/a.tif", picture(128, 128, LEFT, 9))
    again = Slides(three, tile=64, mpp=0.5).load(index)
    assert again.manifest.ids == first.manifest.ids and again.manifest.digests[:4] != first.manifest.digests[:4]
    assert (again.read(0) != first.read(4)).any(), "the open file is the new one"


def test_few_slides_are_open_at_a_time(tmp_path: Path) -> None:
    files = [write_slide(tmp_path / f"{k}.tif", picture(64, 64, LEFT, k), kind="flat") for k in range(slides.OPEN + 2)]
    held = [read_held(file, lambda slide: slide) for file in files]
    assert read_held(files[-1], lambda slide: slide) is held[-1]
    closed = [slide._handle.ts_tifffile.filehandle.closed for slide in held]
    assert closed == [True, True] + [False] * slides.OPEN


class FakeOpenSlide:
    """What openslide-python has, over an array."""

    def __init__(self, file: Path) -> None:
        self.pixels = np.dstack([picture(128, 128, LEFT), np.full((128, 128), 255, np.uint8)])
        self.pixels[:, 100:, 3] = 0  # was not scanned
        self.level_dimensions, self.properties = ((128, 128),), {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}

    def read_region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        return self.pixels[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]

    def close(self) -> None:
        pass


def test_formats_of_openslide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"some")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Data0001.dat").write_bytes(b"1")
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(InputError, match=r"a.mrxs: expected the packages .*\(pip install 'hybrid-al\[openslide\]'\)"):
        load(tmp_path)
    monkeypatch.setitem(sys.modules, "openslide", types.SimpleNamespace(OpenSlide=FakeOpenSlide))
    dataset = load(tmp_path)
    assert dataset.manifest.ids == ("a/x0_y0", "a/x64_y0", "a/x0_y64", "a/x64_y64")
    assert dataset.read(1)[:, :36].mean() < 200 and (dataset.read(1)[:, 36:] == 255).all()
    before = content_of(tmp_path / "a.mrxs")
    (tmp_path / "a" / "Data0001.dat").write_bytes(b"2")
    assert content_of(tmp_path / "a.mrxs") != before


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slide(tmp_path / "a.tif", picture(64, 64, LEFT))
    monkeypatch.setitem(sys.modules, "tiffslide", None)
    with pytest.raises(InputError, match=r"the package tiffslide \(pip install 'hybrid-al\[slides\]'\), got none"):
        load(tmp_path)
