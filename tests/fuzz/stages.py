"""The stages that `kills` plays: the recipe of each, its calls one after the other, and what came in the end."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import yaml

from hybrid_al.core.rundir import RunDir
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.report.overview import answers_of
from tests.fuzz.forked import Child, note_modules, program, start, two_processes, warm
from tests.helpers.tiny import recipe_of

DONE, WAITING = 0, 3
SIMCLR = {"name": "simclr", "epochs": 2, "batch": 4}
PEOPLE = {"learner": "frozen", "query": "entropy", "oracle": "worklist", "loop": {"budgets": [4, 4]}}
ARMS = ("stratified", "recipe", "linear", "full")
BENCH = {"strategies": ["random", "entropy"], "seeds": 2, **dict.fromkeys(ARMS, False)}
RECIPES: dict[str, dict[str, Any]] = {
    "stage 0": recipe_of("classification", pretrain={**SIMCLR, "epochs": 4}),
    "stage 0, two processes": recipe_of("classification", pretrain={**SIMCLR, "epochs": 4}),
    "rounds, frozen": recipe_of("classification", learner="frozen", query="hybrid", pretrain=SIMCLR),
    "rounds, finetune": recipe_of("classification", learner="finetune", query="entropy"),
    "rounds, masks": recipe_of("segmentation", query="entropy"),
    "answers of files": recipe_of("classification", **PEOPLE),
    "answers on the page": recipe_of("classification", **PEOPLE),
    "bench, two jobs": recipe_of("classification", learner="frozen", pretrain=SIMCLR, bench=BENCH),
}
BYTES = {"consistency.npz", "encoder.safetensors", "model.safetensors", "query.csv", "plain.npy"}


@dataclass
class Stage:
    """A stage that is played in a folder of its own."""

    name: str
    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "tmp").mkdir(parents=True)
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPES[self.name]), encoding="utf-8")

    @property
    def said(self) -> Path:
        """Where the output of the calls goes."""
        return self.folder / "said"

    @property
    def first(self) -> str:
        """The first step."""
        return "pretrain" if self.name.startswith("stage 0") else "bench" if self.name.startswith("bench") else "run"

    def after(self, run: Path, step: str, code: int) -> str | None:
        """The step after one that ended by itself; None where all is done."""
        if step != "run":
            return "run" if step.startswith("label") else None
        if code != WAITING:
            return None
        rows = [f"{sample},{truth(sample)}" for sample in unanswered(run)]
        (self.folder / "answers.csv").write_text("\n".join(["id,label", *rows, ""]), encoding="utf-8")
        return "labels" if self.name == "answers of files" else "label"

    def begin(self, run: Path, step: str) -> Child:
        """The call of a step, in a process of its own."""
        recipe, there = self.folder / "recipe.yaml", ("--run-dir", run, "--quiet")
        argv: dict[str, tuple[object, ...]] = {
            "run": ("run", recipe, *there),
            "pretrain": ("pretrain", recipe, *there),
            "bench": ("bench", recipe, "--run-dir", run, "--jobs", 2),
            "labels": ("labels", run, self.folder / "answers.csv"),
            "label": ("label", run, "--reader", "ann", "--quiet"),
        }

        def call() -> None:
            os.environ["TMPDIR"] = str(self.folder / "tmp")
            _be_quick(self.said)
            if self.name.endswith("two processes"):
                two_processes(argv[step], self.said)
            program(argv[step])

        return start(call, self.said)

    def warm(self) -> None:
        """Import what the last call needed, for the next."""
        warm(self.said)


def _be_quick(folder: Path) -> None:
    """A checkpoint after every step of stage 0; and workers of a bench that need not import anything."""
    import multiprocessing

    from loky import ProcessPoolExecutor

    import pretrain.loop
    from hybrid_al.bench import cell, pool, runner

    inner = cell.work

    @wraps(inner)
    def work(task: Any) -> Any:
        try:
            return inner(task)
        finally:
            note_modules(folder)

    def worker() -> ProcessPoolExecutor:
        fork = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(1, context=fork, initializer=pool._begin, initargs=(os.getpid(),))

    cell.work = vars(runner)["work"] = work
    pool._worker = worker
    pretrain.loop.CHECKPOINT_SECONDS = -1.0


# -- people -----------------------------------------------------------------------------------------------------------


def truth(sample: str) -> str:
    """What the person who plays along says about a sample."""
    return ("round", "lobed")[sum(sample.encode()) % 2]


def unanswered(run: Path) -> list[str]:
    """The ids that a run asks about and has no answer to."""
    disk = RunDir(run)
    r = len(disk.rounds())
    answers = answers_of(disk, r)
    return [sample for sample in disk.query_ids(r) or () if sample not in answers]


class Person:
    """Answers on the page, whatever becomes of its server; notes what the server said is saved."""

    def __init__(self) -> None:
        self.saved: set[str] = set()

    def answer(self, child: Child, run: Path, go_on: Callable[[], bool]) -> None:
        """Answer what is open, until `go_on` is false or the server is gone."""
        link = ""
        while not link:
            link = next((line[7:] for line in child.out.read_text().splitlines() if line.startswith("Label: ")), "")
            if child.wait(0.01) is not None or not go_on():
                return
        place, r = link.partition("?")[0], len(RunDir(run).rounds())
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        try:
            browser.open(link, timeout=5).close()
            for sample in unanswered(run):
                if not go_on():
                    return
                name = f"answer-{r}-{sample.replace('/', '-')}"
                plain = {"id": name, "round": r, "sample": sample, "kind": "answer", "seconds": 1.0}
                data = json.dumps({**plain, "classes": [truth(sample)]}).encode()
                request = urllib.request.Request(f"{place}api/answer", data, {"content-type": "application/json"})
                with browser.open(request, timeout=5) as response:
                    self.saved.add(json.load(response)["saved"])
        except (OSError, ValueError):  # it was killed
            return

    def faults(self, run: Path) -> list[str]:
        """Answers that were saved and are lost, or that are there twice."""
        ids = [entry.id for entry in Ledger(RunDir(run)).entries()]
        lost, twice = self.saved - set(ids), {one for one in ids if ids.count(one) > 1}
        return [f"{len(names)} answers {what}" for what, names in (("lost", lost), ("twice", twice)) if names]


# -- what came --------------------------------------------------------------------------------------------------------


def outcome(run: Path) -> dict[str, Any]:
    """What two runs that are the same have in common, by file: picks, metrics, models, labels; names of all files.

    But for the files of answers: one that was taken just before a kill is taken again, and changes no label.
    """
    files = (file for file in sorted(run.rglob("*")) if file.is_file() and file.parent.name != "answers")
    return {file.relative_to(run).as_posix(): _content(file) for file in files}


def _content(file: Path) -> object:
    if file.name in BYTES:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    if file.name == "round.json":
        row = json.loads(file.read_text(encoding="utf-8"))
        return [row["query"], row["metrics"], row["labeled"]]
    if file.name == "labels.jsonl":
        rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        return [[row["index"], row["target"], row["round"]] for row in rows]
    if file.suffix == ".csv" and ",seconds/" in (text := file.read_text(encoding="utf-8")):
        return sorted(line for line in text.splitlines() if ",seconds" not in line)
    return None


def differences(whole: dict[str, Any], killed: dict[str, Any]) -> list[str]:
    """Where a run that was killed is another."""
    other = [name for name in whole.keys() & killed.keys() if whole[name] != killed[name]]
    names = {"missing": whole.keys() - killed.keys(), "left over": killed.keys() - whole.keys(), "another": other}
    return [f"{what}: {', '.join(sorted(files))}" for what, files in names.items() if files]
