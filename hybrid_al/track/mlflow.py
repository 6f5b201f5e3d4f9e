"""MLflow as a mirror of metrics.jsonl, in a local folder or on a server; the only module that imports mlflow.

The run is found again by a tag with its fixed id. What it has already is asked of MLflow itself: so a run that goes
on, also one that was killed in the middle of a batch, adds what is missing and nothing twice. No tag names a user, a
host or a program: the client sets none by itself.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .base import BenchNumbers, Content, Table, Tracker, Value, need_package, run_id, shareable, slug
from .content import content_of
from .points import Point, Points, finite, past

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ID, HANDED = "hybrid_al.id", "hybrid_al.points"
BATCH = 200  # points in one request; MLflow takes 1000
PARAMETERS = 90  # in one request; MLflow takes 100


@dataclass(frozen=True)
class MLflow:
    """MLflow.

    uri         a folder, or the address of a server (http://..., databricks, ...); null: <run>/mlruns
    experiment  made where there is none of that name
    """

    uri: str | None = None
    experiment: str = "hybrid-al"
    log_images: bool = False

    def check(self) -> None:
        """See `TrackerSettings.check`."""
        need_package("track.mlflow", "mlflow", "mlflow")

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        """See `TrackerSettings.open`."""
        self.check()
        id, name = run_id(run_dir, recipe, digest), f"{recipe['name']}-s{recipe['seed']}"
        client = self._client(run_dir)
        run, new = self._run(client, id, name)
        if new:
            _log_parameters(client, run, {**shareable(recipe), "digest": digest})
        return MLflowTracker(client, run, run_dir, log_images=self.log_images)

    def log_bench(self, folder: Path, bench: BenchNumbers) -> None:
        """See `TrackerSettings.log_bench`; an earlier run of the bench is deleted."""
        self.check()
        client = self._client(folder)
        run, new = self._run(client, bench.id, bench.name)
        if not new:
            client.delete_run(run)
            run, _ = self._run(client, bench.id, bench.name)
        points = [Point(f"curve/{variant}/{arm}", n, mean) for variant, arm, n, mean, *_ in bench.curves]
        points += [Point(name, 0, value) for name, value in bench.summary.items() if np.isfinite(value)]
        _log_points(client, run, points)
        for title, headers, rows in bench.tables:
            table = Table(tuple(headers), tuple(map(tuple, rows)))
            client.log_dict(run, _plain(table), f"table/{slug(title)}.json")
        client.set_terminated(run)

    def _client(self, beside: Path) -> MlflowClient:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported: no usage statistics
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is away stops nobody for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        uri = str(beside / "mlruns") if self.uri is None else self.uri
        if not re.match(r"[a-z][a-z0-9+.-]*:|databricks$", uri):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else only databases, which mlflow-skinny has not
            uri = Path(uri).expanduser().resolve().as_uri()
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            return MlflowClient(tracking_uri=uri)
        except MlflowException as error:
            raise InputError("track.mlflow.uri", "a folder or the address of a server", f"{uri} ({error})") from None

    def _run(self, client: MlflowClient, id: str, name: str) -> tuple[str, bool]:
        """MLflow's id of the run with a fixed id, and whether it is new."""
        known = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if known is None else known.experiment_id
        if runs := client.search_runs([experiment], f"tags.`{ID}` = '{id}'"):
            client.update_run(runs[0].info.run_id, status="RUNNING")
            return str(runs[0].info.run_id), False
        return str(client.create_run(experiment, tags={ID: id}, run_name=name).info.run_id), True


class MLflowTracker:
    """One run of MLflow; see `MLflow`."""

    def __init__(self, client: MlflowClient, run: str, run_dir: Path, *, log_images: bool) -> None:
        self._client, self._run, self._log_images = client, run, log_images
        self._points, self._pending, self._handed = Points(), list[Point](), 0
        lines = list(past(run_dir, self._points))
        handed = int(client.get_run(run).data.tags.get(HANDED, 0))  # points of whole batches
        for line in lines:
            first = self._handed + len(self._pending)
            self._pending += line.points
            if line.stage == "evaluate" and first >= handed and (content := content_of(run_dir, line)):
                self._show(content)
        skipped, self._pending = self._pending[:handed], self._pending[handed:]
        self._handed = len(skipped)
        self._send(without=_places(client, run, {_name(point.name) for point in self._pending}))

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Numbers at their place, of sequences the mean; non-finite values are left out."""
        self._pending += self._points.of(values, stage=stage, round=round, step=step)
        if len(self._pending) >= BATCH or stage == "evaluate":
            self._send()

    def show(self, content: Content) -> None:
        """Tables and histograms as JSON files and, where the recipe says `log_images: true`, pictures, by round."""
        if not self._points.has("labels", content.round):
            self._show(content)

    def _show(self, content: Content) -> None:
        for name, table in content.tables.items():
            self._client.log_dict(self._run, _plain(table), f"{name}/{content.round:03d}.json")
        for name, histogram in content.histograms.items():
            plain = {"counts": list(histogram.counts), "edges": list(histogram.edges)}
            self._client.log_dict(self._run, plain, f"{name}/{content.round:03d}.json")
        if self._log_images:
            self._log_pictures(content)

    def _log_pictures(self, content: Content) -> None:
        import io

        from PIL import Image

        for name, pictures in content.pictures.items():
            for k, picture in enumerate(pictures):
                file = f"{name}/{content.round:03d}/{k:04d}.jpg"
                self._client.log_image(self._run, Image.open(io.BytesIO(picture.jpeg)), file)

    def alert(self, title: str, text: str) -> None:
        """Nothing: MLflow alerts nobody."""

    def close(self) -> None:
        """Hand over what is pending and end the run."""
        self._send()
        self._client.set_terminated(self._run)

    def _send(self, without: frozenset[tuple[str, int]] = frozenset()) -> None:
        """The pending points, batch by batch; each batch notes how many points MLflow has, those before it included."""
        pending, self._pending = self._pending, []
        for at in range(0, len(pending), BATCH):
            batch = pending[at : at + BATCH]
            self._handed += len(batch)
            new = [point for point in batch if (_name(point.name), point.at) not in without]
            _log_points(self._client, self._run, new, {HANDED: str(self._handed)})


def _log_points(client: MlflowClient, run: str, points: Sequence[Point], tags: Mapping[str, str] | None = None) -> None:
    from mlflow.entities import Metric, RunTag

    now = int(1000 * time.time())
    values = [(point, finite(point.value)) for point in points]
    metrics = [Metric(_name(p.name), float(v.mean()), now, p.at) for p, v in values if v.size]
    for at in range(0, max(1, len(metrics)), 1000):
        client.log_batch(run, metrics[at : at + 1000], tags=[RunTag(k, v) for k, v in (tags or {}).items()])


def _log_parameters(client: MlflowClient, run: str, recipe: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    params = [Param(_name(key), str(value)[:500]) for key, value in _flat(recipe).items()]
    for at in range(0, len(params), PARAMETERS):
        client.log_batch(run, params=params[at : at + PARAMETERS])


def _places(client: MlflowClient, run: str, names: set[str]) -> frozenset[tuple[str, int]]:
    """(name, place) of what the run has under these names."""
    there = names & set(client.get_run(run).data.metrics)
    return frozenset((name, metric.step) for name in there for metric in client.get_metric_history(run, name))


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    return {
        k: v for key, below in value.items() for k, v in _flat(below, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _plain(table: Table) -> dict[str, Any]:
    return {"columns": list(table.columns), "data": [list(row) for row in table.rows]}


def _name(name: str) -> str:
    """A name in the letters that MLflow takes: `<` becomes x3c, and so on, so that unlike names stay unlike.

    Its folders cannot hold `a/b` beside `a/b/c`, so the second slash and those behind it are dots.
    """
    letters = re.sub(r"[^\w\-. /:]", lambda m: f"x{ord(m[0]):x}", name, flags=re.ASCII)
    first, slash, rest = letters.partition("/")
    return f"{first}{slash}{rest.replace('/', '.')}"[:250].rstrip(".")
