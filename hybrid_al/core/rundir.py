"""The run directory: the state of a run on disk, committed by rename, locked while in use.

A round's `query.csv` commits its picks before the oracle is asked; its `round.json`, written last, commits the round.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

import filelock
import numpy as np

from ..errors import HybridALError, InputError, RunLocked
from .labels import LabelStore
from .manifest import Manifest
from .types import FloatArray, IntArray, Query, Round, Scores

QUERY_COLUMNS = ("rank", "id", "path", "score", "reason", "label")

LAYOUT = 2
"""Version of the layout of a run directory, `schema` in run.json. Raise it when older code cannot go on with a new
directory, or newer code with an old one.

1  no `schema`; a task is a word with a section of its own, and there is no `inbox`
2  `inbox` says how answers come in, and a task has its settings beside its name
"""

ANOTHER = "put them back, or begin another run in a folder of its own: --run-dir DIR"
"""The way out where a run directory is that of another run."""

FACTS = ("name", "seed", "task", "classes", "recipe", "manifest")
"""Keys of the run.json of every layout."""


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the block: temporary file, fsync, rename.

    After an error in the block `path` is as it was, and the temporary file is gone. A full disk is a HybridALError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise HybridALError(f"{path}: could not be written ({error.strerror}); what was there is unchanged") from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing."""
    with replacement(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path, **facts: object) -> None:
    """Write a JSON beside a finished file with the hash of its bytes, and further facts about it."""
    write_atomic(path.with_suffix(".json"), json.dumps({"sha256": sha256_of(path), **facts}))


def read_seal(path: Path) -> dict[str, Any] | None:
    """Facts that `seal` wrote about a file; None where its bytes have changed, or where either file is missing."""
    try:
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return facts if facts["sha256"] == sha256_of(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Commit a JSON file."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, IntArray | FloatArray]) -> None:
    """Commit an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole(file: Path) -> Iterator[None]:
    """InputError where a block cannot read a file of a run: it is gone, cut or changed."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        came = "nothing there" if not file.exists() else f"one that is cut or changed ({type(error).__name__})"
        raise InputError(file, "the file as hybrid-al wrote it; a copy of the run may have it", came) from error


class RunDir:
    """Paths and commits of one run; everything else about a run is a value read from here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[RunDir]:
        """Hold the run for this process; `RunLocked` where another has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunLocked(f"{self.path}: another process is using this run directory") from error
        try:
            yield self
        finally:
            lock.release()

    # -- what the run is ------------------------------------------------------------------------------------------

    def claim(self, facts: Mapping[str, object], recipe: str, manifest: Manifest) -> None:
        """Make the directory this run's, or check that it already is: same recipe, same data, same classes.

        What may change between two calls, such as budgets, is kept as the last call has it. A new one gets an `id` by
        which trackers tell it from others of the same recipe and seed, wherever it moves.
        """
        if self.exists():
            self.check_same(facts, manifest)
            file = self.path / "recipe.yaml"
            if not file.is_file() or file.read_text(encoding="utf-8") != recipe:
                write_atomic(file, recipe)
            return
        write_atomic(self.path / "recipe.yaml", recipe)
        write_atomic(self.path / "manifest.csv", manifest.to_csv())
        write_json(self.path / "run.json", {"schema": LAYOUT, "id": uuid.uuid4().hex[:12], **facts})

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").is_file()

    @property
    def has_stage0(self) -> bool:
        """Whether stage 0 is over here: its probes are written last."""
        return (self.path / "stage0" / "probe.json").is_file()

    def facts(self) -> dict[str, object]:
        """The facts that `claim` wrote: name, seed, classes, digests of recipe and manifest, versions.

        A run of an earlier layout can be read, but not gone on with: see `current`.
        Errors: no run directory, or one of a later or no layout; the error names the version that can read it.
        """
        if not self.exists():
            raise InputError(self.path, "a run directory", "no run.json there")
        with whole(file := self.path / "run.json"):
            facts: dict[str, object] = dict(json.loads(file.read_text(encoding="utf-8")))
        missing = [name for name in FACTS if name not in facts]
        if missing or layout_of(facts) not in range(1, LAYOUT + 1):
            came = f"one whose run.json has no {missing[0]}" if missing else f"layout {layout_of(facts)}"
            expected = f"a run directory of a layout up to {LAYOUT}"
            raise InputError(self.path, expected, f"{came}, made by {_maker(facts)}, which reads it")
        return facts

    def current(self) -> dict[str, object]:
        """`facts` of a run that can go on; error where it has an earlier layout."""
        facts = self.facts()
        if layout_of(facts) != LAYOUT:
            expected = f"a run directory of layout {LAYOUT} to go on with"
            came = f"layout {layout_of(facts)}, made by {_maker(facts)}, which goes on with it"
            raise InputError(self.path, expected, f"{came}; here it can be read: hybrid-al report, hybrid_al.open")
        return facts

    def manifest(self) -> Manifest:
        """The frozen manifest of the run."""
        self.facts()
        with whole(file := self.path / "manifest.csv"):
            return Manifest.from_csv(file.read_text(encoding="utf-8"))

    def check_same(self, facts: Mapping[str, object], manifest: Manifest) -> None:
        """Refuse another recipe or other data than the run began with."""
        old = self.current()
        began, now = (list(map(str, cast(list[object], names))) for names in (old["classes"], facts["classes"]))
        if began != now:
            expected = f"the labels of a run that began with classes {', '.join(began) or 'that nobody named'}"
            raise InputError(self.path, expected, _moved_classes(began, now))
        if old["manifest"] != manifest.fingerprint:
            came = f"other data: {self.manifest().differences(manifest)}; {ANOTHER}"
            raise InputError(self.path, "the data that this run began with", came)
        keys = _changed_keys(old["recipe"], facts["recipe"])
        if keys:
            came = f"other values for {', '.join(keys)}; {ANOTHER}"
            raise InputError(self.path, "the recipe that this run began with", came)

    # -- rounds ---------------------------------------------------------------------------------------------------

    def random_run(self, seed: int) -> RunDir:
        """The run with random picks that stands beside this one, by its seed."""
        return RunDir(self.path / "random" / f"s{seed}")

    def random_runs(self) -> list[RunDir]:
        """Those of them that were begun, seeds ascending."""
        runs = [RunDir(path) for path in self.path.glob("random/s*")]
        return sorted((run for run in runs if run.exists()), key=lambda run: int(run.path.name[1:]))

    def round_path(self, round: int) -> Path:
        """Folder of a round."""
        return self.path / "rounds" / f"{round:03d}"

    def rounds(self) -> list[Round]:
        """The committed rounds, in order."""
        rounds: list[Round] = []
        while (file := self.round_path(len(rounds)) / "round.json").is_file():
            with whole(file):
                row = json.loads(file.read_text(encoding="utf-8"))
                rounds.append(Round(**{**row, "query": tuple(row["query"])}))
        return rounds

    def labels(self, n: int) -> LabelStore:
        """All labels of the committed rounds."""
        rounds = self.rounds()
        if not rounds:
            return LabelStore(n)
        with whole(file := self.round_path(rounds[-1].index) / "labels.jsonl"):
            store = LabelStore.from_jsonl(n, file.read_text(encoding="utf-8"))
            if rounds[-1].labeled and not len(store.labeled):  # a label of a sample may name several regions
                raise ValueError(f"none of {rounds[-1].labeled} labels")
            return store

    def commit_query(self, round: int, query: Query, manifest: Manifest, parts: int = 1) -> None:
        """Write scores, then `query.csv`: from here on the picks of this round are fixed; later ones follow them.

        parts  of a sample; where there is more than one, the picks are numbers of parts (`regions.base`)
        """
        folder, earlier = self.round_path(round), self.query_ids(round)
        by_index: dict[int, float] = {}
        if query.scores is not None:
            _write_scores(folder / "scores.npz", query.scores)
            by_index = dict(zip(query.scores.indices.tolist(), query.scores.values.tolist(), strict=True))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if earlier is None:
            writer.writerow([*QUERY_COLUMNS, *(("unit", "region") if parts > 1 else ())])
        else:
            out.write((folder / "query.csv").read_text(encoding="utf-8"))
        for k, index in enumerate(query.indices.tolist()):
            score = f"{by_index[index]:.6g}" if index in by_index else ""
            reason = query.reasons[k] if query.reasons else ""
            sample, part = divmod(index, parts)
            unit = (index, part) if parts > 1 else ()
            rank = len(earlier or ()) + k
            writer.writerow([rank, manifest.ids[sample], manifest.paths[sample], score, reason, "", *unit])
        write_atomic(folder / "query.csv", out.getvalue())

    def query_ids(self, round: int) -> tuple[str, ...] | None:
        """Ids of a committed query in order of preference; None before the query is committed."""
        file = self.round_path(round) / "query.csv"
        if not file.is_file():
            return None
        with whole(file), file.open(newline="", encoding="utf-8") as rows:
            return tuple(row["id"] for row in csv.DictReader(rows))

    def picks(self, round: int, manifest: Manifest) -> IntArray | None:
        """Picks of a committed query in order of preference, positions or units; None before it is committed."""
        file = self.round_path(round) / "query.csv"
        if not file.is_file():
            return None
        with whole(file), file.open(newline="", encoding="utf-8") as rows:
            picks = [
                int(row["unit"]) if "unit" in row else manifest.position[row["id"]] for row in csv.DictReader(rows)
            ]
        return np.asarray(picks, dtype=np.int64)

    def write_labels(self, round: int, labels: LabelStore) -> None:
        """Write the labels that a round leaves, before it is committed."""
        write_atomic(self.round_path(round) / "labels.jsonl", labels.to_jsonl())

    def commit_round(self, round: Round, labels: LabelStore | None = None) -> None:
        """Write the labels where they are given, then `round.json`, which commits the round."""
        if labels is not None:
            self.write_labels(round.index, labels)
        write_json(self.round_path(round.index) / "round.json", asdict(round))


def layout_of(facts: Mapping[str, object]) -> object:
    """The layout of a run directory by its run.json."""
    return facts.get("schema", 1)


def _maker(facts: Mapping[str, object]) -> str:
    """The version that made a run directory, by its run.json, and how to get it."""
    versions = facts.get("versions")
    version = versions.get("hybrid-al") if isinstance(versions, dict) else None
    return (
        "a version that it does not name"
        if version is None
        else f"hybrid-al {version} (pip install hybrid-al=={version})"
    )


def _write_scores(path: Path, scores: Scores) -> None:
    parts = {f"part/{name}": values for name, values in scores.parts.items()}
    write_arrays(path, {"indices": scores.indices, "values": scores.values, **parts})


def _moved_classes(began: Sequence[str], now: Sequence[str]) -> str:
    """What is different between two lists of classes."""
    gone, new = ([name for name in a if name not in b] for a, b in ((began, now), (now, began)))
    changes = [f"{', '.join(names)} {what}" for names, what in ((gone, "gone"), (new, "new")) if names]
    return f"classes {', '.join(now) or 'without names'} ({'; '.join(changes) or 'another order'})"


def _changed_keys(old: object, new: object, prefix: str = "") -> list[str]:
    """Dotted keys at which two resolved recipes differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [key for k in keys for key in _changed_keys(old.get(k), new.get(k), f"{prefix}.{k}" if prefix else k)]
    return [] if old == new else [prefix]
