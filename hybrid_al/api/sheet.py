"""The open query as a sheet that people can read and print, and its images in a folder."""

from __future__ import annotations

import base64
import csv
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.files import write_atomic
from ..data.bags import Bags
from ..data.pixels import to_uint8
from ..errors import InputError
from ..report.overlay import thumbnail
from .outputs import check_outside, new_folder
from .pixels_only import files_of
from .select import copy_images

if TYPE_CHECKING:
    from ..assemble import Project

SHEET = "query.html"
SIDE, SMALL = 160, 64  # pixels of a picture, of one of a bag
MOST_ROWS, FEW_ROWS = 4000, 6  # pictures of bags on a sheet, and of each at least
MOST = 1000  # picks on a sheet; the others are in query.csv

STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #111; background: #fff }
ol { list-style: none; padding: 0; display: grid; gap: 1rem }
ol { grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)) }
li { break-inside: avoid; overflow-wrap: anywhere }
img, .none { width: 160px; height: 160px; object-fit: contain; background: #000; display: block }
.none { background: #ddd }
li.bag { grid-column: 1 / -1 }
.bag div { display: flex; flex-wrap: wrap; gap: 2px }
.bag img { width: 64px; height: 64px }
small { color: #444; display: block }
.answer { border-bottom: 1px solid #111; height: 1.6em }
@media print { body { margin: 0; font-size: 11px } }
"""


def write_sheet(project: Project) -> Path | None:
    """Write the contact sheet of the open query beside its `query.csv`; None where none is open.

    Each pick with rank, picture, id, reason and a line to write on; a bag with its images, of many some. Without
    pictures where the recipe has them in no report (`report.images`).
    """
    run = project.run
    folder = run.round_path(len(run.rounds()))
    if not (folder / "query.csv").is_file():
        return None
    with (folder / "query.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    tile = _bag_tile if project.dataset.bags else _tile
    title = f"{project.recipe.name}: round {len(run.rounds())}, {len(rows)} picks"
    more = f"<p>{len(rows) - MOST} more in query.csv</p>" if len(rows) > MOST else ""
    write_atomic(
        folder / SHEET,
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src '
        f"'unsafe-inline'\"><title>{escape(title)}</title><style>{STYLE}</style><h1>{escape(title)}</h1>"
        f"<p>Classes: {escape(', '.join(project.dataset.classes))}</p><ol>"
        f"{''.join(tile(project, row, len(rows)) for row in rows[:MOST])}</ol>{more}</html>\n",
    )
    return folder / SHEET


def _bag_tile(project: Project, row: dict[str, str], picks: int) -> str:
    """All images of a bag, or as many of them, evenly spread, as a sheet of so many picks has room for."""
    dataset = project.dataset
    index, most = dataset.manifest.position[row["id"]], max(FEW_ROWS, MOST_ROWS // picks)
    rows = Bags.of(dataset).rows(index)
    shown = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]
    count = f"{len(rows)} images" if len(shown) == len(rows) else (
        f"{len(shown)} of {len(rows)} images, evenly spread; hybrid-al label shows all"
    )  # fmt: skip
    pictures = (
        [_img(project.store().picture(i), "", SMALL) for i in shown.tolist()] if project.recipe.report.images else []
    )
    return (
        f'<li class="bag"><b>{escape(row["rank"])}</b> {escape(dataset.bags[index])} ({escape(row["id"])}): {count}'
        f"<div>{''.join(pictures)}</div><small>{escape(row['reason'])}</small>"
        '<div class="answer"></div></li>'
    )


def _tile(project: Project, row: dict[str, str], picks: int) -> str:
    index = project.dataset.manifest.position[row["id"]]
    picture = '<span class="none"></span>'
    if project.recipe.report.images:
        picture = _img(project.store().picture(index), "")
        if (locate := project.dataset.locator) is not None and (slide := locate(index)) is not None:
            picture += _img(to_uint8(slide), "where the tile lies in its slide")
    return (
        f"<li><b>{escape(row['rank'])}</b> {escape(row['id'])}{picture}<small>{escape(row['reason'])}</small>"
        '<div class="answer"></div></li>'
    )


def _img(pixels: npt.NDArray[np.uint8], text: str, side: int = SIDE) -> str:
    jpeg = base64.b64encode(thumbnail(pixels, side)).decode()
    return f'<img alt="{text}" src="data:image/jpeg;base64,{jpeg}">'


def copy_query(project: Project, folder: Path) -> Path:
    """Copy the images of the open query into a new folder, each with its rank in front, and its sheet beside them.

    Of bags all images, in a folder a bag.
    """
    run = project.run
    ids = run.query_ids(len(run.rounds()))
    if ids is None:
        raise InputError(run.path, "an open query", "none")
    files = files_of(project.recipe.data)
    if files is not None:
        check_outside(folder, files)
    position = project.dataset.manifest.position
    samples = np.asarray([position[sample] for sample in dict.fromkeys(ids)], dtype=np.int64)
    sheet = write_sheet(project)
    with new_folder(folder) as new:
        place = None if project.dataset.names else files
        if project.dataset.bags:
            bags = Bags.of(project.dataset)
            (new / "images").mkdir()
            for rank, sample in enumerate(samples.tolist(), start=1):
                copy_images(new / "images" / f"{rank:03d}", project.dataset, place, bags.rows(sample))
        else:
            copy_images(new / "images", project.dataset, place, samples)
        for file in (sheet, run.round_path(len(run.rounds())) / "query.csv"):
            if file is not None:
                write_atomic(new / file.name, file.read_bytes())
    return folder
