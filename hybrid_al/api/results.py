"""`open`: what a run directory holds, as tables and arrays; reads, never changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..core.embeddings import PLAIN, USED, Embeddings
from ..core.rundir import RunDir
from ..core.types import Annotation, FloatArray, Round
from ..errors import InputError, UnknownName
from ..oracles.base import SEPARATOR

if TYPE_CHECKING:
    import pandas as pd

    from ..core.manifest import Manifest

Cell = int | float | str | None


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name; None where a cell has no value."""

    columns: Mapping[str, list[Cell]]

    @classmethod
    def of(cls, names: tuple[str, ...], rows: list[dict[str, Cell]]) -> Table:
        """From rows; a row may lack a column, and bring further ones."""
        names = tuple(dict.fromkeys([*names, *(name for row in rows for name in row)]))
        return cls({name: [row.get(name) for row in rows] for name in names})

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        """The rows, each a dictionary by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True))

    def __getitem__(self, name: str) -> list[Cell]:
        """A column; an unknown one is an error that names the nearest."""
        if name not in self.columns:
            raise UnknownName("column", name, self.columns)
        return self.columns[name]

    def frame(self) -> pd.DataFrame:
        """The table as a DataFrame; error where pandas is not installed."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise InputError("frame", "pandas (pip install pandas)", "no such package") from None
        return pd.DataFrame(dict(self.columns))


@dataclass(frozen=True)
class Run:
    """A run directory as it stands when its properties are read. name, seed and classes are those of the run."""

    path: Path
    name: str
    seed: int
    classes: tuple[str, ...]

    @property
    def _disk(self) -> RunDir:
        return RunDir(self.path)

    @cached_property
    def manifest(self) -> Manifest:
        """Ids, paths, groups and splits of the N samples; a sample's position is its row in arrays."""
        return self._disk.manifest()

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The committed rounds, in order."""
        return tuple(self._disk.rounds())

    @property
    def labels(self) -> Table:
        """The labels in force of the committed rounds, in the order in which samples were first answered about.

        index (position), id, kind, label, round, annotator, time, cost. A label is the name of a class, of several
        with ";" in between, the path of a mask in the run directory, or None where the sample was skipped.
        """
        store = self._disk.labels(len(self.manifest))
        names = ("index", "id", "kind", "label", "round", "annotator", "time", "cost")
        return Table.of(names, [self._label(a) for a in store.current.values()])

    @property
    def picks(self) -> Table:
        """The picks of every round, those of an open query too: round, rank, index, id, path, score, reason.

        Where regions of images are asked about, also unit and region.
        """
        rows: list[dict[str, Cell]] = []
        while (lines := self._disk.query_rows(r := len({row["round"] for row in rows}))) is not None:
            rows += [self._pick(r, line) for line in lines]
        return Table.of(("round", "rank", "index", "id", "path", "score", "reason"), rows)

    @property
    def metrics(self) -> Table:
        """A row a committed round: round, strategy, labels (their number so far), and each metric by its name."""
        rows: list[dict[str, Cell]] = [
            {"round": r.index, "strategy": r.strategy, "labels": r.labeled, **r.metrics} for r in self.rounds
        ]
        return Table.of(("round", "strategy", "labels"), rows)

    @property
    def encoder(self) -> Path:
        """The weights that stage 0 left; error where there are none."""
        path = self.path / "stage0" / "encoder.safetensors"
        if not path.is_file():
            raise InputError(path, "the encoder of a stage 0", "none")
        return path

    @property
    def embeddings(self) -> FloatArray:
        """What strategies read, (N, D) float32, memory-mapped, a row a sample of the manifest."""
        folder = self.path / "stage0" / "embeddings"
        name = USED if (folder / f"{USED}.npy").is_file() else PLAIN
        return Embeddings.load(folder / f"{name}.npy", manifest=self.manifest.fingerprint).vectors

    def _label(self, a: Annotation) -> dict[str, Cell]:
        label: Cell = a.target if isinstance(a.target, str) else None
        if isinstance(a.target, int):
            label = self.classes[a.target]
        elif isinstance(a.target, tuple):
            label = "not " * (a.kind == "not") + SEPARATOR.join(self.classes[c] for c in a.target)
        return {
            "index": a.index, "id": self.manifest.ids[a.index], "kind": a.kind, "label": label, "round": a.round,
            "annotator": a.annotator, "time": a.time, "cost": a.cost,
        }  # fmt: skip

    def _pick(self, round: int, line: Mapping[str, str]) -> dict[str, Cell]:
        row: dict[str, Cell] = {
            "round": round, "rank": int(line["rank"]), "index": self.manifest.position[line["id"]], "id": line["id"],
            "path": line["path"], "score": float(line["score"]) if line["score"] else None, "reason": line["reason"],
        }  # fmt: skip
        return row | {name: int(line[name]) for name in ("unit", "region") if name in line}


def open(run_dir: Path | str) -> Run:
    """What is in `run_dir`, a run directory of `run`, `pretrain`, a `Loop` or the command line.

    Errors: no run directory, or one of a layout that this version does not read; then which version made it.
    """
    path = Path(run_dir)
    facts = RunDir(path).facts()
    classes = tuple(map(str, cast(list[str], facts["classes"])))
    return Run(path, str(facts["name"]), int(str(facts["seed"])), classes)
