"""Masks of people: what their values mean, how they are turned, and what is said about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hybrid_al.core.manifest import Manifest
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE, Query
from hybrid_al.data.answers import file_name, read_answer, write_answer
from hybrid_al.data.masks import value_table
from hybrid_al.errors import InputError
from hybrid_al.oracles import masks as masks_module
from hybrid_al.oracles.inbox import Masks, inbox, spec_of
from hybrid_al.oracles.masks import ASKED, IMAGES, MaskWorklist
from tests.helpers import dicom

IDS = ("a", "b", "c")
CLASSES = ("background", "cell")
CELL = np.asarray([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=np.uint8)
BLACK_AND_WHITE = CELL * np.uint8(255)


def worklist(root: Path, values: Mapping[int, str] | None = None, answer: str = "mask") -> MaskWorklist:
    """A run that has given out images of a and b, 3 x 4 pixels."""
    table = value_table(values or {}, CLASSES)
    settings = Masks(answer, 4, {IGNORE: IGNORE, **table}, IGNORE in table)
    run, manifest = RunDir(root / "run"), Manifest(IDS, IDS, IDS, ("pool",) * 3, IDS)
    facts = {
        "name": "r",
        "seed": 0,
        "task": "segmentation",
        "inbox": spec_of(settings),
        "classes": CLASSES,
        "manifest": manifest.fingerprint,
        "recipe": {},
    }
    run.claim(json.loads(json.dumps(facts)), "", manifest)
    run.commit_query(0, Query(np.asarray([0, 1])), manifest)
    for i in (0, 1):
        file = run.round_path(0) / IMAGES / file_name(i)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(CELL * np.uint8(90)).save(file)
    people = inbox(run)
    assert isinstance(people, MaskWorklist)
    return people


def drawn(root: Path, *masks: np.ndarray, suffix: str = ".png", orientation: int = 0) -> Path:
    """A folder of masks of the samples a, b, ..."""
    (root / "drawn").mkdir(exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    for i, mask in enumerate(masks):
        Image.fromarray(mask).save((root / "drawn" / file_name(i)).with_suffix(suffix), exif=exif)
    return root / "drawn"


def test_black_and_white_is_refused_and_the_key_is_named(tmp_path: Path) -> None:
    people = worklist(tmp_path)
    with pytest.raises(InputError, match="nothing was taken") as caught:
        people.take(drawn(tmp_path, BLACK_AND_WHITE, CELL), "ann")
    (_, line) = str(caught.value).splitlines()
    assert "000000.png: values 0, 255 alone: are the 4 pixels of 255 cell, or not known?" in line
    assert "data.mask_values: {0: background, 255: cell} (or 255: ignore)" in line
    assert not list((people.run.path / "rounds").rglob("answers/*"))


@pytest.mark.parametrize("white", ["cell", "ignore"])
def test_what_the_recipe_says_of_white_counts(tmp_path: Path, white: str) -> None:
    values = {0: "background", 1: "cell", 255: "ignore"} if white == "ignore" else {0: "background", 255: "cell"}
    people = worklist(tmp_path, values)
    assert people.take(drawn(tmp_path, BLACK_AND_WHITE, BLACK_AND_WHITE), "ann") == (2, 0)
    kept = read_answer(people.run.round_path(0) / "answers/000" / file_name(1))
    np.testing.assert_array_equal(kept, CELL if white == "cell" else BLACK_AND_WHITE)


def test_unknown_pixels_beside_known_ones_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = CELL.copy()
    mask[2] = IGNORE
    (drawn(tmp_path, mask, np.full((3, 4), IGNORE, dtype=np.uint8)) / "notes.txt").write_text("hm")
    assert worklist(tmp_path).take(tmp_path / "drawn", "ann") == (2, 0)
    said = capsys.readouterr().err
    assert "4 of 12 pixels (33.3%) are not known" in said and "1 masks label no pixel, which skips" in said
    assert "1 files ignored" in said and ".txt 1" in said


def test_points_leave_most_pixels_unknown(tmp_path: Path) -> None:
    """Points in an image without a cell are background on unknown: that is how they are asked for."""
    mask = np.full((3, 4), IGNORE, dtype=np.uint8)
    mask[1, 1] = 0
    assert worklist(tmp_path, answer="points").take(drawn(tmp_path, mask), "ann") == (1, 1)


def test_only_what_was_asked_about_is_looked_at(tmp_path: Path) -> None:
    people = worklist(tmp_path)
    asked = np.zeros((3, 4), dtype=np.uint8)
    asked[0, :2] = 255
    file = people.run.round_path(0) / ASKED / file_name(0)
    file.parent.mkdir(parents=True)
    Image.fromarray(asked).save(file)
    mask = np.where(asked > 0, 0, IGNORE).astype(np.uint8)
    assert people.take(drawn(tmp_path, mask), "ann") == (1, 1)
    mask[0, 0] = IGNORE
    with pytest.raises(InputError, match="are the 1 pixels of 255 cell, or not known"):
        people.take(drawn(tmp_path, mask), "ann")


def test_a_mask_of_another_orientation(tmp_path: Path) -> None:
    people = worklist(tmp_path)
    with pytest.raises(InputError, match="the mask has EXIF orientation 3, the other file has none"):
        people.take(drawn(tmp_path, CELL, orientation=3), "ann")
    assert people.take(drawn(tmp_path, np.rot90(CELL), orientation=6), "ann") == (1, 1)
    np.testing.assert_array_equal(read_answer(people.run.round_path(0) / "answers/000" / file_name(0)), CELL)


@pytest.mark.parametrize(
    ("mask", "suffix", "match"),
    [
        (BLACK_AND_WHITE, ".jpg", "JPEG may change the values of a mask"),
        (BLACK_AND_WHITE, ".jfif", "JPEG may change the values of a mask"),
        (CELL * np.uint8(90), ".png", r"values 90 outside the classes \(0, 1, 255\) in 4 of 12 pixels"),
        (np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, ".png", "smoothed edges"),
        (CELL[:2], ".png", r"expected 3 x 4 pixels as 000000\.png has, got 2 x 4"),
        (np.dstack([BLACK_AND_WHITE, CELL, CELL]), ".png", "got colours in mode RGB"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, mask: np.ndarray, suffix: str, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        worklist(tmp_path).take(drawn(tmp_path, mask, suffix=suffix), "ann")
    assert str(caught.value).count("\n") == 1


def test_a_correction_that_is_cut_off_leaves_the_masks_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people, query = worklist(tmp_path), np.asarray([0, 1])
    people.take(drawn(tmp_path, CELL, CELL), "ann")

    def masks() -> list[list[list[int]]]:
        return [read_answer(people.run.path / str(a.target)).tolist() for a in people.annotate(query, 0)]

    before, written = masks(), list[int]()

    def killed(*args: object, **more: object) -> str:
        written.append(1)
        if len(written) == 2:
            raise KeyboardInterrupt
        return str(write_answer(*args, **more))  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(masks_module, "write_answer", killed)
        with pytest.raises(KeyboardInterrupt):
            people.take(drawn(tmp_path, 1 - CELL, 1 - CELL), "ann")
    assert masks() == before
    people.take(drawn(tmp_path, 1 - CELL, 1 - CELL), "ann")
    assert masks() == [(1 - CELL).tolist()] * 2
    picture = people.run.round_path(0) / "answers" / "001" / file_name(0)
    picture.write_bytes((picture.parent.parent / "000" / file_name(0)).read_bytes())
    with pytest.raises(InputError, match=r"answers/001/000000\.png: expected the answers as they were taken in"):
        people.annotate(query, 0)


def test_masks_in_any_format_that_masks_of_data_may_have(tmp_path: Path) -> None:
    people = worklist(tmp_path)
    (tmp_path / "drawn").mkdir()
    tifffile.imwrite(tmp_path / "drawn" / "000000.tif", CELL.astype(np.uint16), compression="lzw", metadata=None)
    dicom.write(tmp_path / "drawn" / "000001.dcm", CELL)
    assert people.take(tmp_path / "drawn", "ann") == (2, 0)
    for answer in people.annotate(np.asarray([0, 1]), 0):
        np.testing.assert_array_equal(read_answer(people.run.path / str(answer.target)), CELL)
