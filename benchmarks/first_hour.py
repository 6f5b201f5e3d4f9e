"""Images for benchmarks/FIRST_HOUR.md: coloured discs on noise; and how long the first answer about them takes.

python benchmarks/first_hour.py FOLDER COUNT [SIDE]
python benchmarks/first_hour.py --answer FOLDER [key.path=value ...]

The second runs `init` and `label` on a folder of images as a person would, opens the page that is printed, answers one
image, and says what both took. FOLDER-work must not be there yet.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
import uuid
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener

import numpy as np
from PIL import Image


def write_images(folder: Path, count: int, side: int = 256) -> None:
    """Write the images."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    for i in range(count):
        image = np.zeros((side, side, 3)) + rng.integers(40, 200, 3)
        for _ in range(rng.integers(3, 30)):
            (top, left), radius = rng.integers(0, side, 2), rng.integers(4, 40) * side / 256
            image[(y - top) ** 2 + (x - left) ** 2 < radius * radius] = rng.integers(0, 255, 3)
        noisy = image + rng.normal(0, 12, image.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"scan_{i:04d}.png")


def to_first_answer(folder: Path, changes: list[str]) -> None:
    """Two commands, and one answer on the page that the second serves."""
    work = folder.with_name(f"{folder.name}-work")
    work.mkdir()
    began, program = time.monotonic(), [sys.executable, "-m", "hybrid_al.cli"]
    recipe = work / "recipe.yaml"
    subprocess.run([*program, "init", folder, "-o", recipe], check=True, stdout=subprocess.DEVNULL)
    label = [*program, "label", recipe, *changes, "--reader", "anna", "--run-dir", work / "run"]
    with subprocess.Popen(label, stdout=subprocess.PIPE, text=True, encoding="utf-8") as server:
        assert server.stdout is not None
        link = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+token=\S+", line)))
        shown = time.monotonic() - began
        answer(link)
        seconds = time.monotonic() - began
        server.terminate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"link after {shown:.0f} s, first answer saved after {seconds:.0f} s of the clock, {cpu:.0f} s of CPU")


def answer(link: str) -> None:
    """Open the page and give the first class of the first image."""
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    place = link.partition("/?")[0]
    browser.open(link).read()
    state = json.load(browser.open(f"{place}/api/state"))
    first = state["items"][0]
    browser.open(f"{place}/image/{first['index']}.png").read()
    body = {"id": str(uuid.uuid4()), "round": state["progress"]["round"], "sample": first["sample"], "kind": "answer"}
    plain = json.dumps({**body, "classes": state["classes"][:1]}).encode()
    browser.open(Request(f"{place}/api/answer", plain, {"content-type": "application/json"})).read()


if __name__ == "__main__":
    if sys.argv[1] == "--answer":
        to_first_answer(Path(sys.argv[2]), sys.argv[3:])
    else:
        write_images(Path(sys.argv[1]), *map(int, sys.argv[2:]))
