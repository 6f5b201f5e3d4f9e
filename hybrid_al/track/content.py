"""What a round has to show beside numbers, made from its folder: tables, histograms, pictures, files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..core.consistency import Consistency
from ..core.embeddings import PLAIN, unit_rows
from ..core.labels import LabelStore
from ..core.manifest import Manifest
from ..core.rng import derive
from ..core.rundir import RunDir
from ..core.types import Annotation, BoolArray, FloatArray, IntArray, LabelMap
from ..data.answers import read_answer
from .base import Content, Histogram, Picture, Table
from .points import Line

BINS, MOST_POINTS, MOST_PICTURES, MOST_LINES = 32, 2000, 400, 200
Confusion = dict[tuple[str, str], int]
"""(true, predicted) -> how many."""
FILES = {"query": "query.csv", "labels": "labels.jsonl", "model": "model.safetensors"}
STAGE0_FILES = {"encoder": "stage0/encoder.safetensors", "embeddings": f"stage0/embeddings/{PLAIN}.npy"}


def content_of(run_dir: Path, line: Line) -> Content | None:
    """The content of a committed round whose numbers stand in a line of metrics.jsonl: for a mirror that catches up.

    Without pictures, which only a running loop has.
    """
    disk = RunDir(run_dir)
    if line.round is None or not disk.exists() or line.round >= len(disk.rounds()):
        return None
    manifest = disk.manifest()
    return round_content(disk, manifest, line.round, disk.labels(len(manifest)).as_of(line.round))


def round_content(
    disk: RunDir, manifest: Manifest, r: int, labels: LabelStore, thumbnail: Callable[[int], bytes] | None = None
) -> Content:
    """The content of a round whose fit is measured; `labels` are all so far."""
    folder, facts = disk.round_path(r), disk.facts()
    classes = tuple(map(str, facts["classes"]))  # type: ignore[call-overload]
    with (folder / "query.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    samples = np.asarray([manifest.position[row["id"]] for row in rows], dtype=np.int64)
    tables = {"table/picks": _picks(disk, r, rows, samples, labels, classes)}
    for split, bins in _arrays(folder / "reliability.npz").items():
        tables[f"table/reliability_{split}"] = _reliability(bins, r, classes)
    answers = _arrays(folder / "holdout.npz")
    for split in ("val", "test"):
        if (counts := confusion_of(answers, split, classes)) is not None:
            tables[f"table/confusion_{split}"] = _confusion(counts, r)
    if (points := _embedding(disk, manifest, r, samples, labels)) is not None:
        tables["table/embedding"] = points
    pictures = {} if thumbnail is None else {"images/picks": _pictures(disk, rows, samples, labels, thumbnail)}
    files = {name: folder / file for name, file in FILES.items()}
    if r == 0:
        files |= {name: disk.path / file for name, file in STAGE0_FILES.items()}
    files = {name: file for name, file in files.items() if file.is_file()}
    return Content(r, tables, _histograms(folder), pictures, classes, files)


def collapse(disk: RunDir, r: int, labels: LabelStore) -> str:
    """Classes that the model of round r predicts nowhere any more; empty where it lost none.

    By its answers on the samples of the pool that all rounds are compared on. In round 0, all but one of those labeled.
    """
    now, before = (_arrays(disk.round_path(k) / "stop.npz").get("answers") for k in (r, r - 1))
    if now is None:
        return ""
    classes, left = disk.facts()["classes"], set(np.unique(now).tolist())
    targets = {a.target for a in labels.current.values() if a.kind == "class"}
    expected = set(np.unique(before).tolist()) if before is not None else targets if len(left) == 1 else set()
    lost = sorted(c for c in expected - left if isinstance(c, int))
    return ", ".join(str(classes[c]) for c in lost)  # type: ignore[index]


def markdown(table: Table) -> str:
    """A table in Markdown, whatever its cells hold; of a long one the first `MOST_LINES` rows."""
    lines = [table.columns, ("---",) * len(table.columns), *table.rows[:MOST_LINES]]
    text = "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)
    more = len(table.rows) - MOST_LINES
    return f"{text}\n\nand {more} more" if more > 0 else text


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _picks(
    disk: RunDir,
    r: int,
    rows: list[dict[str, str]],
    samples: IntArray,
    labels: LabelStore,
    classes: tuple[str, ...],
) -> Table:
    record = disk.round_path(r - 1) / "consistency.npz" if r else Path()
    before = Consistency.load(record).of(int(samples.max(initial=-1)) + 1) if record.is_file() else None
    after = _after(disk.round_path(r) / "picks.npz", classes)
    cells = []
    for row, i in zip(rows, samples.tolist(), strict=True):
        guess, doubt = (None, None) if before is None else (int(before.pseudo_label[i]), float(before.confidence[i]))
        known = guess is not None and guess >= 0
        predicted = classes[guess] if known and guess is not None else None
        score = float(row["score"]) if row["score"] else None
        label = _label(labels.current.get(i), classes)
        guesses = (predicted, doubt if known else None, label, *after.get(i, (None, None)))
        cells.append((r, int(row["rank"]), i, score, row["reason"], *guesses))
    names = ("round", "rank", "sample", "score", "reason", "predicted", "confidence", "label")
    return Table((*names, "predicted_after", "confidence_after"), tuple(cells))


def _after(file: Path, classes: tuple[str, ...]) -> dict[int, tuple[str, float]]:
    """Sample -> the class that the model of its own round predicts, and how surely; empty where nothing is on disk."""
    if not (arrays := _arrays(file)):
        return {}
    columns = (arrays[name].tolist() for name in ("samples", "predicted", "confidence"))
    return {i: (classes[c], p) for i, c, p in zip(*columns, strict=True)}


def _label(answer: Annotation | None, classes: tuple[str, ...]) -> str | None:
    if answer is None:
        return None
    if answer.kind == "class" and isinstance(answer.target, int):
        return classes[answer.target] if answer.target < len(classes) else str(answer.target)
    if answer.kind == "classes" and isinstance(answer.target, tuple):
        return ", ".join(classes[c] for c in answer.target) or "none"
    if answer.kind == "not" and isinstance(answer.target, tuple):
        return f"not {' or '.join(classes[c] for c in answer.target)}"
    return "skipped" if answer.kind == "skip" else answer.kind


def _reliability(diagram: FloatArray, r: int, classes: tuple[str, ...]) -> Table:
    rows = [(r, k, int(n), *(_or_none(x) for x in means)) for k, (n, *means) in enumerate(diagram.T.tolist())]
    return Table(("round", "bin", "samples", "confidence", "accuracy"), tuple(rows))


def confusion_of(answers: Mapping[str, FloatArray], split: str, classes: tuple[str, ...]) -> Confusion | None:
    """Samples, of masks pixels, by true and predicted class; of several labels, by each that is there or is not.

    The most probable class is taken, a label from 0.5 on. None where a split has no answers.
    """
    if (pixels := answers.get(f"{split}/confusion")) is not None:
        return _pairs(pixels, classes)
    if (truth := answers.get(f"{split}/truth")) is None:
        return None
    probs = answers[f"{split}/probs"]
    if truth.ndim == 1:
        return _pairs(_counts(truth, probs.argmax(axis=1), len(classes)), classes)
    pairs: Confusion = {}
    for name, there, share in zip(classes, truth.T, probs.T, strict=True):
        known = there >= 0
        pairs |= _pairs(_counts(there[known], share[known] >= 0.5, 2), (f"no {name}", name))
    return pairs


def _counts(truth: FloatArray, guess: IntArray | BoolArray, classes: int) -> IntArray:
    """Counts (C, C) of true by predicted class."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth.astype(np.int64), guess.astype(np.int64)), 1)
    return counts


def _pairs(counts: IntArray | FloatArray, names: tuple[str, ...]) -> Confusion:
    rows = zip(names, counts.tolist(), strict=True)
    return {(name, guess): int(n) for name, line in rows for guess, n in zip(names, line, strict=True)}


def _confusion(counts: Confusion, r: int) -> Table:
    rows = tuple((r, name, guess, n) for (name, guess), n in counts.items())
    return Table(("round", "true", "predicted", "samples"), rows)


def _embedding(disk: RunDir, manifest: Manifest, r: int, picks: IntArray, labels: LabelStore) -> Table | None:
    """Two principal components; the axes are those of a fixed sample of the pool, so rounds lie over one another."""
    file = disk.path / STAGE0_FILES["embeddings"]
    if not file.is_file():
        return None
    from scipy.sparse.linalg import svds

    vectors = np.load(file, mmap_mode="r")
    seed = int(json.loads((disk.path / "run.json").read_text(encoding="utf-8"))["seed"])
    pool = derive(seed, "projection").permutation(manifest.indices("pool"))[:MOST_POINTS]
    rows = np.unique(np.concatenate([picks[:MOST_POINTS], labels.labeled[:MOST_POINTS], pool]))
    rows = np.union1d(picks[:MOST_POINTS], derive(seed, "projection", r).permutation(rows)[:MOST_POINTS])
    base, shown = (unit_rows(np.asarray(vectors[some], dtype=np.float64)) for some in (np.sort(pool), rows))
    centre = base.mean(axis=0)
    if min(base.shape) < 3:
        return None
    _, _, axes = svds(base - centre, k=2, v0=np.ones(min(base.shape)))
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    xy = (shown - centre) @ axes[::-1].T
    picked, labeled = set(picks.tolist()), set(labels.labeled.tolist())
    states = ["picked" if i in picked else "labeled" if i in labeled else "pool" for i in rows.tolist()]
    cells = [(r, i, float(x), float(y), s) for i, (x, y), s in zip(rows.tolist(), xy.tolist(), states, strict=True)]
    return Table(("round", "sample", "x", "y", "state"), tuple(cells))


def _histograms(folder: Path) -> dict[str, Histogram]:
    values = {}
    if len(scores := _arrays(folder / "scores.npz").get("values", np.empty(0))):
        values["histogram/score"] = scores
    if (folder / "consistency.npz").is_file():
        record = Consistency.load(folder / "consistency.npz")
        if (seen := record.seen > 1).any():
            values |= {"histogram/consistency": record.uncertainty()[seen], "histogram/flips": record.flips[seen]}
    return {name: histogram_of(numbers) for name, numbers in values.items()}


def histogram_of(values: FloatArray) -> Histogram:
    """Equal bins over the finite values (K,)."""
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=min(BINS, max(1, len(values))))
    return Histogram(tuple(counts.tolist()), tuple(edges.tolist()))


def _pictures(
    disk: RunDir, rows: list[dict[str, str]], samples: IntArray, labels: LabelStore, thumbnail: Callable[[int], bytes]
) -> list[Picture]:
    return [
        Picture(thumbnail(i), row["id"], _mask(disk, labels.current.get(i)))
        for row, i in zip(rows[:MOST_PICTURES], samples[:MOST_PICTURES].tolist(), strict=True)
    ]


def _mask(disk: RunDir, answer: Annotation | None) -> LabelMap | None:
    if answer is None or answer.kind != "mask" or not isinstance(answer.target, str):
        return None
    return read_answer(disk.path / answer.target)


def _arrays(path: Path) -> Mapping[str, FloatArray]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
