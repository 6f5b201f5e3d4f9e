"""`Loop`: active learning around a model of one's own, with its state on disk."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from .. import loop
from ..core.embeddings import Embeddings
from ..core.manifest import Manifest, Split
from ..core.rundir import RunDir
from ..core.types import IntArray, Need
from ..errors import InputError
from ..experiment import Experiment, OpenTask
from ..metrics.holdout import ClassHoldout
from ..oracles.base import SKIP
from ..oracles.inbox import Words, spec_of
from ..oracles.wording import WORDINGS, refuse_reserved
from ..oracles.worklist import WorklistOracle
from ..query.base import COLD
from ..query.spending import LabelBudgets
from ..regions.base import Whole
from ..track.base import Trackers
from ..track.jsonl import JsonlTracker
from .inputs import numbers
from .learner import Model, ModelLearner, check_model
from .open_query import Label, OpenQuery, answer
from .strategies import StrategyLike, strategy_within

FEEDS: frozenset[Need] = frozenset({"embeddings", "predictions", "samples", "history"})
"""The needs that a loop around the caller's model can meet."""

QUERY: Mapping[str, object] = {"name": "hybrid", "score": {"entropy": 1.0}}
"""The hybrid query without the consistency record, which only the toolkit's training writes."""


@dataclass(frozen=True)
class Loop:
    """Rounds of pick, ask, fit around a model: `for query in Loop(...): query.tell(labels)`.

    model       any object with `fit(inputs, classes)` and `predict_proba(inputs)`: a scikit-learn classifier, a skorch
                net, a `TorchModel`. It is fitted anew in each round and, after the loop, to all labels
    embeddings  (N, D) finite numbers, a row a sample of the pool, which strategies read
    classes     names of the classes in the order of their numbers, or how many there are; two or more
    budgets     labels of each round, the first those of the cold start; a later call may have more rounds
    run_dir     where the state lives; the same call goes on where it stopped, also where the process was killed
    inputs      (N, ...) what the model is fitted to; without it, the embeddings
    cold_start  a strategy (as in `pick`) that needs embeddings alone
    query       a strategy for the later rounds, that needs embeddings, predictions, several passes or history at most
    ids         (N,) names of the samples, each once, as files have them; without it, their positions
    groups      (N,) patient, volume or slide of each sample
    test        (inputs (T, ...), labels (T,)) that the model is measured on after each round and never sees; a label as
                in `tell`. Then `open(run_dir).metrics` has `test/auroc`, `test/balanced_accuracy`, ...
    seed        of the picks; seeds of the model are its own

    The picks are on disk before they are asked about, and labels before the model is fitted. A loop that stops between
    query and `tell` asks the same again. `hybrid-al status` and `labels` and `open` read its directory too.

    Errors, each one line: a model without `fit` or `predict_proba`, arrays of unlike lengths, values that are not
    finite, budgets beyond the pool, strategies that need what such a loop cannot give, a run directory of other data
    or settings.
    """

    model: Model
    embeddings: npt.ArrayLike
    classes: int | Sequence[str]
    budgets: Sequence[int]
    run_dir: Path | str
    inputs: npt.ArrayLike | None = None
    cold_start: StrategyLike = "stratified"
    query: StrategyLike = field(default_factory=lambda: QUERY)
    ids: Sequence[str] | None = None
    groups: Sequence[Hashable] | None = None
    test: tuple[npt.ArrayLike, Sequence[Label] | npt.NDArray[np.generic]] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check everything before anything is picked."""
        check_model(self.model)
        if len(self._classes) < 2:
            raise InputError("classes", "at least two", str(len(self._classes)))
        refuse_reserved(self._classes, WORDINGS["class"])
        if isinstance(self.budgets, str) or not isinstance(self.budgets, Sequence | np.ndarray):
            raise InputError("budgets", "a list of whole numbers, one a round", repr(self.budgets))
        if self.test is not None and not (isinstance(self.test, tuple | list) and len(self.test) == 2):
            raise InputError("test", "a pair (inputs, labels)", type(self.test).__name__)
        for budget in self.budgets:
            if isinstance(budget, bool) or not isinstance(budget, int | np.integer) or budget < 1:
                raise InputError("budgets", "whole numbers of 1 or more", repr(budget))
        if not len(self.budgets):
            raise InputError("budgets", "at least one round", "none")
        _ = self._experiment

    def __iter__(self) -> Iterator[OpenQuery]:
        """The open query of each round that is not over; the run directory is locked meanwhile.

        `AwaitingLabels` where the next is asked for and labels of the last are missing.
        """
        experiment, disk = self._experiment, self._disk
        n = len(experiment.manifest)
        with disk.lock():
            disk.claim(self._facts(), yaml.safe_dump(self._recipe(), sort_keys=False), experiment.manifest)
            tracker = Trackers(JsonlTracker(disk.path / "metrics.jsonl"))
            try:
                while not loop.over(experiment, disk):
                    rounds = disk.rounds()
                    self._learner.refit(disk.labels(n))
                    asked, picks = 0, loop.select(experiment, disk, len(rounds))
                    while asked < len(picks) and self._oracle.latest_answers(picks, len(rounds))[1]:
                        ids = tuple(experiment.manifest.ids[i] for i in picks[asked:].tolist())
                        yield OpenQuery(len(rounds), picks[asked:], ids, self._oracle)
                        asked, picks = len(picks), loop.select(experiment, disk, len(rounds))
                    loop.play(experiment, disk, tracker, len(rounds))
                self._learner.refit(disk.labels(n))
            finally:
                tracker.close()

    @cached_property
    def _disk(self) -> RunDir:
        return RunDir(Path(self.run_dir))

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        names = range(self.classes) if isinstance(self.classes, int) else self.classes
        return tuple(map(str, names))

    @cached_property
    def _vectors(self) -> npt.NDArray[np.floating]:
        vectors = numbers("embeddings", self.embeddings, (2,), "(N, D)")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise InputError(f"embedding of sample {bad[0]}", "finite numbers", "nan or inf")
        return vectors

    @cached_property
    def _inputs(self) -> npt.NDArray[np.generic]:
        """What the model sees of the pool and, behind it, of the test samples (N + T, ...)."""
        inputs: npt.NDArray[np.generic] = self._vectors if self.inputs is None else np.asarray(self.inputs)
        if inputs.dtype.hasobject or not inputs.ndim or len(inputs) != len(self._vectors):
            came = "objects" if inputs.dtype.hasobject else str(inputs.shape)
            raise InputError("inputs", f"an array of {len(self._vectors)} rows, as embeddings has", came)
        if self.test is None:
            return inputs
        test_inputs = np.asarray(self.test[0])
        if test_inputs.dtype.hasobject or test_inputs.shape[1:] != inputs.shape[1:] or not test_inputs.ndim:
            raise InputError("test", f"inputs (T, {', '.join(map(str, inputs.shape[1:]))})", str(test_inputs.shape))
        return np.concatenate([inputs, test_inputs])

    @cached_property
    def _truth(self) -> IntArray:
        """Classes of the test samples behind those of the pool, which are unknown here (N + T,)."""
        n, rows = len(self._vectors), len(self._inputs)
        labels = [] if self.test is None else list(np.asarray(self.test[1], dtype=object))
        if len(labels) != rows - n:
            raise InputError("test", f"{rows - n} labels, one for each of its inputs", str(len(labels)))
        words = [answer(f"test: label {i}", label, self._classes) for i, label in enumerate(labels)]
        return np.asarray([-1] * n + [-1 if w == SKIP else self._classes.index(w) for w in words], dtype=np.int64)

    @cached_property
    def _manifest(self) -> Manifest:
        n, test_size = len(self._vectors), len(self._inputs) - len(self._vectors)
        ids = tuple(map(str, range(n) if self.ids is None else self.ids))
        groups = ids if self.groups is None else tuple(map(str, self.groups))
        for name, values in (("ids", ids), ("groups", groups)):
            if len(values) != n:
                raise InputError(name, f"{n}, one for each row of embeddings", str(len(values)))
        content = [v.tobytes() + x.tobytes() for v, x in zip(self._vectors, self._inputs[:n], strict=True)]
        content += [x.tobytes() for x in self._inputs[n:]]
        digests = tuple(hashlib.sha256(row).hexdigest()[:32] for row in content)
        test_ids = tuple(f"test/{i}" for i in range(test_size))
        splits: list[Split] = ["pool" if i < n else "test" for i in range(n + test_size)]
        return Manifest(ids + test_ids, ids + test_ids, groups + test_ids, tuple(splits), digests)

    @cached_property
    def _oracle(self) -> WorklistOracle:
        return WorklistOracle(self._disk, self._manifest, self._classes)

    @cached_property
    def _learner(self) -> ModelLearner:
        return ModelLearner(self.model, self._inputs, len(self._classes))

    @cached_property
    def _experiment(self) -> Experiment:
        manifest, dim = self._manifest, self._vectors.shape[1]
        unread = np.full((len(manifest) - len(self._vectors), dim), np.nan, dtype=np.float32)
        vectors = np.concatenate([self._vectors, unread]) if len(unread) else self._vectors
        return Experiment(
            manifest=manifest,
            classes=self._classes,
            embeddings=Embeddings(vectors, encoder="own", manifest=manifest.fingerprint),
            cold_start=strategy_within("cold_start", self.cold_start, COLD & FEEDS),
            query=strategy_within("query", self.query, FEEDS),
            learner=self._learner,
            oracle=self._oracle,
            task=OpenTask(
                ClassHoldout(manifest, self._truth),
                Whole(manifest.indices("pool")),
                LabelBudgets(tuple(map(int, self.budgets))),
            ),
            seed=self.seed,
        )

    def _recipe(self) -> dict[str, object]:
        """The run in the keys of a recipe, so that reports and `status` can read it."""
        kind = type(self.model)
        return {
            "name": self._disk.path.name,
            "task": "classification",
            "seed": self.seed,
            "data": {"source": "own"},
            "learner": f"{kind.__module__}:{kind.__qualname__}",
            "train": "own",
            "pretrain": "none",
            "cold_start": _plain(self.cold_start),
            "query": _plain(self.query),
            "loop": {"budgets": [int(budget) for budget in self.budgets]},
            "oracle": {"name": "worklist"},
            "report": {"images": False},
        }

    def _facts(self) -> dict[str, object]:
        recipe = self._recipe()
        return {
            "name": recipe["name"],
            "seed": self.seed,
            "task": "classification",
            "classes": list(self._classes),
            "inbox": spec_of(Words("class")),
            "recipe": {key: value for key, value in recipe.items() if key not in ("name", "loop", "report")},
            "manifest": self._manifest.fingerprint,
            "versions": {"python": platform.python_version(), "hybrid-al": version("hybrid-al")},
        }


def _plain(choice: StrategyLike) -> dict[str, object]:
    """A strategy as a recipe has it; an object by its class and how it prints."""
    if isinstance(choice, str):
        return {"name": choice}
    if isinstance(choice, Mapping):
        plain: dict[str, object] = json.loads(json.dumps(dict(choice), default=dict))
        return plain
    return {"name": f"{type(choice).__module__}:{type(choice).__qualname__}", "settings": repr(choice)}
