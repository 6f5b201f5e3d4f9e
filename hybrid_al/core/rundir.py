"""The run directory: the state of a run on disk, committed by rename, locked while in use.

A round's `query.csv` commits its picks before the oracle is asked; its `round.json`, written last, commits the round.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shlex
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import filelock
import numpy as np

from ..errors import InputError, RunLocked
from .files import write_arrays, write_atomic, write_json
from .hidden import VARIABLE, Hider, salt_file
from .labels import LabelStore
from .manifest import Manifest
from .seals import COST, QUERY, ROUND, digests_of, read_json, sealed, sha256_of, whole
from .temporary import clear_left_overs
from .types import IntArray, Query, Round, Scores

QUERY_COLUMNS = ("rank", "id", "path", "score", "reason", "label")

LAYOUT = 2
"""Version of the layout of a run directory, `schema` in run.json. Raise it when older code cannot go on with a new
directory, or newer code with an old one.

1  no `schema`; a task is a word with a section of its own, and there is no `inbox`
2  `inbox` says how answers come in, and a task has its settings beside its name
"""

ANOTHER = "put them back, or begin another run in a folder of its own: --run-dir DIR"
"""The way out where a run directory is that of another run."""

MARK = "# as hybrid-al wrote it: "

FACTS = ("name", "seed", "task", "classes", "recipe", "manifest")
"""Keys of the run.json of every layout."""
EXHAUSTED = "exhausted"  # in the folder of a round that nothing was left for


class RunDir:
    """Paths and commits of one run; everything else about a run is a value read from here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[RunDir]:
        """Hold the run for this process; `RunLocked` where another has it, InputError where a file has its name."""
        with suppress(FileExistsError):
            self.path.mkdir(parents=True, exist_ok=True)
        if not self.path.is_dir():
            raise InputError(self.path, "a folder for a run (--run-dir)", "a file")
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunLocked(f"{self.path}: another process is using this run directory") from error
        try:
            clear_left_overs(self.path)
            yield self
        finally:
            lock.release()

    # -- what the run is ------------------------------------------------------------------------------------------

    def claim(self, facts: Mapping[str, object], recipe: str, manifest: Manifest, *, grows: bool = False) -> None:
        """Make the directory this run's, or check that it already is: same recipe, same data, same classes.

        What may change between two calls, such as budgets, is kept as the last call has it. A new one gets an `id` by
        which trackers tell it from others of the same recipe and seed, wherever it moves. `grows`: see `check_same`;
        new rows are committed by `run.json`, behind `manifest.csv`, whose first rows are valid without them.
        """
        if self.exists():
            self.check_same(facts, manifest, grows=grows)
            self._append(manifest)
            began, now = self.facts().get("threads"), facts.get("threads")
            if began != now and None not in (began, now):
                note = "sums round differently, so later rounds may pick others than an uninterrupted run"
                way = f"(OMP_NUM_THREADS={began} goes on as it began)"
                print(f"{self.path}: begun with {began} threads, goes on with {now}: {note} {way}", file=sys.stderr)
            file, data = self.path / "recipe.yaml", marked(recipe).encode()
            if not file.is_file() or file.read_bytes() != data:
                write_atomic(file, data)
            return
        self._check_new()
        write_atomic(self.path / "recipe.yaml", marked(recipe))
        first = {"schema": LAYOUT, "id": uuid.uuid4().hex[:12], "marked": True}
        self._commit_manifest({**first, **facts}, manifest)

    def _check_new(self) -> None:
        """Refuse a folder with a person's files of the names that a run writes first; those of a killed start pass."""
        recipe, manifest = self.path / "recipe.yaml", self.path / "manifest.csv"
        if recipe.is_file() and MARK.encode() in recipe.read_bytes():
            return
        for file in (recipe, manifest):
            if file.exists():
                expected = "a folder for a run (--run-dir) without such a file, as a run writes its own there"
                raise InputError(file, expected, "one that hybrid-al did not write")

    def _append(self, manifest: Manifest) -> None:
        """Take in the rows of a manifest that are behind those of the run."""
        facts = self.facts()
        if facts["manifest"] != manifest.fingerprint:
            self._commit_manifest({**facts, "manifest": manifest.fingerprint}, manifest)

    def _commit_manifest(self, facts: Mapping[str, object], manifest: Manifest) -> None:
        """Write manifest.csv, then run.json, which holds its hash: whoever finds that need not look at every row."""
        data = manifest.to_csv().encode()
        write_atomic(self.path / "manifest.csv", data)
        write_json(self.path / "run.json", {**facts, "manifest_csv": hashlib.sha256(data).hexdigest()}, own=True)

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
        return read_json(file)

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
        facts = self.facts()
        with whole(file := self.path / "manifest.csv"):
            data = file.read_bytes()
            as_written = hashlib.sha256(data).hexdigest() == facts.get("manifest_csv")
            text = data.decode("utf-8") if as_written else file.read_text(encoding="utf-8")
            del data  # as large as the text
            try:
                manifest = Manifest.from_csv(text, str(facts["manifest"]) if as_written else "")
            except InputError as error:
                raise error.at(f"{file}: {error.where}") from error
            if manifest.fingerprint != facts["manifest"]:  # it may have grown just before the process was killed
                earlier = manifest.prefix(str(facts["manifest"]))
                if earlier is None:
                    raise ValueError("other rows")
                manifest = earlier
        if "salt" in facts and salt_file().exists():
            return replace(manifest, alias=Hider.load(self.path).id)
        return manifest

    def asked(self, manifest: Manifest) -> set[int]:
        """Positions of all samples that were asked about or labeled."""
        ids = {sample for r in range(len(self.rounds()) + 1) for sample in self.query_ids(r) or ()}
        labels = self.labels(len(manifest))
        return {manifest.position[sample] for sample in ids} | set(labels.answered.tolist())

    def check_same(self, facts: Mapping[str, object], manifest: Manifest, *, grows: bool = False) -> None:
        """Refuse another recipe or other data than the run began with.

        grows  further rows behind those of the run are no other data
        """
        old = self.current()
        began, now = (list(map(str, cast(list[object], names))) for names in (old["classes"], facts["classes"]))
        if began != now:
            expected = f"the labels of a run that began with classes {', '.join(began) or 'that nobody named'}"
            raise InputError(self.path, expected, _moved_classes(began, now))
        if {old.get("salt"), facts.get("salt")} - {None, old.get("salt")}:
            expected = f"the salt that the ids of this run were hashed with ({VARIABLE})"
            raise InputError(salt_file(), expected, "another")
        if old["manifest"] != manifest.fingerprint and not (grows and manifest.prefix(str(old["manifest"]))):
            came = f"other data: {self.manifest().differences(manifest)}; {ANOTHER}"
            raise InputError(self.path, "the data that this run began with", came)
        keys = _changed_keys(old["recipe"], facts["recipe"])
        if keys:
            way = "hybrid-al readers changes who reads" if "oracle.readers" in keys else ANOTHER
            came = f"other values for {', '.join(keys)}; {way}"
            raise InputError(self.path, "the recipe that this run began with", came)

    # -- rounds ---------------------------------------------------------------------------------------------------

    def random_run(self, seed: int) -> RunDir:
        """The run with random picks that stands beside this one, by its seed."""
        return RunDir(self.path / "random" / f"s{seed}")

    def random_runs(self) -> list[RunDir]:
        """Those of them that were begun, seeds ascending."""
        runs = [RunDir(path) for path in self.path.glob("random/s*") if path.name[1:].isdecimal()]
        return sorted((run for run in runs if run.exists()), key=lambda run: int(run.path.name[1:]))

    def round_path(self, round: int) -> Path:
        """Folder of a round."""
        return self.path / "rounds" / f"{round:03d}"

    def rounds(self) -> list[Round]:
        """The committed rounds, in order."""
        rounds: list[Round] = []
        while (file := self.round_path(len(rounds)) / ROUND).is_file():
            row = read_json(file)
            with whole(file):
                if row["index"] != len(rounds):
                    raise ValueError(f"that of round {row['index']}")
                rounds.append(Round(**{**row, "query": tuple(row["query"])}))
        return rounds

    def labels(self, n: int) -> LabelStore:
        """All labels of the committed rounds."""
        rounds = self.rounds()
        if not rounds:
            return LabelStore(n)
        with whole(file := sealed(self.round_path(rounds[-1].index) / "labels.jsonl")):
            store = LabelStore.from_jsonl(n, file.read_text(encoding="utf-8"))
            if rounds[-1].labeled and not len(store.labeled):  # a label of a sample may name several regions
                raise ValueError(f"none of {rounds[-1].labeled} labels")
            return store

    def commit_query(
        self, round: int, query: Query, manifest: Manifest, parts: int = 1, cost: Mapping[str, float] | None = None
    ) -> None:
        """Write scores, then `query.csv`: from here on the picks of this round are fixed; later ones follow them.

        parts  of a sample; where there is more than one, the picks are numbers of parts (`regions.base`)
        cost   what it cost the machine (`query.cost`), beside that of earlier picks of the round
        """
        folder, earlier = self.round_path(round), self.query_rows(round)
        by_index: dict[int, float] = {}
        if query.scores is not None:
            _write_scores(folder / "scores.npz", query.scores)
            by_index = dict(zip(query.scores.indices.tolist(), query.scores.values.tolist(), strict=True))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if earlier is None:
            writer.writerow(
                [*QUERY_COLUMNS, *(("unit", "region") if parts > 1 else ()), *(["asks"] if query.asks else [])]
            )
        else:
            out.write((folder / "query.csv").read_text(encoding="utf-8"))
            out.seek(0, io.SEEK_END)
        for k, index in enumerate(query.indices.tolist()):
            score = f"{by_index[index]:.6g}" if index in by_index else ""
            reason = query.reasons[k] if query.reasons else ""
            sample, part = divmod(index, parts)
            unit = (index, part) if parts > 1 else ()
            rank = len(earlier or ()) + k
            asks = (query.asks[k],) if query.asks else ()
            writer.writerow([rank, manifest.ids[sample], manifest.paths[sample], score, reason, "", *unit, *asks])
        text = out.getvalue()
        digest, before = (t and hashlib.sha256(t.encode()).hexdigest() for t in (text, self._query_text(round) or ""))
        starts = [*self.query_starts(round), len(earlier)] if earlier else [0]
        if cost:
            spent = self.query_cost(round) if earlier else {}
            sums = {k: max(v, spent.get(k, v)) if k == "memory" else v + spent.get(k, 0) for k, v in cost.items()}
            write_json(folder / COST, sums, own=True)
        write_json(folder / QUERY, {"csv": text, "starts": starts, "sha256": digest, "before": before}, own=True)
        write_atomic(folder / "query.csv", text)

    def query_rows(self, round: int) -> list[dict[str, str]] | None:
        """The rows of a committed query in order of preference, by column; None before the query is committed.

        What stands in the file is checked against the copy that was committed beside it: a file that is gone is written
        again, with a line to stderr. InputError: it was changed, as by a person who filled it in.
        """
        text = self._query_text(round)
        if text is None:
            return None
        with whole(self.round_path(round) / "query.csv"):
            return list(csv.DictReader(io.StringIO(text)))

    def query_starts(self, round: int) -> list[int]:
        """The first rows of what was asked about at once: 0, and where others followed picks that all were skipped."""
        file = self.round_path(round) / QUERY
        return [int(start) for start in read_json(file, own=True)["starts"]] if file.is_file() else [0]

    def query_cost(self, round: int) -> dict[str, float]:
        """What the query of a round cost the machine (`query.cost`); empty where that was not noted."""
        file = self.round_path(round) / COST
        return read_json(file, own=True) if file.is_file() else {}

    def _query_text(self, round: int) -> str | None:
        file, note = self.round_path(round) / "query.csv", self.round_path(round) / QUERY
        if not note.is_file():
            with whole(sealed(file)):
                return file.read_text(encoding="utf-8") if file.is_file() else None
        plain = read_json(sealed(note), own=True)
        digest = sha256_of(file) if file.is_file() else ""
        if digest != plain["sha256"]:
            if digest not in ("", plain["before"]):
                expected = f"the query as hybrid-al wrote it; people fill in a copy, {self.worklist(round)}: move this"
                where = shlex.quote(str(self.path))
                way = f"file away, and the query is written again; hybrid-al labels {where} FILE takes its labels"
                raise InputError(file, f"{expected} {way}", "one that was changed")
            if not digest:
                print(f"{file}: gone; written again from the commit beside it", file=sys.stderr)
            write_atomic(file, str(plain["csv"]))
        return str(plain["csv"])

    def worklist(self, round: int) -> Path:
        """The copy of a round's query that people fill in."""
        start = self.query_starts(round)[-1]
        return self.path / "worklist" / f"round_{round:03d}{f'_from_{start:03d}' if start else ''}.csv"

    def query_ids(self, round: int) -> tuple[str, ...] | None:
        """Ids of a committed query in order of preference; None before the query is committed."""
        rows = self.query_rows(round)
        with whole(self.round_path(round) / "query.csv"):
            return None if rows is None else tuple(row["id"] for row in rows)

    def mark_exhausted(self, round: int) -> None:
        """Note that nothing was left to ask about in a round, which then never is."""
        write_atomic(self.round_path(round) / EXHAUSTED, "nothing is left to ask about\n")

    def is_exhausted(self, round: int) -> bool:
        """Whether nothing was left to ask about in a round."""
        return (self.round_path(round) / EXHAUSTED).is_file()

    def picks(self, round: int, manifest: Manifest) -> IntArray | None:
        """Picks of a committed query in order of preference, positions or units; None before it is committed."""
        rows = self.query_rows(round)
        if rows is None:
            return None
        with whole(self.round_path(round) / "query.csv"):
            picks = [int(row["unit"]) if "unit" in row else manifest.position[row["id"]] for row in rows]
        return np.asarray(picks, dtype=np.int64)

    def write_labels(self, round: int, labels: LabelStore) -> None:
        """Write the labels that a round leaves, before it is committed."""
        write_atomic(self.round_path(round) / "labels.jsonl", labels.to_jsonl())

    def commit_round(self, round: Round, labels: LabelStore | None = None) -> None:
        """Write the labels where they are given, then `round.json`, which commits the round with its files' digests."""
        if labels is not None:
            self.write_labels(round.index, labels)
        folder = self.round_path(round.index)
        row = replace(round, digests={**round.digests, **digests_of(folder)})
        write_json(folder / ROUND, asdict(row), own=True)


def marked(recipe: str) -> str:
    """The recipe of a run with a last line that holds its digest: `recipe.yaml` is rewritten at every call."""
    return f"{recipe}{MARK}{hashlib.sha256(recipe.encode()).hexdigest()}\n"


def unmarked(file: Path) -> str:
    """The text before the mark; InputError where it was changed since. Runs of earlier versions have none."""
    way = f"values are changed by hybrid-al run RECIPE KEY=VALUE --run-dir {file.parent}, which also writes it again"
    is_marked = RunDir(file.parent).facts().get("marked", False)
    with whole(file, way):
        text, mark, digest = file.read_text(encoding="utf-8").partition(MARK)
        if (mark or is_marked) and digest.strip() != hashlib.sha256(text.encode()).hexdigest():
            raise ValueError("other values")
        return text


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
