"""Whole queries answered in a browser: the labels are those of a simulated oracle that gives the same answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from hybrid_al.assemble import open_project
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import read_answer
from hybrid_al.errors import AwaitingLabels
from hybrid_al.models.promptable import Prompt, Promptable
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.page.desk import Desk
from hybrid_al.page.pictures import ProjectPictures
from hybrid_al.page.training import Training
from hybrid_al.recipe import parse
from tests.helpers.label_browser import browser_page, served
from tests.helpers.label_page import submission
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of
from tests.helpers.tiny_onnx import write_pair

pytestmark = pytest.mark.slow
SIZE, N = (18, 24), 12


def shown(page: Page) -> int:
    return int(page.get_attribute("body", "data-shown") or -1)


def is_shown(page: Page, index: int) -> bool:
    return shown(page) == index


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait in this process: the page lets no text be run as a script."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_next(page: Page, before: int) -> None:
    """Until another image is shown, or none is."""
    until(lambda: shown(page) != before or not page.is_visible("#work"))


def labels(run: Path, n: int) -> dict[int, tuple[str, object, int]]:
    """Sample -> kind, what it says, round."""
    disk = RunDir(run)

    def said(target: object) -> object:
        return read_answer(run / target).tolist() if isinstance(target, str) else target

    return {a.index: (a.kind, said(a.target), a.round) for a in disk.labels(n).annotations}


def test_two_rounds_of_classes_by_keys_and_clicks(tmp_path: Path) -> None:
    """The second round asks whether it is the class that the model guesses, yes or no."""
    recipe, oracle = recipe_of("classification", learner="frozen"), {"name": "worklist", "answer": "one_bit"}
    truth = play(tmp_path / "simulated", {**recipe, "oracle": {**oracle, "name": "simulated"}}).dataset

    def key(index: int) -> int:
        asked, said = re.search(r"Is it (.+?)\?", page.inner_text("#about")), int(truth.truth[index])
        return said + 1 if asked is None else 1 if asked[1] == truth.classes[said] else 2

    with served(tmp_path / "page", {**recipe, "oracle": oracle}, reader=None) as link, browser_page(link) as page:
        page.fill("#who-name", "anna <b>")
        page.keyboard.press("Enter")
        for k in range(6):
            page.wait_for_selector("#work:not([hidden])")
            if k == 4:
                until(lambda: "round 1" in page.inner_text("#name"))
                page.wait_for_selector("#similar img")
                assert "Is it" in page.inner_text("#about") and "yes, " in page.inner_text("#classes")
            index = shown(page)
            if k == 1:  # a wrong answer, undone
                page.keyboard.press(str(3 - key(index)))
                wait_for_next(page, index)
                page.keyboard.press("z")
                until(partial(is_shown, page, index))
            if k == 2:  # the server is away for a while
                page.route("**/api/answer", lambda route: route.abort())
                page.keyboard.press(str(key(index)))
                until(lambda: "Not saved yet" in page.inner_text("#saved"))
                other, given = page.context.new_page(), len(Ledger(RunDir(tmp_path / "page")).entries())
                other.goto(page.url)  # another tab sends what this one still has to send, and it counts once
                until(lambda n=given: len(Ledger(RunDir(tmp_path / "page")).entries()) == n + 1)  # type: ignore[misc]
                other.close()
                page.unroute("**/api/answer")
                until(lambda: page.inner_text("#saved") == "Saved")
            elif k % 2:
                page.click(f"#classes button:nth-child({key(index)})")
            else:
                page.keyboard.press(str(key(index)))
            wait_for_next(page, index)
        until(lambda: "finished" in page.inner_text("#pause"))
    n = len(truth.manifest)
    assert labels(tmp_path / "page", n) == labels(tmp_path / "simulated", n)
    entries = Ledger(RunDir(tmp_path / "page")).entries()
    assert {e.reader for e in entries} == {"anna <b>"} and len({e.id for e in entries}) == len(entries) == 8


def rectangle(index: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    row, column = np.random.default_rng(index).integers(1, 10, 2)
    mask[row : row + 7, column : column + 9] = 1
    return mask


def outlined(folder: Path) -> dict[str, Any]:
    """A recipe over images of rectangles, with masks that a simulated oracle knows."""
    folder.mkdir()
    lines, rng = ["file,mask,split"], np.random.default_rng(0)
    for i in range(N):
        Image.fromarray((100 * rectangle(i) + rng.integers(0, 60, SIZE)).astype(np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(rectangle(i)).save(folder / f"{i}_mask.png")
        lines.append(f"{i}.png,{i}_mask.png,{'test' if i >= N - 2 else 'train'}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {"path": "file", "mask": "mask", "split": "split"}
    data = {"source": "csv", "root": str(folder), "columns": columns, "group": "none", "image_size": 16}
    return recipe_of("segmentation", data={**data, "classes": ["background", "thing"]}, loop={"budgets": [2, 2]})


def draw(page: Page, mask: np.ndarray, tool: str) -> None:
    """Draw a rectangle with the pointer."""
    rows, columns = np.nonzero(mask)
    point = pointer(page, SIZE)
    (x0, y0), (x1, y1) = point(columns.min(), rows.min()), point(columns.max() + 1, rows.max() + 1)
    page.keyboard.press(tool)
    if tool == "r":
        page.mouse.move(x0, y0)
        page.mouse.down()
        page.mouse.move(x1, y1, steps=4)
        page.mouse.up()
    else:
        for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
            page.mouse.click(*corner)
        page.keyboard.press("Enter")  # closes it


def test_two_rounds_of_masks_that_are_drawn(tmp_path: Path) -> None:
    recipe = outlined(tmp_path / "data")
    play(tmp_path / "simulated", recipe)
    with served(tmp_path / "page", {**recipe, "oracle": "worklist"}) as link, browser_page(link) as page:
        for k in range(4):
            page.wait_for_selector("#work:not([hidden])")
            if k == 2:
                until(lambda: "round 1" in page.inner_text("#name"))
                page.wait_for_selector("#propose:not([hidden])", timeout=15_000)
            index = shown(page)
            if k == 2:
                with page.expect_response("**/doubt/*.png") as doubt:
                    page.keyboard.press("d")
                assert doubt.value.status == 200
                until(lambda: page.get_attribute("#doubt", "aria-pressed") == "true")
                page.keyboard.press("d")
                page.click("#blank")
            elif k == 3:  # over the proposal
                page.keyboard.press("2")
                draw(page, np.ones(SIZE), "r")
                page.keyboard.press("1")
            draw(page, rectangle(index), "p" if k == 1 else "r")
            page.keyboard.press("Enter")
            wait_for_next(page, index)
        until(lambda: "finished" in page.inner_text("#pause"))
    assert labels(tmp_path / "page", N) == labels(tmp_path / "simulated", N)
    assert [e.proposal for e in Ledger(RunDir(tmp_path / "page")).entries()] == ["", "", "discarded", "edited"]


def test_a_box_that_proposes_a_point_that_corrects_and_what_the_ledger_keeps(tmp_path: Path) -> None:
    encoder, decoder = write_pair(tmp_path)
    label = {"segmenter": {"encoder": str(encoder), "decoder": str(decoder)}}
    recipe = recipe_of("segmentation", oracle="worklist", label=label, loop={"budgets": [4]})
    run = tmp_path / "run"
    with served(run, recipe) as link, browser_page(link) as page:
        for k in range(4):
            index = shown(page)
            page.keyboard.press("r")
            point = pointer(page)
            page.mouse.move(*point(0, 0))
            page.mouse.down()
            page.mouse.move(*point(12, 16), steps=3)
            page.mouse.up()
            until(lambda: "Proposed" in page.inner_text("#saved"))
            if k == 1:
                page.keyboard.press("o")
                with page.expect_response("**/api/segment/**"):
                    page.mouse.click(*point(2, 2))
                until(lambda: "Proposed" in page.inner_text("#saved"))
                page.keyboard.press("b")
                page.mouse.click(*point(14, 8))
            elif k == 2:
                page.keyboard.press("Control+z")
                page.keyboard.press("a")  # a box is filled again
                page.mouse.move(*point(2, 2))
                page.mouse.down()
                page.mouse.move(*point(5, 6), steps=3)
                page.mouse.up()
                page.keyboard.press("a")
            page.keyboard.press("Enter")
            if k < 3:
                wait_for_next(page, index)
        until(lambda: len(Ledger(RunDir(run)).entries()) == 4)
    entries = Ledger(RunDir(run)).entries()
    assert [e.proposal for e in entries] == ["accepted", "edited", "discarded", "accepted"]
    assert [(e.proposer, e.refused) for e in entries] == [("segmenter", k == 2) for k in range(4)]
    assert [e.prompts for e in entries] == [1, 2, 1, 1]
    pictures = ProjectPictures(open_project(parse(recipe), run_dir=run), proposes=False)
    segmenter, position = Promptable(encoder, decoder), RunDir(run).manifest().position
    image = pictures.shown(position[entries[0].sample])
    mask = segmenter.mask(segmenter.embed(image), Prompt(box=(0, 0, 12, 16)))
    np.testing.assert_array_equal(read_answer(run / entries[0].text), mask)
    assert read_answer(run / entries[2].text).sum() == 12 and read_answer(run / entries[2].proposed).any()


def pointer(page: Page, size: tuple[int, int] = (16, 16)) -> Callable[[float, float], tuple[float, float]]:
    """From pixels of the image that is shown to those of the browser."""
    box = page.locator("#image").bounding_box()
    assert box is not None
    scale = min(box["width"] / size[1], box["height"] / size[0])
    left, top = box["x"] + (box["width"] - scale * size[1]) / 2, box["y"] + (box["height"] - scale * size[0]) / 2
    return lambda x, y: (left + scale * x, top + scale * y)


def test_the_next_step_is_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("nothing", encoding="utf-8")
    training = Training(RunDir(tmp_path))
    training.start()
    assert training.runs
    while training.runs:
        time.sleep(0.1)
    state = training.state()
    assert training.failed and state["failed"] and "expected" in state["line"]


def test_another_readers_answer_and_a_page_that_is_stale(tmp_path: Path) -> None:
    recipe = recipe_of("classification", learner="frozen", oracle="worklist")
    with served(tmp_path / "run", recipe, reader=None) as link, browser_page(link) as page:
        page.fill("#who-name", "bob")
        page.keyboard.press("Enter")
        index = shown(page)
        other = Desk(RunDir(tmp_path / "run"), reader="anna", size=lambda _: (16, 16))
        samples = {pick.index: pick.sample for pick in other.picks(0).values()}
        other.answer(submission("of-anna", samples[index], classes=[other.classes[0]]))
        page.keyboard.press("2")
        until(lambda: "anna answered" in page.inner_text("#message"))
        page.click("text=Keep theirs")
        until(lambda: "anna: " in page.inner_text("#about"))
        page.keyboard.press("2")
        page.click("text=Replace it")
        until(lambda: other.standings(0)[samples[index]].reader == "bob")
        page.route("**/api/state", lambda route: route.abort())  # the page does not hear of what follows
        for k, sample in enumerate(samples.values()):
            other.answer(submission(f"all-{k:04d}", sample, classes=[other.classes[k % 2]], replace=True))
        with suppress(AwaitingLabels):
            play(tmp_path / "run", recipe)
        page.keyboard.press("1")
        until(lambda: "round 0 is over" in page.inner_text("#message"))
        page.unroute("**/api/state")
        page.click("text=Load again")
        until(lambda: "round 1" in page.inner_text("#name"))
    assert len(other.standings(1)) == 0 and all(s.reader == "anna" for s in other.standings(0).values())


def test_a_slice_of_a_volume_is_drawn_by_keys_alone(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "masks").mkdir()
    for k in range(3):
        voxels = np.random.default_rng(k).normal(400, 60, (24, 20, 5)).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "volumes" / f"{k}.nii.gz")
    places = {"root": str(tmp_path / "volumes"), "masks": str(tmp_path / "masks"), "window": [0, 1200]}
    data = {"source": "nifti", **places, "group": "none", "classes": ["background", "ball"], "image_size": 16}
    run = tmp_path / "run"
    with served(run, recipe_of("segmentation", data=data, oracle="worklist")) as link, browser_page(link) as page:
        index, at = shown(page), page.inner_text("#slice-at")
        page.keyboard.press("PageUp" if at.startswith("5") else "PageDown")
        until(lambda: page.inner_text("#slice-at") != at)
        page.keyboard.press("PageDown" if at.startswith("5") else "PageUp")
        until(lambda: page.inner_text("#slice-at") == at)
        page.wait_for_timeout(300)
        page.focus("#image")
        page.keyboard.press("r")
        page.keyboard.press("Space")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        page.click("#after")
        until(lambda: shown(page) != index)
        page.reload()  # what was drawn is there again, though nobody saved it
        page.wait_for_selector("body[data-shown]")
        until(lambda: shown(page) == index and "not saved is back" in page.inner_text("#saved"))
        page.keyboard.press("Enter")
        until(lambda: shown(page) != index and page.inner_text("#saved") == "Saved")
        page.keyboard.press("z")
        until(lambda: shown(page) == index and "not saved is back" in page.inner_text("#saved"))
        page.keyboard.press("Enter")
        until(lambda: shown(page) != index and page.inner_text("#saved") == "Saved")
        entry, withdrawn, again = Ledger(RunDir(run)).entries()
        assert withdrawn.kind == "withdrawn" and again.text == entry.text
    labels = read_answer(run / entry.text)
    assert labels.shape == (20, 24) and labels.sum() == 16
