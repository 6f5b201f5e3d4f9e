"""How large the report of many picks is, and how soon it can be read.

python benchmarks/report_page.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hybrid_al.report.page import Pictures, RunView, write_report
from tests.helpers.browser import chromium, visit
from tests.helpers.fake_run import fake_run, thumbnail

VISITS = 5
SIZES = ((5, 5, 100, 3000), (1, 5, 100, 3000), (1, 10, 1000, 20_000))
"""(seeds, rounds, picks a round, images in the pool)."""


def main() -> None:
    """Write a report of each size and measure it in the browser."""
    print("| seeds x rounds x picks | MB | written in s | pictures | first paint in ms | loaded in ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        for seeds, rounds, picks, pool in SIZES:
            root = Path(scratch) / f"{seeds}-{rounds}-{picks}"
            runs = [
                RunView.read(fake_run(root / str(seed), seed=seed, pool=pool, budgets=(picks,) * rounds))
                for seed in range(seeds)
            ]
            pictures = [Pictures(lambda i, _: thumbnail(i))] * seeds
            began = time.perf_counter()
            page = write_report(runs, root / "report", pictures=pictures)
            seconds = time.perf_counter() - began
            paints, loads = [], []
            for _ in range(VISITS):
                opened = visit(browser, page)
                paints.append(opened.first_paint())
                loads.append(opened.loaded())
                opened.page.close()
            size, images = page.stat().st_size / 1e6, page.read_text(encoding="utf-8").count('"/9j/')
            span = [f"{min(times):.0f} to {max(times):.0f}" for times in (paints, loads)]
            print(f"| {seeds} x {rounds} x {picks} | {size:.1f} | {seconds:.1f} | {images} | {' | '.join(span)} |")


if __name__ == "__main__":
    main()
