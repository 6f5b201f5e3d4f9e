"""Tables of the studies, from the committed CSVs into RESULTS.md, between its markers.

python benchmarks/summarise.py
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.stats

from hybrid_al.metrics import aubc

HERE = Path(__file__).parent
Curves = dict[tuple[str, str], dict[int, dict[int, float]]]
"""(set, variant) -> seed -> labels -> value."""


def read(name: str, metric: str) -> Curves:
    """Learning curves of one metric from a study's CSV."""
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    with (HERE / f"{name}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] == metric:
                curves[row["set"], row["variant"]][int(row["seed"])][int(row["labels"])] = float(row["value"])
    return curves


def areas(curves: dict[int, dict[int, float]]) -> dict[int, float]:
    """AUBC over the labels of each seed."""
    return {s: aubc(np.asarray(sorted(c)), np.asarray([c[k] for k in sorted(c)])) for s, c in curves.items()}


def ablation() -> Iterator[str]:
    """Test AUROC at each budget, AUBC, and the paired difference of AUBC to random."""
    curves = read("ablation", "test/auroc")
    for name in sorted({key[0] for key in curves}):
        budgets = sorted(next(iter(curves[name, "random"].values())))
        yield f"\n**{name}**, test AUROC, mean ± standard deviation over {len(curves[name, 'random'])} seeds\n"
        yield "| query | " + " | ".join(f"{b} labels" for b in budgets) + " | AUBC | minus random (95 %) | wins | p |"
        yield "|---" * (len(budgets) + 5) + "|"
        base = areas(curves[name, "random"])
        for variant in ("random", "uncertainty", "consistency", "both", "both+diversity"):
            runs = curves[name, variant]
            cells = [spread([runs[s][b] for s in runs]) for b in budgets]
            own = areas(runs)
            yield f"| {variant} | " + " | ".join(cells) + f" | {spread(own.values())} | {versus(own, base)} |"


def versus(own: dict[int, float], base: dict[int, float]) -> str:
    """Paired difference in points with a bootstrap interval, wins, and Wilcoxon's p."""
    seeds = sorted(set(own) & set(base))
    d = 100 * np.asarray([own[s] - base[s] for s in seeds])
    if not d.any():
        return "| |"
    low, high = scipy.stats.bootstrap((d,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    p = scipy.stats.wilcoxon(d).pvalue
    shown = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return f"{d.mean():+.2f} ({low:+.2f} to {high:+.2f}) | {(d > 0).sum()}/{len(d)} | {shown}"


def coldstart() -> Iterator[str]:
    """Test AUROC after one purchase, random against TypiClust."""
    curves = read("coldstart", "test/auroc")
    yield "\n| set | labels | random | TypiClust | TypiClust minus random (95 %) | wins | p |"
    yield "|---" * 7 + "|"
    for name in dict.fromkeys(key[0] for key in curves):
        for n in (10, 40):
            one, two = ({s: c[max(c)] for s, c in curves[name, f"{v}-{n}"].items()} for v in ("random", "typiclust"))
            yield f"| {name} | {n} | {spread(one.values())} | {spread(two.values())} | {versus(two, one)} |"


def stage0() -> Iterator[str]:
    """Probes of the encoders."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (HERE / "stage0.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if int(row["seed"]) < 100:
                found[row["set"]][row["metric"]].append(float(row["value"]))
    yield "\n| set | test/knn_auroc | test/linear_auroc | val/linear_auroc | seconds, one core, shared |"
    yield "|---" * 5 + "|"
    for name, metrics in found.items():
        cells = [spread(metrics[m]) for m in ("test/knn_auroc", "test/linear_auroc", "val/linear_auroc")]
        yield f"| {name} | " + " | ".join(cells) + f" | {np.mean(metrics['seconds']):.0f} |"


def seconds() -> Iterator[str]:
    """Wall time of a loop."""
    curves = read("ablation", "seconds/loop")
    yield "\n| set | seconds a loop, median (largest) |"
    yield "|---|---|"
    for name in dict.fromkeys(key[0] for key in curves):
        every = [v for (s, _), runs in curves.items() if s == name for c in runs.values() for v in c.values()]
        yield f"| {name} | {np.median(every):.1f} ({max(every):.1f}) |"


def spread(values: object) -> str:
    """Mean ± standard deviation."""
    a = np.asarray(list(values), dtype=float)  # type: ignore[call-overload]
    return f"{a.mean():.3f} ± {a.std(ddof=1):.3f}"


def main() -> None:
    """Rewrite the tables between `<!-- name -->` and `<!-- end -->`."""
    page = HERE / "RESULTS.md"
    text = page.read_text()
    for make in (stage0, coldstart, ablation, seconds):
        table = "\n".join(make())
        pattern = rf"(<!-- {make.__name__} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)
    page.write_text(text)


if __name__ == "__main__":
    main()
