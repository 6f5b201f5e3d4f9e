"""Takes the screenshots of the page for docs/howto/label.md, of chest X-rays of the package and of nuclei (CC0).

    python docs/pictures/label_page.py ../shared/data/dsb2018_nuclei

It needs Chromium, and writes the PNG files beside itself.
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
    shoot(page, f"{name}_phone")


def main(root: str) -> None:
    """Play two short loops and take the pictures."""
    demo = np.load(ROOT / "hybrid_al" / "data" / "demo" / "pneumonia.npz")["train_labels"].ravel()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "classes"
        with served(run, CLASSES) as link, browser_page(link, viewport=WIDE) as page:
            for k in range(16):
                index = page.get_attribute("body", "data-shown")
                page.keyboard.press("u" if k == 14 else str(int(demo[int(index or 0)]) + 1))
                while page.get_attribute("body", "data-shown") == index:
                    page.wait_for_timeout(100)
            page.fill("#comment", "rotated")
            page.locator("#comment").blur()
            shoot_all(page, "classes")
        run, recipe = Path(folder) / "masks", nuclei(root)
        answer_by_masks(run, recipe)
        with served(run, recipe) as link, browser_page(link, viewport=WIDE) as page:
            page.keyboard.press("Enter")
            page.wait_for_timeout(1500)
            box = page.locator("#image").bounding_box()
            assert box is not None
            page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"])
            shoot_all(page, "masks")


if __name__ == "__main__":
    main(sys.argv[1])
