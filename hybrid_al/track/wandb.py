"""Weights & Biases as a mirror of metrics.jsonl and of a bench; the only module that imports wandb, and only if used.

Offline is the default: files under <run>/wandb, no connection, nothing about the machine in them. Three traps are
met here: an offline run cannot be resumed (each process starts a folder of its own), so the run id is fixed and the
step is the line number in metrics.jsonl, and `wandb sync` puts the folders together; run settings would come from the
environment, so all that matter are set; and a logged table becomes an artifact too, staged in the home directory and
written down with its full path, unless it is bound to the run first.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from ..core.files import write_json
from ..core.types import IGNORE
from ..errors import InputError
from .base import BenchNumbers, BenchTable, Content, Picture, Table, Tracker, Trackers, Value, run_id, shareable, slug
from .content import content_of
from .names import NAMES, axis_of
from .points import Point, Points, finite, past
from .wandb_files import next_step, wait_for_end

if TYPE_CHECKING:
    import wandb

Mode = Literal["offline", "online", "off"]
STAGE0_STEP = "stage0/step"
BENCH_FILE = "wandb/bench.json"
"""Where W&B has a bench: the name of its run, project and team."""


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases; offline writes files to <run>/wandb and opens no connection, off imports nothing.

    mode       null: off where the environment says WANDB_MODE=disabled, else offline; only a recipe can say online
    entity     the team that the project belongs to; null: that of whoever is logged in
    artifacts  hand over encoder, embeddings, queries, labels and models as artifacts of the run
    """

    # YAML 1.1 reads a bare off as false
    mode: Annotated[Mode | None, BeforeValidator(lambda v: "off" if v is False else v)] = None
    project: str = "hybrid-al"
    entity: str | None = None
    log_images: bool = False
    artifacts: bool = False

    def check(self) -> None:
        """Nothing to check: wandb is always there, and a login is met before stage 0."""

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        """See `TrackerSettings.open`; InputError where nobody is logged in."""
        return Trackers() if mode_of(self) == "off" else WandbTracker(self, run_dir, recipe, digest=digest)

    def log_bench(self, folder: Path, bench: BenchNumbers) -> None:
        """One run (job type "bench") with the numbers of a bench; nothing, without an import, where the mode is off.

        Everything is in the run's summary: `curves` and `tables/<title>` as tables, the numbers of `summary` under
        their names, those that are not finite left out. Repeated, it replaces: the folders in folder/wandb that an
        earlier call left are removed, and of a run that was synced the server takes the summary anew, as it would not
        take steps. Whatever looks like an absolute path is cut to its last part.
        """
        if mode_of(self) != "off":
            _log_bench(self, folder, bench)


def mode_of(settings: Wandb) -> Mode:
    """The mode, with that of the environment where the recipe names none."""
    return settings.mode or ("off" if os.environ.get("WANDB_MODE", "").lower() == "disabled" else "offline")


class WandbTracker:
    """One W&B run; see `Wandb`."""

    def __init__(self, settings: Wandb, run_dir: Path, recipe: Mapping[str, object], *, digest: str) -> None:
        self._settings, self._points, self._folder = settings, Points(), run_dir / "wandb"
        id, name = run_id(run_dir, recipe, digest), f"{recipe['name']}-s{recipe['seed']}"
        handed = next_step(self._folder, id)
        about = {
            "name": name,
            "config": {**shareable(recipe), "digest": digest, "recipe": recipe["name"]},
            **grouping(recipe),
        }
        self._run = _init(run_dir, id, about, settings)
        if mode_of(settings) == "online":
            handed = max(handed, self._run.step)
        for metric, axis in axes().items():
            self._run.define_metric(metric, **({"hidden": True} if axis is None else {"step_metric": axis}))
        self._step = 0
        for line in past(run_dir, self._points):
            if line.number >= handed:
                if line.stage == "evaluate" and (content := content_of(run_dir, line)):
                    self._show(content)
                self._write(line.points, line.stage, line.round)
            self._step = line.number + 1

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Numbers as they are, sequences as histograms; non-finite values are left out."""
        points = tuple(self._points.of(values, stage=stage, round=round, step=step))
        self._write(points, stage, round)
        self._step += 1

    def _write(self, points: Sequence[Point], stage: str, round: int | None) -> None:
        row: dict[str, object] = {}
        for point in points:
            if (numbers := finite(point.value)).size:
                several = isinstance(point.value, Sequence | np.ndarray)
                row[point.name] = (
                    _histogram(*np.histogram(numbers, bins=min(32, numbers.size))) if several else float(numbers[0])
                )
        at = {axis: point.at for point in points if (axis := _axis_of(point, stage)) is not None}
        if row or stage == "evaluate":
            self._run.log({**row, **at, **({} if round is None else {"round": round})}, step=self._step)

    def show(self, content: Content) -> None:
        """Tables and histograms; pictures where the recipe says `log_images: true`, with sample ids as captions.

        They join the numbers that are logged next, at one step with them.
        """
        if not self._points.has("labels", content.round):
            self._show(content)

    def _show(self, content: Content) -> None:
        row: dict[str, object] = {
            n: _histogram(np.asarray(h.counts), np.asarray(h.edges)) for n, h in content.histograms.items()
        }
        pictures = (
            {n: self._images(p, content.classes) for n, p in content.pictures.items()}
            if self._settings.log_images
            else {}
        )
        for name, table in content.tables.items():
            images = pictures.get("images/picks", []) if name == "table/picks" else []
            row[name] = _table(self._run, name, _with_images(table, images), self._step)
        self._run.log({**row, **pictures, "round": content.round}, step=self._step, commit=False)
        if self._settings.artifacts:
            self._keep(content)

    def _images(self, pictures: Sequence[Picture], classes: Sequence[str]) -> list[wandb.Image]:
        import wandb
        from PIL import Image

        labels = {**dict(enumerate(classes)), IGNORE: "not known"}
        images = []
        for picture in pictures:
            image = Image.open(io.BytesIO(picture.jpeg))
            masks = None
            if picture.mask is not None:
                drawn = Image.fromarray(picture.mask).resize(image.size, Image.Resampling.NEAREST)
                masks = {"answer": {"mask_data": np.asarray(drawn), "class_labels": labels}}
            images.append(wandb.Image(image, caption=picture.caption, masks=masks))
        return images

    def _keep(self, content: Content) -> None:
        """An artifact a file, that of the encoder first; each names in its metadata what it was made from."""
        import wandb

        run = str(self._run.id)
        order = {"encoder": [], "embeddings": ["encoder"], "query": ["embeddings", "model"], "labels": ["query"]}
        sources = {**order, "model": ["labels", "encoder"]}
        for kind in sorted(content.files, key=[*sources].index):
            made_from = [f"{run}-{source}" for source in sources[kind] if content.round or source != "model"]
            artifact = wandb.Artifact(f"{run}-{kind}", kind, metadata={"round": content.round, "made_from": made_from})
            artifact.add_file(str(content.files[kind]), policy="immutable", skip_cache=True)
            self._run.log_artifact(artifact, aliases=[f"round-{content.round}"])

    def alert(self, title: str, text: str) -> None:
        """An alert: mail or Slack, as the person's settings at W&B say."""
        self._run.alert(title, text)

    def close(self) -> None:
        """Write out what is pending and end the run."""
        self._run.finish()
        wait_for_end(self._folder, str(self._run.id))


def axes() -> dict[str, str | None]:
    """The horizontal axis of every name, `*` at the end of those that stand for several; None is an axis itself."""
    metrics: dict[str, str | None] = dict.fromkeys(("labels", "round", "train/step", STAGE0_STEP))
    for entry, name in NAMES.items():
        prefix, several, _ = entry.partition("<")
        if name.axis != "once" and entry != "labels" and prefix:
            metrics.setdefault(f"{prefix}*" if several else entry, name.axis)
    return {**metrics, **dict.fromkeys(("val/*", "domain/*", "source/*", "target/*"), "labels")}


def _axis_of(point: Point, stage: str) -> str | None:
    """The axis that a point of a training brings along; the others have `labels` and `round` in their row."""
    axis = axis_of(point.name, stage, point.at)
    return axis if axis in ("train/step", STAGE0_STEP) else None


def _histogram(counts: np.typing.NDArray[np.int64], edges: np.typing.NDArray[np.float64]) -> wandb.Histogram:
    import wandb

    return wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))


def _with_images(table: Table, images: Sequence[wandb.Image]) -> Table:
    """The table with columns for ids and thumbnails, where there are some: those of the first picks."""
    if not images:
        return table
    cells = [(image._caption, image) for image in images] + [(None, None)] * (len(table.rows) - len(images))
    rows = ((*row, *cell) for row, cell in zip(table.rows, cells, strict=True))
    return Table((*table.columns, "id", "image"), tuple(rows))


def _log_bench(settings: Wandb, folder: Path, bench: BenchNumbers) -> None:
    for old in (folder / "wandb").glob(f"offline-run-*-{bench.id}*/run-{bench.id}.wandb"):
        shutil.rmtree(old.parent)
    about = {"name": bench.name, "job_type": "bench", "config": {"name": bench.name, "digest": bench.digest}}
    limits = [(*point[:4], *(end if np.isfinite(end) else None for end in point[4:])) for point in bench.curves]
    contents: list[BenchTable] = [("curves", ("variant", "arm", "labels", "mean", "low", "high"), limits)]
    contents += [(f"tables/{slug(title)}", headers, rows) for title, headers, rows in bench.tables]
    with _init(folder, bench.id, about, settings) as run:
        wandb_tables: dict[str, object] = {}
        for key, headers, rows in contents:
            unique = f"{key}-{len(wandb_tables)}" if key in wandb_tables else key
            wandb_tables[unique] = _table(run, unique, Table(tuple(headers), tuple(map(tuple, rows))), "summary")
        numbers = {key: value for key, value in bench.summary.items() if np.isfinite(value)}
        run.summary.update({**numbers, **wandb_tables})
    write_json(folder / BENCH_FILE, {"name": bench.name, "project": settings.project, "entity": settings.entity})


def _table(run: wandb.Run, key: str, table: Table, step: int | str) -> wandb.Table:
    """A table in the run's own folder; bound here, it does not become an artifact."""
    import wandb

    cells = shareable({"rows": table.rows})["rows"]
    assert isinstance(cells, list)
    wandb.Table.MAX_ROWS = max(wandb.Table.MAX_ROWS, len(cells))  # what is beyond would be cut, in silence
    made = wandb.Table(columns=list(table.columns), data=cells, allow_mixed_types=True)
    made.bind_to_run(run, key, step)  # type: ignore[no-untyped-call]
    return made


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


def _init(folder: Path, id: str, about: Mapping[str, object], settings: Wandb) -> wandb.Run:
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when wandb is imported: no crash reports to its makers
    import wandb

    # else each start imports W&B's launch agent, 2 s, to look for inputs that a launch staged: there are none
    setattr(wandb.Run, "_detect_and_apply_job_inputs", lambda _: None)  # noqa: B010
    mode = mode_of(settings)
    private = wandb.Settings(
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
            project=settings.project,
            entity=settings.entity,
            mode="online" if mode == "online" else "offline",
            resume="allow" if mode == "online" else None,
            settings=private,
            **about,  # type: ignore[arg-type]
        )
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        expected = "a server that is there and a login to it (wandb login, or WANDB_API_KEY), or offline, or off"
        raise InputError(f"track.wandb.mode: {mode}", expected, " ".join(str(error).split())) from None
