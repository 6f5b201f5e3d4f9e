"""What a bench shows of its CSVs: Markdown tables, one HTML page, the same numbers in trackers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..components import trackers_of
from ..core.files import write_atomic
from ..errors import InputError
from ..track.base import BenchNumbers, TrackerSettings, say_failure
from . import provenance, results
from .costs import cost_tables
from .grid import Grid
from .mirror import numbers
from .page import write_page
from .results import Results
from .runner import Paths, settings
from .tables import Table, markdown, tables, timing
from .tuning import tuning_table


def publish(grid: Grid, paths: Paths, *, into: Path | None = None) -> Path:
    """Write `tables.md`, `timing.md` and `index.html` beside the CSVs, fill a block of `into`; the page.

    Only times differ between two benches of the same cells, so they have a file of their own.
    """
    bench, name = grid.bench, grid.bench_recipe.name
    cells = {variant: results.read(paths.csv(variant)) for variant in grid.variants}
    pages, times = result_tables(grid, paths, cells), timing(cells)
    write_atomic(paths.out / "tables.md", markdown(pages))
    write_atomic(paths.out / "timing.md", markdown([times]))
    if into is not None:
        fill(into, name, markdown([*pages, times]))
    digest = hashlib.sha256(json.dumps({v: settings(grid, v) for v in grid.variants}, sort_keys=True).encode())
    mirror(
        trackers_of(grid.bench_recipe),
        paths.out,
        numbers(name, cells, pages, metric=bench.metrics[0], digest=digest.hexdigest()),
    )
    page = paths.out / "index.html"
    return write_page(
        page, name, cells, [*pages, times], metric=bench.metrics[0], together=of_same_images(grid), margin=bench.margin
    )


def mirror(trackers: Mapping[str, TrackerSettings], folder: Path, bench: BenchNumbers) -> None:
    """Hand the numbers to every tracker; one that fails is said, and gets all of it at the next call."""
    for name, tracker in trackers.items():
        try:
            tracker.log_bench(folder, bench)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 (a mirror's library may raise anything; the results are on disk)
            say_failure(name, error)


def result_tables(grid: Grid, paths: Paths, cells: Mapping[str, Results]) -> list[Table]:
    """Every table but that of the times, from the cells of each variant."""
    bench = grid.bench
    beside = [metric for metric in bench.metrics[1:] if "hd95" in metric.split("/")]
    pages = tables(cells, metric=bench.metrics[0], margin=bench.margin, share=bench.share, beside=beside)
    pages += cost_tables(cells, of_same_images(grid), metric=bench.metrics[0], margin=bench.margin)
    return pages + [table for table in (tuning_table(grid, paths), stage0(grid, paths)) if table]


def of_same_images(grid: Grid) -> list[list[str]]:
    """Lots of variants whose images are the same in the same size, so that their costs count the same things."""
    lots: dict[str, list[str]] = {}
    for name, recipe in grid.variants.items():
        lots.setdefault(recipe.data.model_dump_json(), []).append(name)
    return list(lots.values())


def stage0(grid: Grid, paths: Paths) -> Table | None:
    """The probes of the encoders of each variant; None where none were noted."""
    encoders = {variant: provenance.encoders(paths.facts(variant)) for variant in grid.variants}
    names = sorted(
        {name for group in encoders.values() for probes in group for name in probes if name.endswith("_auroc")}
    )
    if not names:
        return None
    rows = []
    for variant, group in encoders.items():
        columns = [[value for probes in group if isinstance(value := probes.get(name), float)] for name in names]
        if any(columns):
            rows.append((variant, str(len(group)), *(_spread(column) for column in columns)))
    note = "kNN and linear probes of the encoders that the seeds share: mean, and standard deviation over encoders."
    return Table("Stage 0", note, ("variant", "encoders", *names), tuple(rows))


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else ""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def fill(file: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- bench: NAME -->` and `<!-- end -->` in a Markdown file."""
    page = file.read_text(encoding="utf-8")
    pattern = rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end -->)"
    new_page, count = re.subn(pattern, lambda m: f"{m[1]}\n{text}{m[2]}", page, flags=re.DOTALL)
    if count != 1:
        raise InputError(file, f"one block `<!-- bench: {name} -->` ... `<!-- end -->`", str(count))
    write_atomic(file, new_page)
