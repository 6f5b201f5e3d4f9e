"""Weights & Biases as a mirror of metrics.jsonl and of a bench; the only module that imports wandb, and only if used.

Offline is the default: files under <run>/wandb, no connection, nothing about the machine in them. Two traps are
met here: an offline run cannot be resumed (each process starts a folder of its own), so the run id is fixed and the
step is the line number in metrics.jsonl, and `wandb sync` puts the folders together; and run settings would come
from the environment, so all that matter are set. Benches add a third: a logged table becomes an artifact too, staged
in the home directory and written down with its full path, unless it is bound to the run first.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from ..errors import InputError
from . import jsonl
from .base import Tracker, Trackers, Value, shareable

if TYPE_CHECKING:
    import wandb

Mode = Literal["offline", "online", "off"]
BenchTable = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""Title, headers, rows."""
CurvePoint = tuple[str, str, int, float, float, float]
"""Variant, arm, labels, mean over seeds, and the limits of its interval, infinite where there are none."""


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases; offline writes files to <run>/wandb and opens no connection, off imports nothing.

    mode  null: off where the environment says WANDB_MODE=disabled, else offline; only a recipe can say online
    """

    # YAML 1.1 reads a bare off as false
    mode: Annotated[Mode | None, BeforeValidator(lambda v: "off" if v is False else v)] = None
    project: str = "hybrid-al"
    log_images: bool = False

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        """See `TrackerSettings.open`; open it after JsonlTracker: a run that goes on continues the step.

        InputError where nobody is logged in.
        """
        if (mode := mode_of(self)) == "off":
            return Trackers()
        return WandbTracker(run_dir, recipe, digest=digest, mode=mode, log_images=self.log_images, project=self.project)


def mode_of(settings: Wandb) -> Mode:
    """The mode, with that of the environment where the recipe names none."""
    return settings.mode or ("off" if os.environ.get("WANDB_MODE", "").lower() == "disabled" else "offline")


class WandbTracker:
    """One W&B run; see `Wandb`."""

    def __init__(
        self,
        run_dir: Path,
        recipe: Mapping[str, object],
        *,
        digest: str,
        mode: Mode,
        log_images: bool,
        project: str,
    ) -> None:
        self._log_images = log_images
        self._axis = _TrainAxis()
        lines = jsonl.lines(run_dir / "metrics.jsonl")
        self._step = len(lines)
        for line in lines:
            if line["stage"] == "train":
                self._axis.at(line["round"], line["step"])
        config = {**shareable(recipe), "digest": digest}
        name = f"{recipe['name']}-s{recipe['seed']}"
        about = {"name": name, "config": config, **grouping(recipe)}
        self._run = _init(run_dir, run_id(recipe, digest), about, mode=mode, project=project)
        self._run.define_metric("labels", hidden=True)
        for name in ("curve/*", "test/*", "val/*", "pseudo/*"):
            self._run.define_metric(name, step_metric="labels")
        self._run.define_metric("train/step", hidden=True)
        self._run.define_metric("train/*", step_metric="train/step")

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Numbers as they are, sequences as histograms; non-finite values are left out."""
        row: dict[str, object] = {}
        for name, value in values.items():
            finite = np.asarray(value, dtype=float)
            finite = finite[np.isfinite(finite)]
            if finite.size:
                row[name] = self._histogram(finite) if isinstance(value, Sequence | np.ndarray) else float(finite[0])
        if round is not None:
            row["round"] = round
        if stage == "train" and step is not None:
            row["train/step"] = self._axis.at(round, step)
        self._run.log(row, step=self._step)
        self._step += 1

    def image(
        self, key: str, jpegs: Sequence[bytes], captions: Sequence[str], *, stage: str, round: int | None = None
    ) -> None:
        """Images only where the recipe says `log_images: true`; captions hold sample ids."""
        if not self._log_images:
            return
        import wandb
        from PIL import Image

        images = [
            wandb.Image(Image.open(io.BytesIO(jpeg)), caption=caption)
            for jpeg, caption in zip(jpegs, captions, strict=True)
        ]
        # no line in metrics.jsonl, so no step of its own: the images join the numbers that are logged next
        self._run.log({key: images}, step=self._step, commit=False)

    def close(self) -> None:
        """Write out what is pending and end the run."""
        self._run.finish()

    @staticmethod
    def _histogram(values: np.typing.NDArray[np.float64]) -> wandb.Histogram:
        import wandb

        counts, edges = np.histogram(values, bins=min(32, max(1, values.size)))
        return wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))


class _TrainAxis:
    """Training steps counted through all rounds, so that train/* is one line; a redone fit falls on its old steps."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}

    def at(self, round: object, step: object) -> int:
        """Position of a step of a round behind all rounds before it."""
        now, here = (v if isinstance(v, int) else 0 for v in (round, step))
        self._steps[now] = max(self._steps.get(now, 0), here + 1)
        return here + sum(count for r, count in self._steps.items() if r < now)


def log_bench(
    folder: Path,
    name: str,
    tables: Sequence[BenchTable],
    curves: Sequence[CurvePoint],
    summary: Mapping[str, float],
    *,
    digest: str,
    mode: Mode = "offline",
    project: str = "hybrid-al",
) -> None:
    """One run (job type "bench") with the numbers of a bench; nothing, without an import, where the mode is off.

    Everything is in the run's summary: `curves` and `tables/<title>` as tables, the numbers of `summary` under their
    names, those that are not finite left out. digest: of the grid, not of its results; with the name it is the fixed
    id. Repeated, it replaces: the folders in folder/wandb that an earlier call left are removed, and of a run that
    was synced the server takes the summary anew, as it would not take steps. Whatever looks like an absolute path is
    cut to its last part.
    """
    if mode == "off":
        return
    id = bench_id(name, digest)
    for old in (folder / "wandb").glob(f"offline-run-*-{id}"):
        shutil.rmtree(old)
    about = {"name": name, "job_type": "bench", "config": {"name": name, "digest": digest}}
    limits = [(*point[:4], *(end if np.isfinite(end) else None for end in point[4:])) for point in curves]
    contents: list[BenchTable] = [("curves", ("variant", "arm", "labels", "mean", "low", "high"), limits)]
    contents += [(f"tables/{_slug(title)}", headers, rows) for title, headers, rows in tables]
    with _init(folder, id, about, mode=mode, project=project) as run:
        wandb_tables: dict[str, object] = {}
        for key, headers, rows in contents:
            unique = f"{key}-{len(wandb_tables)}" if key in wandb_tables else key
            wandb_tables[unique] = _table(run, unique, headers, rows)
        run.summary.update({**{key: value for key, value in summary.items() if np.isfinite(value)}, **wandb_tables})


def _table(run: wandb.Run, key: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> wandb.Table:
    """A table in the run's own folder; bound here, it does not become an artifact."""
    import wandb

    cells = shareable({"rows": rows})["rows"]
    assert isinstance(cells, list)
    table = wandb.Table(columns=list(headers), data=cells, allow_mixed_types=True)
    table.bind_to_run(run, key, "summary")  # type: ignore[no-untyped-call]
    return table


def bench_id(name: str, digest: str) -> str:
    """Fixed id of the run of a bench."""
    return f"bench-{_slug(name)}-{digest[:8]}"


def run_id(recipe: Mapping[str, object], digest: str) -> str:
    """Fixed id of a run: the name of its directory and what it was made from, in letters that W&B takes."""
    return f"{_slug(str(recipe['name']))}-s{recipe['seed']}-{digest[:8]}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:80]


def grouping(recipe: Mapping[str, object]) -> dict[str, object]:
    """Where a run stands on a dashboard: group (all seeds of one setting), job_type (learner) and tags."""
    cold, query, train, learner = (_name(recipe.get(k)) for k in ("cold_start", "query", "train", "learner"))
    parts = [str(recipe["name"]), f"{cold}+{query}", train]
    tags = [str(recipe.get("modality") or ""), _name(recipe.get("task"))]
    return {
        "group": " ".join(p for p in parts if p)[:128],
        "job_type": learner,
        "tags": [t[:64] for t in (*tags, query, train) if t],
    }


def _name(component: object) -> str:
    return str(component.get("name", "")) if isinstance(component, Mapping) else str(component or "")


def _init(folder: Path, id: str, about: Mapping[str, object], *, mode: Mode, project: str) -> wandb.Run:
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when wandb is imported: no crash reports to its makers
    import wandb

    settings = wandb.Settings(
        root_dir=str(folder.resolve()),
        use_dot_wandb=False,
        reinit="create_new",  # independent of any other run of this process
        silent=True,
        symlink=False,
        console="off",
        disable_code=True,
        save_code=False,
        disable_git=True,
        disable_job_creation=True,
        host="local",
        username="",
        email="",
        program="hybrid-al",
        x_executable="python",
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    try:
        return wandb.init(
            id=id,
            project=project,
            mode="online" if mode == "online" else "offline",
            resume="allow" if mode == "online" else None,
            settings=settings,
            **about,  # type: ignore[arg-type]
        )
    except wandb.Error as error:
        expected = "a server that is there and a login to it (wandb login, or WANDB_API_KEY), or offline, or off"
        raise InputError(f"track.wandb.mode: {mode}", expected, " ".join(str(error).split())) from None
