"""What the page shows that only the data and the last model can give: pictures of picks, and held-out images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.rundir import LAYOUT, RunDir, layout_of
from ..errors import HybridALError
from .gallery import MOST_LISTED, Thumbnail
from .held_out import Worst, errors_of
from .overlay import Overlay, answer_thumbnail, overlays, thumbnail

if TYPE_CHECKING:
    from ..assemble import Project
    from ..experiment import BagNote, Experiment
    from .runview import RunView

LARGE = 1024  # pixels of a worst case at most
MOST_LARGE_BYTES = 1_500_000  # of all of them
WORST_MASKS = 6
MOST_BAGS, ACROSS = 12, 3


@dataclass(frozen=True)
class Pictures:
    """Pictures of a run: of its picks, of the held-out images it is most wrong about, and predicted masks.

    bags       the rows of most attention of bags that the last model is wrong about, then of picks
    predicted  what the last model says of the picks, in the words of the labels
    """

    thumbnail: Thumbnail | None = None
    predicted: dict[int, str] = field(default_factory=dict)
    worst: tuple[Overlay, ...] = ()
    examples: tuple[Overlay, ...] = ()
    bags: tuple[Overlay, ...] = ()


def pictures_of(run: RunView) -> Pictures:
    """Nothing where `report.images` is false, or where the data has moved or is not what it was."""
    project = None if run.path is None else _project(run.path)
    if project is None:
        return Pictures()
    last = next((r for r in run.rounds[::-1] if r.round), None)
    errors = None if last is None else errors_of(run, last)
    worst = () if errors is None else errors.worst
    setup = _trained(project, last.index) if last else None
    if setup is None:
        return Pictures(_thumbnail(project))
    if setup.task.notes is not None:
        rows = [each.index for each in worst] + run.rounds[-1].units.tolist()
        bags = tuple(bag_overlays(setup.task.notes(setup.learner, rows[:MOST_BAGS]), project, run.classes))
        return Pictures(_thumbnail(project), _predicted(run, setup), bags=bags)
    if not project.task.drawable:
        return Pictures(_thumbnail(project), _predicted(run, setup), tuple(_large(project, worst)))
    store, ids = project.store(), project.dataset.manifest.ids
    examples = setup.task.examples
    rows = [each.index for each in worst[:WORST_MASKS]]
    return Pictures(
        _thumbnail(project),
        worst=tuple(overlays(examples(setup.learner, rows), store, ids) if rows else ()),
        examples=tuple(overlays(examples(setup.learner, ()), store, ids)),
    )


def _project(path: Path) -> Project | None:
    """The project of a run, where its recipe allows images in reports and the data is still what it was."""
    from ..assemble import open_project
    from ..recipe import of_run, parse
    from ..recipe.plain import outside

    run = RunDir(path)
    if layout_of(run.facts()) != LAYOUT:
        return None  # its recipe has other keys
    recipe = parse(of_run(path), path / "recipe.yaml")
    if not recipe.report.images:
        return None
    if foreign := [name for name in outside(recipe.plain()) if name.partition(":")[0] not in sys.modules]:
        why = f"its recipe runs code from outside the package ({', '.join(foreign)}), which a report does not load"
        print(f"{path}: no images in the report: {why}; hybrid-al run draws them", file=sys.stderr)
        return None
    try:
        project = open_project(recipe, run_dir=path)
        project.store()
    except (HybridALError, OSError):
        return None  # the data has moved or is gone: a report without pictures is better than none
    return project if project.dataset.manifest.fingerprint == run.manifest().fingerprint else None


def _trained(project: Project, r: int) -> Experiment | None:
    """What the run plays with the model of a round; None where it is not there any more."""
    from ..assemble import experiment

    file = project.run.round_path(r) / "model.safetensors"
    if not file.is_file():
        return None
    setup = experiment(project)
    setup.learner.load(file)
    return setup


def _thumbnail(project: Project) -> Thumbnail:
    from ..data.answers import read_answer

    store, folder = project.store(), project.run.path

    def small(index: int, mask: str) -> bytes:
        if mask and (folder / mask).is_file():
            return answer_thumbnail(store.picture(index), read_answer(folder / mask))
        return thumbnail(store.picture(index))

    return small


def bag_overlays(notes: Iterable[BagNote], project: Project, classes: Sequence[str]) -> Iterator[Overlay]:
    """The rows of most attention of each bag, `ACROSS` in a line, with its prediction and their weights."""
    store = project.store()
    for note in notes:
        tiles = [store.picture(i) for i in note.rows.tolist()]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(ACROSS, len(tiles)))
        across = min(ACROSS, len(tiles))
        lines = [np.concatenate(tiles[k : k + across], axis=1) for k in range(0, len(tiles), across)]
        pixels = np.concatenate(lines, axis=0)
        weights = ", ".join(f"{weight:.2f}" for weight in note.weights.tolist())
        best = int(note.probs.argmax())
        said = f"{classes[best]} with {note.probs[best]:.2f}; attention {weights}"
        left = note.count - len(note.rows)
        yield Overlay(thumbnail(pixels, LARGE), note.name, f"{said}{f'; {left} more' if left else ''}")


def _predicted(run: RunView, setup: Experiment) -> dict[int, str]:
    picks = list(dict.fromkeys(pick.index for r in run.rounds for pick in r.picks))[:MOST_LISTED]
    words: dict[int, str] = {}
    for batch in setup.learner.predict(np.asarray(picks, dtype=np.int64)) if picks else ():
        for i, probs in zip(batch.indices.tolist(), batch.probs.mean(axis=1), strict=True):
            yes = np.flatnonzero(probs[1] >= 0.5) if probs.ndim == 2 else np.asarray([int(probs.argmax())])
            words[i] = ", ".join(run.classes[c] for c in yes) or "none"
    return words


def _large(project: Project, worst: Sequence[Worst]) -> Iterator[Overlay]:
    """The images in their own pixels, as many as `MOST_LARGE_BYTES` hold."""
    from ..data.display import colour_picture

    left = MOST_LARGE_BYTES
    for each in worst:
        try:
            pixels = colour_picture(project.dataset, each.index)
        except (OSError, ValueError):  # what was decoded before is still there
            pixels = project.store().picture(each.index)
        jpeg = thumbnail(pixels, LARGE)
        if (left := left - len(jpeg)) < 0:
            return
        yield Overlay(jpeg, project.dataset.manifest.ids[each.index], each.note)
