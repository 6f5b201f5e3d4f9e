"""Files of other tools that are not what they should be: one clear line each, and nothing is taken."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_al.core.manifest import Manifest
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Query
from hybrid_al.data.answers import file_name, read_answer, to_png
from hybrid_al.data.drawn.shapes import (
    fill,
    from_runs,
    outlines,
    pack_brush,
    pack_coco,
    runs,
    unpack_brush,
    unpack_coco,
)
from hybrid_al.errors import InputError
from hybrid_al.oracles.boxes import BoxWorklist
from hybrid_al.oracles.formats import FORMATS, recognise
from hybrid_al.oracles.formats.base import Asked, image_name
from hybrid_al.oracles.formats.intake import Intake
from hybrid_al.oracles.inbox import Boxes, Masks, Words, spec_of
from hybrid_al.oracles.masks import IMAGES, MaskWorklist
from hybrid_al.oracles.worklist import WorklistOracle

SIDE, CLASSES = 8, ["background", "nucleus", "vessel"]
SPECS: dict[str, Words | Masks | Boxes] = {
    "class": Words("class"),
    "classes": Words("classes"),
    "mask": Masks("mask", SIDE, {0: 0, 1: 1, 2: 2, 255: 255}),
    "box": Boxes(SIDE),
}


def run_of(path: Path, kind: str) -> RunDir:
    """A run of four images that asks about the first two."""
    n = 4
    manifest = Manifest(
        ids=tuple(f"<script>{i}.png" for i in range(n)), paths=tuple(map(str, range(n))), groups=("a",) * n,
        splits=("pool", "pool", "pool", "pool"), digests=tuple(map(str, range(n))), z=(-1,) * n,
    )  # fmt: skip
    run = RunDir(path)
    facts = {"name": "r", "seed": 0, "task": kind, "classes": CLASSES, "recipe": {}, "manifest": manifest.fingerprint}
    run.claim({**facts, "inbox": spec_of(SPECS[kind])}, "", manifest)
    run.commit_query(0, Query(np.asarray([0, 1])), manifest)
    for i in range(2):
        file = run.round_path(0) / IMAGES / file_name(i)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(to_png(np.zeros((SIDE, SIDE), dtype=np.uint8)))
    return run


def name_of(run: RunDir, index: int) -> str:
    return image_name(run.manifest(), index)


def hand_in(run: RunDir, file: Path, *, empty: bool = False) -> tuple[int, int]:
    box = SPECS[str(run.facts()["task"])].open(run)
    assert isinstance(box, WorklistOracle | MaskWorklist | BoxWorklist)
    name, content = recognise(file)
    assert name is not None
    lists = box if isinstance(box, WorklistOracle) else box.lists
    given = FORMATS[name].read(content, Asked(lists.wording.kind, lists.classes))
    said: list[str] = []
    counts = Intake(box, empty).take(file, given, "ann", replace=False, say=said.append)
    assert not said or "still wait" in said[0]
    return counts


def studio(run: RunDir, folder: Path, *results: Any, name: str = "", **annotation: Any) -> Path:
    task = {
        "id": 5,
        "data": {"name": name or name_of(run, 0)},
        "annotations": [{"result": list(results), **annotation}],
    }
    file = folder / "export.json"
    file.write_text(json.dumps([task]), encoding="utf-8")
    return file


def choice(*names: str) -> dict[str, Any]:
    return {"type": "choices", "value": {"choices": list(names)}}


def brush(mask: Any, label: str = "nucleus", height: int = SIDE, width: int = SIDE) -> dict[str, Any]:
    value = {"format": "rle", "rle": pack_brush(mask), "brushlabels": [label]}
    return {"type": "brushlabels", "original_width": width, "original_height": height, "value": value}


def box(left: int, width: int) -> dict[str, Any]:
    value = {"x": left, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["nucleus"]}
    return {"type": "rectanglelabels", "original_width": width, "original_height": SIDE, "value": value}


WHOLE = np.ones((SIDE, SIDE), dtype=np.bool_)


@pytest.mark.parametrize(
    ("kind", "results", "line"),
    [
        ("class", [choice("nucleos")], r"task 5: class: expected one of .*'nucleos'; did you mean 'nucleus'\?"),
        ("class", [choice("nucleus", "vessel")], r"task 5: .*'nucleus;vessel'"),
        ("class", [{"type": "choices", "value": {"choices": 5}}], "choices: a list, got 5"),
        ("class", [{"type": "choices", "value": {"choices": "nucleus"}}], "choices: a list, got 'nucleus'"),
        ("box", [box(0, 10**400)], "got rectanglelabels: integer division result too large"),
        ("class", [brush(WHOLE)], "task 5: 1 shapes, where a class of the whole image is asked for"),
        ("mask", [brush(WHOLE, "nucleos")], "task 5: class: .*did you mean 'nucleus'"),
        ("mask", [brush(WHOLE, height=9)], r"expected an image of 8 x 8 pixels \(height x width\), got 9 x 8"),
        ("mask", [brush(WHOLE[:4])], "task 5: a mask of 128 values, expected 4 for each of 8 x 8 pixels"),
        ("mask", [choice("nucleus")], "expected shapes, or none or skip alone, where masks are asked for, got nucleus"),
        ("mask", [choice("none"), brush(WHOLE)], "expected shapes, or none or skip alone"),
        ("box", [brush(WHOLE)], "task 5: an outline of nucleus, where boxes are asked for"),
    ],
)
def test_an_answer_that_is_none_is_named(tmp_path: Path, kind: str, results: list[Any], line: str) -> None:
    run = run_of(tmp_path / "run", kind)
    with pytest.raises(InputError, match=line):
        hand_in(run, studio(run, tmp_path, *results))
    assert not list((run.round_path(0) / "answers").glob("*"))


def test_answers_of_another_run_and_about_images_that_nobody_asked_about(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "class")
    for name, line in (
        (f"{name_of(run, 0)[:-1]}g", "no image of this run is called"),
        ("000000.png", "no image of this run is called '000000.png': hybrid-al query gives images out by names"),
        (f"000000-{'0' * 8}", "is an image of another run, or of other data"),
        (f"000009-{'0' * 8}", "is an image of another run, or of other data"),
        (name_of(run, 3), r"'<script>3.png' is an image of this run, but nobody was asked about it"),
        ("../" + "x" * 500, r"no image of this run is called '../x{97}'"),
    ):
        with pytest.raises(InputError, match=line):
            hand_in(run, studio(run, tmp_path, choice("nucleus"), name=name))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.json", '[{"annotations": [', r"a.json: expected a whole JSON file, got Expecting value"),
        ("a.json", "[" * 100_000, "expected a whole JSON file"),
        ("a.json", '[{"annotations": [{"result": [{"x": NaN}]}]}]', "NaN is no number"),
        ("a.json", '[{"annotation_id": 3, "image": "x"}]', "expected an export of kind JSON.*JSON-MIN"),
        ("a.json", '[{"annotations": 3, "data": {}}]', "annotations: a list of objects"),
        ("a.json", '{"images": 3, "annotations": [], "categories": []}', "images: a list of objects"),
        ("a.json", '{"images": [], "annotations": [{"image_id": 3}], "categories": []}', "one of image 3, which"),
        ("a.xml", "<annotations><image", "a.xml: expected a whole XML file"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "expected XML without a DOCTYPE"),
        ("a.xml", "<annotations><track/></annotations>", "expected an export of kind CVAT for images 1.1, got tracks"),
        ("a.xml", '<annotations><image name="x"><box label="a" xtl="1"/></image></annotations>', "one without 'ytl'"),
        ("a.xml", '<annotations><image name="x"><ellipse label="a"/></image></annotations>', "got a ellipse"),
        ("a.xml", f"<!--{'x' * 20_000}--><!DOCTYPE a><annotations/>", "expected XML without a DOCTYPE"),
        (
            "a.xml",
            '<annotations><image name="x"><mask label="a" rle="1" left="inf" top="0" width="1" height="1"/></image>'
            "</annotations>",
            "got cannot convert float infinity to integer",
        ),
        ("a.xml", "<annotations/>", "expected at least one answer, got none"),
        ("a.geojson", '{"type": "Feature", "geometry": null, "properties": {}}', "expected a class .properties.cl"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str, line: str) -> None:
    run = run_of(tmp_path / "run", "mask")
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=line):
        hand_in(run, tmp_path / name)


def test_a_zip_holds_one_file(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "class")
    studio(run, tmp_path, choice("nucleus"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "export.json", "one/x.json")
        archive.writestr("images/a.png", b"")
    assert hand_in(run, tmp_path / "a.zip") == (1, 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("two.json", "[]")
    with pytest.raises(
        InputError, match=r"a.zip: expected a .zip with one file .json or .xml in it, got one/x.json, two"
    ):
        recognise(tmp_path / "a.zip")


def test_nothing_drawn_waits_unless_it_is_said_to_mean_something(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "mask")
    text = "".join(f'<image name="{name_of(run, i)}.png" width="8" height="8"/>' for i in range(2))
    (tmp_path / "a.xml").write_text(f"<annotations>{text}</annotations>", encoding="utf-8")
    with pytest.raises(InputError, match="2 images have no answer in the file and still wait; --empty takes it"):
        hand_in(run, tmp_path / "a.xml")
    assert hand_in(run, tmp_path / "a.xml", empty=True) == (2, 0)
    (answers,) = (run.round_path(0) / "answers").glob("*.csv")
    with answers.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert not read_answer(run.path / rows[0]["label"]).any()


def test_what_was_submitted_with_nothing_drawn_is_an_answer_and_a_skip_is_one(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "box")
    assert hand_in(run, studio(run, tmp_path)) == (1, 1)
    assert hand_in(run, studio(run, tmp_path, was_cancelled=True, name=name_of(run, 1))) == (1, 0)
    texts = [file.read_text(encoding="utf-8") for file in sorted((run.round_path(0) / "answers").glob("*.csv"))]
    assert ",skip," in texts[1] and ".png," in texts[0]


def test_annotations_of_a_task_that_differ_are_not_chosen_from(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "class")
    answers = [{"result": [choice(name)], "completed_by": by} for by, name in enumerate(("nucleus", "vessel"), 1)]
    task: dict[str, Any] = {"id": 5, "data": {"name": name_of(run, 0)}, "annotations": answers}
    file = tmp_path / "export.json"
    file.write_text(json.dumps([task]), encoding="utf-8")
    with pytest.raises(InputError, match=r"task 5: expected one annotation .*got 2 that differ \(completed by 1, 2\)"):
        hand_in(run, file)
    answers[1]["ground_truth"] = True
    file.write_text(json.dumps([task]), encoding="utf-8")
    assert hand_in(run, file) == (1, 1)
    assert "vessel" in next((run.round_path(0) / "answers").glob("*.csv")).read_text(encoding="utf-8")


def test_a_second_answer_about_an_image_is_not_chosen_from(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "class")
    image = f'<image name="a/{name_of(run, 0)}.png" width="8" height="8"><tag label="nucleus"/></image>'
    (tmp_path / "a.xml").write_text(f"<annotations>{image}{image}</annotations>", encoding="utf-8")
    with pytest.raises(InputError, match=r"a second answer about '<script>0.png', the first is at a/000000-"):
        hand_in(run, tmp_path / "a.xml")


def test_the_highest_shape_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "mask")
    shapes = "".join(
        f'<polygon label="{label}" points="0,0;8,0;8,{rows};0,{rows}" z_order="{z}"/>'
        for label, rows, z in (("vessel", 2, 3), ("nucleus", 5, 1), ("ignore", 1, 4))
    )
    image = f'<image name="{name_of(run, 0)}.png" width="8" height="8">{shapes}</image>'
    (tmp_path / "a.xml").write_text(f"<annotations>{image}</annotations>", encoding="utf-8")
    assert hand_in(run, tmp_path / "a.xml") == (1, 1)
    (file,) = (run.round_path(0) / "answers").rglob(file_name(0))
    mask = read_answer(file)
    assert mask[:, 0].tolist() == [255, 2, 1, 1, 1, 0, 0, 0]


# -- shapes -----------------------------------------------------------------------------------------------------------


def random_masks() -> list[Any]:
    rng = np.random.default_rng(0)
    masks = [rng.random((h, w)) < share for h, w, share in ((7, 5, 0.5), (1, 9, 0.3), (9, 1, 0.7), (12, 12, 0.8))]
    return [*masks, np.zeros((3, 4), dtype=bool), np.ones((3, 4), dtype=bool)]


def test_masks_come_back_from_all_that_they_are_written_as() -> None:
    for mask in random_masks():
        height, width = mask.shape
        lengths = runs(mask.ravel())
        np.testing.assert_array_equal(from_runs(lengths, mask.size).reshape(mask.shape), mask)
        assert unpack_coco(pack_coco(lengths)) == lengths
        np.testing.assert_array_equal(unpack_brush(pack_brush(mask), height, width), mask)
        pieces = [fill(rings, height, width) for rings in outlines(mask)]
        again = np.logical_or.reduce(pieces) if pieces else np.zeros_like(mask)
        np.testing.assert_array_equal(again, mask)
        assert sum(int(piece.sum()) for piece in pieces) == mask.sum()


def test_long_runs_are_split() -> None:
    mask = np.zeros((300, 400), dtype=np.bool_)
    mask[5:] = True
    np.testing.assert_array_equal(unpack_brush(pack_brush(mask), 300, 400), mask)
    lengths = [0, 1, 2**31, 5, 2**20, 3]
    assert unpack_coco(pack_coco(lengths)) == lengths


def test_a_polygon_has_the_pixels_whose_middle_is_inside() -> None:
    """Against a slow reference: the crossing number of each pixel's middle."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        ring = rng.uniform(0, 9, (5, 2))
        slow = np.zeros((9, 9), dtype=np.bool_)
        for y, x in np.ndindex(9, 9):
            px, py, inside = x + 0.5, y + 0.5, False
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if (y0 > py) != (y1 > py) and px >= x0 + (py - y0) * (x1 - x0) / (y1 - y0):
                    inside = not inside
            slow[y, x] = inside
        np.testing.assert_array_equal(fill([ring.tolist()], 9, 9), slow)


@pytest.mark.parametrize("text", ["\x1f", "o", "ooooooooooooooooooooooooooo"])
def test_packed_runs_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"in runs of a mask|that are cut"):
        unpack_coco(text)


def test_damaged_masks_of_the_brush() -> None:
    packed = pack_brush(np.ones((4, 4), dtype=np.bool_))
    for values in (packed[:8], packed[:3], [], [300], ["a"]):
        with pytest.raises(ValueError, match=r"cut|values|none|longer"):
            unpack_brush(values, 4, 4)  # type: ignore[arg-type]


def test_an_outline_beyond_the_image_is_one_of_another_image() -> None:
    with pytest.raises(ValueError, match=r"the point \(12, 3\) outside the image, which has 8 x 8 pixels"):
        fill([[(0, 0), (12, 3), (3, 3)]], 8, 8)
    with pytest.raises(ValueError, match="an outline of 2 corners"):
        fill([[(0, 0), (1, 3)]], 8, 8)
