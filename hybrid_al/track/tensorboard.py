"""TensorBoard as a mirror of metrics.jsonl; the only module that imports tensorboard, and only if used.

Its own writer names files by the host; here the file is ours and the records are its. What a run has already is read
back from the event files, so a run that goes on adds what is missing and nothing twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .base import BenchNumbers, Content, Histogram, Table, Tracker, Value, need_package, run_id, shareable, slug
from .content import content_of, markdown
from .points import Line, Point, Points, finite, past

FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class TensorBoard:
    """TensorBoard.

    folder  where runs get a folder each, as in `tensorboard --logdir FOLDER`; null: <run>/tensorboard
    """

    folder: str | None = None
    log_images: bool = False

    def check(self) -> None:
        """See `TrackerSettings.check`."""
        need_package("track.tensorboard", "tensorboard", "tensorboard")

    def open(self, run_dir: Path, recipe: Mapping[str, object], digest: str) -> Tracker:
        """See `TrackerSettings.open`."""
        self.check()
        folder = self._folder(run_dir, run_id(run_dir, recipe, digest))
        return TensorBoardTracker(folder, run_dir, recipe, log_images=self.log_images)

    def log_bench(self, folder: Path, bench: BenchNumbers) -> None:
        """See `TrackerSettings.log_bench`."""
        self.check()
        logs = self._folder(folder, bench.id)
        for old in logs.glob("events.out.tfevents.*"):
            old.unlink()
        events = _Events(logs)
        for variant, arm, labels, mean, *_ in bench.curves:
            events.number(f"curve/{variant}/{arm}", labels, mean)
        for name, value in bench.summary.items():
            if np.isfinite(value):
                events.number(name, 0, value)
        for title, headers, rows in bench.tables:
            events.text(f"table/{slug(title)}", 0, markdown(Table(tuple(headers), tuple(map(tuple, rows)))))
        events.close()

    def _folder(self, beside: Path, id: str) -> Path:
        return beside / "tensorboard" if self.folder is None else Path(self.folder).expanduser() / id


class TensorBoardTracker:
    """One run of TensorBoard; see `TensorBoard`."""

    def __init__(self, folder: Path, run_dir: Path, recipe: Mapping[str, object], *, log_images: bool) -> None:
        handed = handed_over(folder)
        self._events, self._points, self._log_images = _Events(folder), Points(), log_images
        if not handed:
            plain = yaml.safe_dump(shareable(recipe), sort_keys=False, allow_unicode=True)
            self._events.text("recipe", 0, f"```yaml\n{plain}\n```")
        for line in past(run_dir, self._points):
            new = [point for point in line.points if (point.name, point.at) not in handed]
            if line.stage == "evaluate" and len(new) == len(line.points) and (content := content_of(run_dir, line)):
                self._show(content)
            self._write(new)
        self._events.flush()

    def log(
        self, values: Mapping[str, Value], *, stage: str, round: int | None = None, step: int | None = None
    ) -> None:
        """Numbers at their place, sequences as histograms; non-finite values are left out."""
        self._write(self._points.of(values, stage=stage, round=round, step=step))

    def show(self, content: Content) -> None:
        """Tables as text, histograms and, where the recipe says `log_images: true`, pictures."""
        if not self._points.has("labels", content.round):
            self._show(content)

    def _show(self, content: Content) -> None:
        for name, table in content.tables.items():
            self._events.text(name, content.round, markdown(table))
        for name, histogram in content.histograms.items():
            self._events.histogram(name, content.round, histogram)
        for name, pictures in content.pictures.items() if self._log_images else ():
            self._events.pictures(name, content.round, [picture.jpeg for picture in pictures])

    def alert(self, title: str, text: str) -> None:
        """Nothing: TensorBoard alerts nobody."""

    def close(self) -> None:
        """Close the file."""
        self._events.close()

    def _write(self, points: Sequence[Point]) -> None:
        for point in points:
            numbers = finite(point.value)
            if not numbers.size:
                continue
            if isinstance(point.value, Sequence | np.ndarray):
                counts, edges = np.histogram(numbers, bins=min(32, numbers.size))
                self._events.histogram(point.name, point.at, Histogram(tuple(counts.tolist()), tuple(edges.tolist())))
            else:
                self._events.number(point.name, point.at, float(numbers[0]))


class _Events:
    """An event file without the host in its name, written through at most `FLUSH_SECONDS` later."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{time.time_ns() // 1000:017d}.local.{os.getpid()}"
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer, self._flushed = RecordWriter(path.open("xb")), 0.0
        self._writer.write(self._event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def number(self, name: str, at: int, value: float) -> None:
        """A scalar."""
        self._add(at, [self._summary.Value(tag=name, simple_value=value)])

    def text(self, name: str, at: int, markdown: str) -> None:
        """Markdown."""
        from tensorboard.plugins.text.summary import text_pb

        self._add(at, [text_pb(name, markdown).value[0]])

    def histogram(self, name: str, at: int, histogram: Histogram) -> None:
        """Counts between edges."""
        from tensorboard.compat.proto.summary_pb2 import HistogramProto

        counts, edges = np.asarray(histogram.counts), np.asarray(histogram.edges)
        middles = (edges[1:] + edges[:-1]) / 2
        proto = HistogramProto(
            min=edges[0], max=edges[-1], num=counts.sum(), sum=counts @ middles, sum_squares=counts @ middles**2,
            bucket_limit=edges[1:].tolist(), bucket=counts.tolist(),
        )  # fmt: skip
        self._add(at, [self._summary.Value(tag=name, histo=proto)])

    def pictures(self, name: str, at: int, jpegs: Sequence[bytes]) -> None:
        """JPEG files, numbered."""
        images = [self._summary.Image(encoded_image_string=jpeg) for jpeg in jpegs]
        self._add(at, [self._summary.Value(tag=f"{name}/{k}", image=image) for k, image in enumerate(images)])

    def _add(self, at: int, values: list[Any]) -> None:
        event = self._event(wall_time=time.time(), step=at, summary=self._summary(value=values))
        self._writer.write(event.SerializeToString())
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand what is pending to the file."""
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write out what is pending and close the file."""
        self._writer.close()


def handed_over(folder: Path) -> set[tuple[str, int]]:
    """(name, place) of all that the event files of a folder hold; what a kill cut short is not there."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    files = sorted(folder.glob("events.out.tfevents.*"))
    events = (event for file in files for event in LegacyEventFileLoader(str(file)).Load())
    return {(value.tag, event.step) for event in events for value in event.summary.value}


__all__ = ["Line", "TensorBoard", "TensorBoardTracker", "handed_over"]
