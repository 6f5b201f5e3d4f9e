"""Masks by people: images go out, masks come back, and every mask that is none is named in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hybrid_al.assemble import experiment, open_project
from hybrid_al.cli import main
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE
from hybrid_al.data.masks import resize_mask
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.learners.segment import SegmentLearner
from hybrid_al.oracles.boxes import COLUMNS
from hybrid_al.oracles.inbox import inbox
from hybrid_al.recipe import parse
from hybrid_al.regions.base import Whole
from hybrid_al.report.overview import standing, write_reports
from tests.helpers.played import play

N, SIZE = 12, (18, 24)  # images of 18 x 24 pixels, seen as 16 x 16


def truth(index: int) -> np.ndarray:
    """A rectangle somewhere."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    row, column = np.random.default_rng(index).integers(1, 10, 2)
    mask[row : row + 7, column : column + 9] = 1
    return mask


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """Images of which only those of test have a mask, in the values 0 and 255."""
    folder, rng, lines = tmp_path / "data", np.random.default_rng(0), ["file,mask,split"]
    folder.mkdir()
    for i in range(N):
        grey = (100 * truth(i) + rng.integers(0, 60, SIZE)).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{i}.png")
        if i >= N - 3:
            Image.fromarray(255 * truth(i)).save(folder / f"{i}_mask.png")
        lines.append(f"{i}.png,{i}_mask.png,test" if i >= N - 3 else f"{i}.png,,train")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return {
        "name": "people",
        "data": {
            "source": "csv",
            "root": str(folder),
            "columns": {"path": "file", "mask": "mask", "split": "split"},
            "group": "none",
            "classes": ["background", "thing"],
            "mask_values": {0: "background", 255: "thing", 9: "ignore"},
            "image_size": 16,
        },
        "encoder": {"name": "test_resnet"},
        "task": {"name": "segmentation", "network": {"name": "unet", "decoder_channels": [8, 8, 8, 8, 8]}},
        "pretrain": "none",
        "cold_start": "random",
        "query": "entropy",
        "train": {"name": "supervised", "steps": 2, "batch": 2},
        "loop": {"budgets": [3, 2]},
        "oracle": "worklist",
        "track": {"wandb": {"mode": "off"}},
    }


def images_of(run: Path, round: int) -> list[Path]:
    return sorted((run / "rounds" / f"{round:03d}" / "images").glob("*.png"))


def write_masks(out: Path, images: list[Path], mask: Callable[[int], np.ndarray] = truth) -> Path:
    """What a person makes of the images."""
    out.mkdir()
    for image in images:
        values = mask(int(image.stem))
        Image.fromarray((255 * values).astype(np.uint8) if values.max() < 2 else values).save(out / image.name)
    return out


@pytest.mark.slow
def test_images_go_out_and_masks_come_back(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = tmp_path / "run"
    with pytest.raises(AwaitingLabels, match=r"round 0 waits for 3 of 3 masks.*0 background, 9 not known.*255 thing"):
        play(run, recipe)
    images = images_of(run, 0)
    assert len(images) == 3
    for image in images:  # in their own pixels
        original = tmp_path / "data" / f"{int(image.stem)}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(image)), np.asarray(Image.open(original)))
    disk = open_project(parse(recipe), run_dir=run).run
    assert any("waits for 3 of 3" in line for line in standing(disk))
    assert inbox(disk).take(write_masks(tmp_path / "first", images[:1]), "ann") == (1, 2)
    with pytest.raises(AwaitingLabels, match=f"waits for 2 of 3 masks, the first is {images[1].name}|{images[2].name}"):
        play(run, recipe)
    unknown = lambda i: np.full(SIZE, 9, dtype=np.uint8)  # noqa: E731
    assert inbox(disk).take(write_masks(tmp_path / "second", images[1:2]), "ann") == (1, 1)
    skips = write_masks(tmp_path / "third", images[2:], unknown)
    assert inbox(disk).take(skips, "bob") == (1, 0)
    with pytest.raises(AwaitingLabels, match="round 1 waits for 2 of 2"):
        play(run, recipe)
    (first,) = disk.rounds()
    assert "test/dice" in first.metrics and first.labeled == 2
    corrected = write_masks(tmp_path / "fourth", [*images_of(run, 1), images[0]], lambda i: 1 - truth(i))
    assert inbox(disk).take(corrected, "ann") == (3, 0)
    project = play(run, recipe)
    labels, learner = project.run.labels(N), experiment(project).learner
    assert isinstance(learner, SegmentLearner)
    assert {a.kind for a in labels.annotations} == {"mask", "skip"}
    assert {a.annotator for a in labels.annotations} == {"ann", "bob"}
    masks = learner.masks(labels)
    for row, label_map in zip(masks.samples.tolist(), masks.maps, strict=True):
        expected = truth(row) if row == int(images[1].stem) else 1 - truth(row)
        values = label_map[label_map != IGNORE]
        assert len(values) == 16 * 12 and abs(values.mean() - expected.mean()) < 0.1
    assert "test/dice" in write_reports([run], None).read_text()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "size": (lambda p: Image.new("L", (24, 17)).save(p), r"expected 18 x 24 pixels as \d+\.png has, got 17 x 24"),
    "values": (lambda p: Image.new("L", (24, 18), 7).save(p), r"values 7 outside the classes \(0, 9, 255\)"),
    "colours": (lambda p: Image.new("RGB", (24, 18), (255, 0, 0)).save(p), "a mask of one channel"),
    "no image": (lambda p: p.write_bytes(b"hello"), "no image"),
    "a name that was not asked for": (
        lambda p: p.rename(p.with_name("999999.png")),
        "999999.png: no image of the open",
    ),
    "the image is gone": (lambda p: shutil.rmtree(p.parents[1] / "run" / "rounds" / "000" / "images"), "is gone"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_mask_that_is_none_is_named_and_nothing_is_taken(tmp_path: Path, recipe: dict[str, Any], kind: str) -> None:
    run = tmp_path / "run"
    with pytest.raises(AwaitingLabels):
        play(run, recipe)
    folder = write_masks(tmp_path / "masks", images_of(run, 0))
    spoil, why = BAD[kind]
    spoil(sorted(folder.iterdir())[1])
    disk = open_project(parse(recipe), run_dir=run).run
    with pytest.raises(InputError, match=why) as caught:
        inbox(disk).take(folder, "ann")
    assert str(caught.value).count("\n") == (3 if kind == "the image is gone" else 1)  # a line each
    assert not list((run / "rounds" / "000" / "answers").glob("*"))


@pytest.mark.slow
def test_folders_that_are_none(tmp_path: Path, recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    disk = open_project(parse(recipe), run_dir=run).run
    with pytest.raises(AwaitingLabels):
        play(run, recipe)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, why in (("empty", "at least one mask, got no image"), ("file", "got a file"), ("no", "nothing there")):
        with pytest.raises(InputError, match=why):
            inbox(disk).take(tmp_path / name, "ann")
    twice = write_masks(tmp_path / "twice", images_of(run, 0)[:1])
    Image.fromarray(255 * truth(0)).save(twice / f"{images_of(run, 0)[0].stem}.bmp")
    with pytest.raises(InputError, match="a second mask of the same image"):
        inbox(disk).take(twice, "ann")
    with pytest.raises(SystemExit, match="0"):
        main(["labels", str(run), str(write_masks(tmp_path / "all", images_of(run, 0)))])
    assert "3 answers taken, the round is complete" in capsys.readouterr().out


def test_select_lays_the_images_out(tmp_path: Path, recipe: dict[str, Any]) -> None:
    file, run = tmp_path / "recipe.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit, match="0"):
        main(["select", str(file), "--run-dir", str(run), "--quiet"])
    assert len(images_of(run, 0)) == 3


@pytest.mark.slow
def test_no_mask_need_be_there_at_all(tmp_path: Path, recipe: dict[str, Any]) -> None:
    table = tmp_path / "data" / "index.csv"
    table.write_text("file,mask\n" + "".join(f"{i}.png,\n" for i in range(N)))
    plain = {**recipe, "loop": {"budgets": [2]}}
    plain["data"] = {**recipe["data"], "columns": {"path": "file", "mask": "mask"}}
    with pytest.raises(AwaitingLabels):
        play(tmp_path / "run", plain)
    disk = open_project(parse(plain), run_dir=tmp_path / "run").run
    assert inbox(disk).take(write_masks(tmp_path / "masks", images_of(tmp_path / "run", 0)), "ann") == (2, 0)
    assert play(tmp_path / "run", plain).run.rounds()[0].labeled == 2
    with pytest.raises(InputError, match="data: expected masks"):
        open_project(parse({**plain, "oracle": "simulated"}), run_dir=tmp_path / "other")


def write_boxes(out: Path, images: list[Path], *rows: str) -> Path:
    """A CSV with the box of each image's rectangle, and more rows."""
    lines = ["image,class,left,top,right,bottom", *rows]
    for image in images:
        rows_of, columns = np.nonzero(truth(int(image.stem)))
        edges = (columns.min(), rows_of.min(), columns.max() + 1, rows_of.max() + 1)
        lines.append(",".join(map(str, (image.name, "thing", *edges))))
    out.write_text("\n".join(lines) + "\n")
    return out


@pytest.mark.slow
def test_boxes_come_in_as_a_csv(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run, plain = tmp_path / "run", {**recipe, "oracle": {"name": "worklist", "answer": "boxes"}}
    plain["loop"] = {"budgets": [4, 2]}
    with pytest.raises(AwaitingLabels, match=r"4 of 4 answers with boxes.*image, class, left, top.*thing, none"):
        play(run, plain)
    one, two, empty, skipped = images_of(run, 0)
    disk = RunDir(run)
    assert inbox(disk).take(write_boxes(tmp_path / "a.csv", [one]), "ann") == (1, 3)
    again_boxes = write_boxes(tmp_path / "b.csv", [two, two], f"{empty.name},none,,,,", f"{skipped.stem},skip,,,,")
    assert inbox(disk).take(again_boxes, "ann") == (3, 0)
    with pytest.raises(AwaitingLabels, match="round 1 waits for 2 of 2 answers with boxes"):
        play(run, plain)
    moved = tmp_path / "c.csv"
    moved.write_text(f"image,class,left,top,right,bottom\n{one.name},thing,0,0,24,18\n")
    assert inbox(disk).take(write_boxes(tmp_path / "d.csv", images_of(run, 1)), "ann") == (2, 0)
    with pytest.raises(InputError, match=r"got others than 1 of ann, the first about .*nothing was taken"):
        inbox(disk).take(moved, "bob")
    assert inbox(disk).take(moved, "bob", replace=True) == (1, 0)  # all boxes of an earlier answer are replaced
    project = play(run, plain)
    labels = project.run.labels(N)
    answers = {a.index: a for a in labels.annotations}
    assert [answers[int(p.stem)].kind for p in (one, two, empty, skipped)] == ["box", "box", "box", "skip"]
    assert [answers[int(p.stem)].cost for p in (one, two, empty)] == [2, 4, 1]
    learner = experiment(project).learner
    assert isinstance(learner, SegmentLearner)
    masks, boxes = learner.masks(labels), learner._boxes(labels)
    maps = dict(zip(masks.samples.tolist(), masks.maps, strict=True))
    assert boxes is not None and len(boxes[int(two.stem)]) == 2 and not len(boxes[int(empty.stem)])
    whole = resize_mask(np.zeros(SIZE, dtype=np.uint8), 16)
    np.testing.assert_array_equal(maps[int(empty.stem)], whole)
    assert (maps[int(one.stem)] == IGNORE).all() and boxes[int(one.stem)].tolist() == [[1, 2, 0, 14, 16]]
    mask = resize_mask(truth(int(two.stem)), 16)
    np.testing.assert_array_equal(maps[int(two.stem)], np.where(mask == 0, 0, IGNORE))
    rows, columns = np.nonzero(mask == 1)
    assert boxes[int(two.stem)][0].tolist() == [1, rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


BAD_BOXES = {
    "NAME,thing,3,4,3,9": "expected 0 <= left < right <= 24 and 0 <= top < bottom <= 18.*, got 3, 4, 3, 9",
    "NAME,thing,-1,4,3,9": "got -1, 4, 3, 9",
    "NAME,thing,1,4,3,19": "got 1, 4, 3, 19",
    "NAME,thing,1,4,nan,9": "got 1, 4, nan, 9",
    "NAME,thing,1,,3,9": "expected numbers, got 1, nothing, 3, 9",
    "NAME,think,1,4,3,9": "did you mean 'thing'|think",
    "NAME,background,1,4,3,9": "background",
    "999999.png,thing,1,4,3,9": "no image of the open query or of an earlier one is named '999999.png'",
    "NAME,thing,1,4,3,9\nNAME,none,,,,": "has another row: none and skip stand alone",
}


@pytest.mark.slow
@pytest.mark.parametrize("row", BAD_BOXES)
def test_a_box_that_is_none_is_named_and_nothing_is_taken(tmp_path: Path, recipe: dict[str, Any], row: str) -> None:
    run, plain = tmp_path / "run", {**recipe, "oracle": {"name": "worklist", "answer": "boxes"}}
    with pytest.raises(AwaitingLabels):
        play(run, plain)
    first, second, _ = images_of(run, 0)
    file = write_boxes(tmp_path / "boxes.csv", [second], row.replace("NAME", first.name))
    with pytest.raises(InputError, match=BAD_BOXES[row]) as caught:
        inbox(RunDir(run)).take(file, "ann")
    assert str(caught.value).count("\n") == 1 and "nothing was taken" in str(caught.value)
    assert not list((run / "rounds" / "000" / "answers").glob("*"))
    wrong = {
        "image,class\n1,a\n": "columns image, class, left",
        ",".join(COLUMNS) + "\n": "at least one row, got 1 line",
    }
    for text, why in wrong.items():
        file.write_text(text)
        with pytest.raises(InputError, match=why):
            inbox(RunDir(run)).take(file, "ann")


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["points", "scribbles"])
def test_points_and_strokes_come_in_as_masks_of_little(tmp_path: Path, recipe: dict[str, Any], answer: str) -> None:
    """Single pixels of an image are still there in the smaller one that the network sees."""
    run, plain = tmp_path / "run", {**recipe, "oracle": {"name": "worklist", "answer": answer}}
    plain["loop"] = {"budgets": [3]}
    with pytest.raises(AwaitingLabels, match=f"3 of 3 masks of {answer[:-1]}s"):
        play(run, plain)

    def mask(i: int) -> np.ndarray:
        answers = np.full(SIZE, 9, dtype=np.uint8)
        row, column = np.argwhere(truth(i) == 1)[0]
        answers[row, column : column + (1 if answer == "points" else 5)] = 255
        answers[0, 0] = 0
        return answers

    assert inbox(RunDir(run)).take(write_masks(tmp_path / "said", images_of(run, 0), mask), "ann") == (3, 0)
    project = play(run, plain)
    learner, labels = experiment(project).learner, project.run.labels(N)
    assert isinstance(learner, SegmentLearner)
    assert {(a.kind, a.cost) for a in labels.annotations} == {(answer.removesuffix("s"), 2.0)}
    masks = learner.masks(labels)
    for i, label_map in zip(masks.samples.tolist(), masks.maps, strict=True):
        expected = np.full((16, 16), IGNORE)  # 24 columns become 16, 18 rows become 12 with 2 above and below
        for value in (0, 255):
            for row, column in np.argwhere(mask(i) == value).tolist():
                expected[2 + row * 12 // 18, column * 16 // 24] = value == 255
        np.testing.assert_array_equal(label_map, expected)


UNITS = [{"name": "windows", "side": 6}, {"name": "ripu", "side": 5, "most": 3}, {"name": "peaks", "side": [3, 6]}]


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit["name"])
@pytest.mark.parametrize("drawn_beyond", [False, True])
def test_of_a_mask_only_the_parts_that_were_asked_are_read(
    tmp_path: Path, recipe: dict[str, Any], unit: dict[str, Any], drawn_beyond: bool
) -> None:
    """Who draws nothing but what is white says as much as who draws the whole image."""
    run = tmp_path / "run"
    plain = {**recipe, "loop": {"budgets": [5, 4]}}
    plain["task"] = {**recipe["task"], "region": unit}
    labeled = np.full((N, 16, 16), IGNORE, dtype=np.uint8)
    for r, count in enumerate((5, 4)):
        with pytest.raises(AwaitingLabels, match=rf"(?s)round {r} waits for .*only what is white .*asked is read"):
            play(run, plain)
        setup = experiment(open_project(parse(plain), run_dir=run))
        assert not isinstance(setup.task.regions, Whole)
        units, regions = RunDir(run).picks(r, RunDir(run).manifest()), setup.task.regions.at(r)
        assert units is not None and len(units) == count
        by_sample = regions.by_sample(units)
        assert [int(image.stem) for image in images_of(run, r)] == sorted(by_sample)

        def mask(i: int, r: int = r) -> np.ndarray:
            white = np.asarray(Image.open(run / "rounds" / f"{r:03d}" / "asked" / f"{i:06d}.png"))
            assert white.shape == SIZE and set(np.unique(white)) <= {0, 255} and white.any()
            return np.where((white > 0) | drawn_beyond, 255 * truth(i), 9).astype(np.uint8)

        folder = write_masks(tmp_path / f"masks-{r}", images_of(run, r), mask)
        assert inbox(RunDir(run)).take(folder, "ann") == (len(by_sample), 0)
        for i, parts in by_sample.items():
            where = regions.mask(i, parts)
            assert (labeled[i][where] == IGNORE).all()
            labeled[i][where] = resize_mask(truth(i), 16)[where]
    project = play(run, plain)
    assert [row.labeled for row in project.run.rounds()] == [5, 9]
    learner, labels = experiment(project).learner, project.run.labels(N)
    assert isinstance(learner, SegmentLearner)
    masks = learner.masks(labels)
    np.testing.assert_array_equal(masks.maps, labeled[masks.samples])
    assert (labeled[np.setdiff1d(np.arange(N), masks.samples)] == IGNORE).all()


@pytest.mark.slow
def test_a_mark_in_a_region_is_its_class(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = tmp_path / "run"
    plain = {**recipe, "loop": {"budgets": [5]}, "oracle": {"name": "worklist", "answer": "dominant"}}
    plain["task"] = {**recipe["task"], "region": UNITS[0]}
    with pytest.raises(AwaitingLabels, match=r"(?s)each white region gets the class of the marks in it"):
        play(run, plain)

    def mask(i: int) -> np.ndarray:
        marks = np.full(SIZE, 9, dtype=np.uint8)
        white = np.asarray(Image.open(run / "rounds" / "000" / "asked" / f"{i:06d}.png"))
        marks[white > 0] = 255  # all of them are of class 1
        return marks

    inbox(RunDir(run)).take(write_masks(tmp_path / "masks", images_of(run, 0), mask), "ann")
    project = play(run, plain)
    row, labels = project.run.rounds()[0], project.run.labels(N)
    assert row.labeled == row.metrics["cost/clicks"] == 5 and {a.kind for a in labels.annotations} == {"point"}
    learner = experiment(project).learner
    assert isinstance(learner, SegmentLearner)
    masks = learner.masks(labels)
    assert int((masks.maps == 1).sum()) == row.metrics["cost/pixels"] and not (masks.maps == 0).any()


@pytest.mark.slow
def test_parts_are_skipped_and_corrected(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = tmp_path / "run"
    plain = {**recipe, "loop": {"budgets": [4, 2, 2]}}
    plain["task"] = {**recipe["task"], "region": {"name": "ripu", "side": 5, "most": 2}}

    def answer(r: int, mask: Callable[[int], np.ndarray], more: tuple[int, ...] = ()) -> None:
        with pytest.raises(AwaitingLabels):
            play(run, plain)
        images = [*images_of(run, r), *(run / "rounds" / "000" / "images" / f"{i:06d}.png" for i in more)]
        inbox(RunDir(run)).take(write_masks(tmp_path / f"masks-{r}", list(dict.fromkeys(images)), mask), "ann")

    unknown = np.full(SIZE, 9, dtype=np.uint8)
    with pytest.raises(AwaitingLabels):
        play(run, plain)
    first, *others = (int(image.stem) for image in images_of(run, 0))
    answer(0, lambda i: unknown if i == first else truth(i))
    answer(1, truth)
    again = [i for i in others if f"{i:06d}.png" not in {image.name for image in images_of(run, 1)}][:1]
    answer(2, lambda i: 1 - truth(i) if i in again else truth(i), tuple(again))
    project = play(run, plain)
    setup, labels = experiment(project), project.run.labels(N)
    assert isinstance(setup.learner, SegmentLearner) and not isinstance(setup.task.regions, Whole)
    masks, parts = setup.learner.masks(labels), setup.task.regions.query_masks(labels)
    for i, label_map in zip(masks.samples.tolist(), masks.maps, strict=True):
        for part in parts(i):
            new_mask = resize_mask(1 - truth(i) if i in again else truth(i), 16)
            first_one = i == first and (label_map[part] == IGNORE).all()  # skipped, then asked elsewhere
            assert first_one or (label_map[part] == new_mask[part]).all()
    skipped = [a for a in labels.annotations if a.kind == "skip"]
    assert [a.index for a in skipped] == [first] and skipped[0].region
    corrected = [a for a in labels.annotations if a.index in again]
    assert [a.region == () for a in corrected] == [False, True]
    assert project.run.rounds()[-1].labeled == 8 - len(skipped[0].region)
