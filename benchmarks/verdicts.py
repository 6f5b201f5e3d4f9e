"""The questions that the studies were made for, as planned contrasts, from the committed CSVs into RESULTS.md.

python benchmarks/verdicts.py

A contrast is the mean AUBC of some arms minus that of others, seed by seed; in points, with the statistics of
`hybrid_al.bench.statistics`. p is adjusted by Holm within each table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from hybrid_al.bench.publish import fill
from hybrid_al.bench.results import Arm, Results, read
from hybrid_al.bench.statistics import Comparison, call, compare, holm
from hybrid_al.bench.tables import Table, markdown
from hybrid_al.core.types import FloatArray

HERE = Path(__file__).parent
METRIC, MARGIN = "test/auroc", 0.005
SETS = ("pneumoniamnist", "malaria", "isic2017")
ENCODERS = ("ssl", "imagenet", "random")
QUERIES = (
    "least_confidence",
    "entropy",
    "margin",
    "coreset_l2",
    "coreset_cosine",
    "mc_dropout_entropy",
    "bald",
    "badge",
)
OBJECTIVES = (
    "pseudo_label",
    "pi_model",
    "mean_teacher",
    "mixmatch",
    "uda",
    "fixmatch",
    "flexmatch",
    "freematch",
    "softmatch",
    "debiased",
)
STARTS = (
    "typiclust",
    "kmeans",
    "kmedoids",
    "coreset_cosine",
    "probcover",
    "facility_location",
    "maxherding",
    "mmd",
    "density_peaks",
    "usl",
    "csval",
    "typiclust+random",
    "typiclust+entropy",
    "typiclust+badge",
    "typiclust+hybrid",
    "facility_location+hybrid",
)
COVER = ("random+typiclust", "random+kmeans", "random+coreset_cosine")
DOUBT = ("entropy", "margin")


@dataclass(frozen=True)
class Side:
    """Some arms of one CSV; their AUBC, up to a number of labels, is averaged.

    With `minus`, how much larger it is than that of another side.
    """

    file: str
    strategies: Sequence[str]
    objective: str = "supervised"
    minus: Side | None = None
    until: int | None = None

    def areas(self) -> dict[int, float]:
        """Seed -> mean AUBC of the arms, or its difference to the other side's, over the seeds that all have."""
        own = self._own()
        if self.minus is None:
            return own
        others = self.minus.areas()
        return {seed: area - others[seed] for seed, area in own.items() if seed in others}

    def _own(self) -> dict[int, float]:
        results = _read(self.file)
        learner = next(iter(results.cells))[0].learner if results.cells else "frozen"
        arms = [Arm(strategy, self.objective, learner) for strategy in self.strategies]
        if not results.seeds(arms):
            return {}
        curves = results.curves(METRIC, arms)
        if self.until is not None:
            kept = curves.labels <= self.until
            curves = replace(curves, labels=curves.labels[kept], values=curves.values[:, :, kept])
        return dict(zip(curves.seeds, curves.areas().mean(axis=0).tolist(), strict=True))


@cache
def _read(file: str) -> Results:
    return read(HERE / f"{file}.csv")


def contrast(of: Side, against: Side) -> Comparison | None:
    """The one minus the other, in AUBC, over the seeds that both have."""
    a, b = of.areas(), against.areas()
    seeds = sorted(set(a) & set(b))
    if len(seeds) < 2:
        return None
    x, y = (np.asarray([areas[s] for s in seeds]) for areas in (a, b))
    return compare(x, y)


def table(title: str, note: str, rows: Sequence[tuple[str, Side, Side]]) -> Table:
    """One row a contrast."""
    found = [(name, c) for name, of, against in rows if (c := contrast(of, against)) is not None]
    if not found:
        return Table(title, f"{note} Not run yet.")
    adjusted: FloatArray = holm([c.p for _, c in found])
    lines = tuple(_line(name, c, p) for (name, c), p in zip(found, adjusted.tolist(), strict=True))
    return Table(title, note, ("contrast", "points of AUBC (95 %)", "wins", "p", "p (Holm)", "call"), lines)


def _line(name: str, c: Comparison, p: float) -> tuple[str, ...]:
    d = c.difference
    shown = f"{100 * d.mean:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f})"
    return name, shown, f"{c.wins}/{d.n}", _p(c.p), _p(p), call(c, p, margin=MARGIN)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def worth() -> Iterator[tuple[str, Side, Side]]:
    """What encoder, objective and query are worth, each against the same bottom line."""
    for name in SETS:
        ssl = f"survey/{name}-ssl"
        base = Side(ssl, ["random"])
        for encoder, said in (("ssl", "SSL"), ("imagenet", "ImageNet")):
            other = Side(f"survey/{name}-random", ["random"])
            yield f"{name}: {said} minus random-init encoder", Side(f"survey/{name}-{encoder}", ["random"]), other
        yield f"{name}: the survey's queries, on average, minus random (SSL)", Side(ssl, QUERIES), base
        yield f"{name}: hybrid minus random (SSL)", Side(ssl, ["hybrid"]), base


def training() -> Iterator[tuple[str, Side, Side]]:
    """What training on the rest of the pool is worth, and what the query is worth under it."""
    for name in SETS:
        file = f"training/{name}"
        for query in ("random", "hybrid"):
            with_pool, without = Side(file, [query], "fixmatch"), Side(file, [query])
            yield f"{name}: FixMatch minus supervised ({query})", with_pool, without
        for objective in ("supervised", "fixmatch"):
            query_side, random = Side(file, ["hybrid"], objective), Side(file, ["random"], objective)
            yield f"{name}: hybrid minus random ({objective})", query_side, random


def defaults() -> Iterator[tuple[str, Side, Side]]:
    """The shipped recipes as they are."""
    for name in SETS:

        def of(arm: str, name: str = name) -> Side:
            return Side(f"defaults/{name}", [arm], "mean_teacher")

        yield f"{name}: TypiClust start, then random", of("typiclust+random"), of("random")
        yield f"{name}: TypiClust start, then hybrid", of("typiclust+hybrid"), of("random")
        for other in ("random", "uncertainty", "consistency", "shortlist"):
            yield f"{name}: hybrid minus {other}, after TypiClust", of("typiclust+hybrid"), of(f"typiclust+{other}")
        yield f"{name}: hybrid minus TypiClust, after TypiClust", of("typiclust+hybrid"), of("typiclust")


def budget() -> Iterator[tuple[str, Side, Side]]:
    """Representativeness against uncertainty, and whether their difference itself differs between the budgets."""
    for size in ("low", "high"):
        for name in SETS:
            file = f"budget/{name}-{size}"
            yield f"{size} budget, {name}", Side(file, COVER), Side(file, DOUBT)
    for name in SETS:
        low, high = (
            Side(f"budget/{name}-{s}", COVER, minus=Side(f"budget/{name}-{s}", DOUBT)) for s in ("low", "high")
        )
        yield f"low minus high, {name}", low, high


def consistency() -> Iterator[tuple[str, Side, Side]]:
    """What the record of training adds."""
    for folder, objective in (("consistency", "fixmatch"), ("consistency_debiased", "debiased")):
        for name in SETS:
            file = f"{folder}/{name}"
            doubt = Side(file, ["typiclust+uncertainty"], objective)
            for query in ("consistency", "both"):
                yield f"{name}, {objective}: {query}", Side(file, [f"typiclust+{query}"], objective), doubt
    for name in SETS:
        file = f"defaults/{name}"
        doubt = Side(file, ["typiclust+uncertainty"], "mean_teacher")
        for query, said in (("consistency", "consistency"), ("hybrid", "both")):
            yield f"{name}, mean_teacher: {said}", Side(file, [f"typiclust+{query}"], "mean_teacher"), doubt


def cosine() -> Iterator[tuple[str, Side, Side]]:
    """Core-set by angle against core-set by distance."""
    for encoder in ENCODERS:
        for name in SETS:
            file = f"survey/{name}-{encoder}"
            yield f"{name}, {encoder} encoder", Side(file, ["coreset_cosine"]), Side(file, ["coreset_l2"])


def starts() -> Iterator[tuple[str, Side, Side]]:
    """A representative start, then random."""
    for name in SETS:
        file = f"budget/{name}-low"
        yield f"{name}: TypiClust start of 10", Side(file, ["typiclust+random"]), Side(file, ["random"])
        file = f"survey/{name}-ssl"
        for start in ("typiclust", "kmeans", "coreset_cosine"):
            yield f"{name}: {start} start of 50", Side(file, [f"{start}+random"]), Side(file, ["random"])


def finetune() -> Iterator[tuple[str, Side, Side]]:
    """The whole network trained."""
    for name in SETS[:2]:
        file = f"finetune/{name}"
        base = Side(file, ["random"])
        for objective, said in (("fixmatch", "FixMatch"), ("mean_teacher", "mean teacher")):
            yield f"{name}: {said} minus supervised (random)", Side(file, ["random"], objective), base
        for objective in ("supervised", "fixmatch", "mean_teacher"):
            query, random = Side(file, ["hybrid"], objective), Side(file, ["random"], objective)
            yield f"{name}: hybrid minus random ({objective})", query, random


def objectives() -> Iterator[tuple[str, Side, Side]]:
    """What each way of training on the rest of the pool is worth, the two queries averaged."""
    for name in SETS:
        file = f"objectives/{name}"
        for objective in OBJECTIVES:
            both = ["random", "hybrid"]
            yield f"{name}: {objective} minus supervised", Side(file, both, objective), Side(file, both)


def trainers() -> Iterator[tuple[str, Side, Side]]:
    """What the query is worth under each objective."""
    for name in SETS:
        file = f"objectives/{name}"
        for objective in ("supervised", *OBJECTIVES):
            query, random = Side(file, ["hybrid"], objective), Side(file, ["random"], objective)
            yield f"{name}: hybrid minus random ({objective})", query, random


def first_labels() -> Iterator[tuple[str, Side, Side]]:
    """Strategies that need no model, all along; and queries with one after a TypiClust start."""
    for folder, said in (("starts", "SSL"), ("starts_imagenet", "ImageNet")):
        for name in SETS:
            file = f"{folder}/{name}"
            for start in STARTS:
                yield f"{name}, {said}: {start}", Side(file, [start]), Side(file, ["random"])


def scratch() -> Iterator[tuple[str, Side, Side]]:
    """All of it against none of it."""
    for name in SETS[:2]:
        whole = Side(f"defaults/{name}", ["typiclust+hybrid"], "mean_teacher", until=40)
        yield f"{name}: the recipe minus from scratch, 10 to 40 labels", whole, Side(f"scratch/{name}", ["random"])


QUESTIONS = {
    "What is worth most?": (worth, "Survey budget of 50 + 5 x 50, frozen encoder."),
    "The training recipe": (training, "The same budget and encoder (SSL)."),
    "Every objective": (
        objectives,
        "10 to 160 labels from a random start, frozen encoder (SSL), the mean of random and hybrid queries.",
    ),
    "Hybrid minus random under every objective": (trainers, "The same loops."),
    "The first labels": (
        first_labels,
        "10, 20, 40 and 80 labels, supervised, frozen encoder; minus random picks. Without a plus the strategy buys "
        "all of them, after one it follows ten by TypiClust.",
    ),
    "The defaults": (
        defaults,
        "The shipped recipes (mean teacher) with the frozen learner, 10 to 120 labels, minus the same recipe with "
        "random picks; and, after the same TypiClust start, minus other queries: random, either score alone, the "
        "batch maker that was the default before, TypiClust all along.",
    ),
    "Representativeness minus uncertainty": (
        budget,
        f"The mean of {', '.join(COVER)} minus the mean of {', '.join(DOUBT)}, after the same random start; SSL, "
        "supervised. Low is 10 to 120 labels, high 200 to 1,000.",
    ),
    "Consistency minus uncertainty": (
        consistency,
        "Queries by consistency, or by both, minus those by uncertainty, after the same TypiClust start of 10, up to "
        "120 labels; SSL. Top-k of each score; under mean teacher weighted k-means, and seeds 80 to 99. ISIC 2017 is "
        "the imbalanced set (19 % melanoma).",
    ),
    "Core-set: cosine minus L2": (cosine, "Survey budget, supervised, on raw embeddings."),
    "Representative start minus random start": (starts, "Then random queries; SSL, supervised."),
    "From scratch": (
        scratch,
        "The shipped recipe (SSL, TypiClust, hybrid, mean teacher, frozen) minus the same network trained whole from "
        "random weights, supervised, on random picks.",
    ),
    "Finetune": (finetune, "The whole network from SSL weights, 20, 40 and 80 labels, 100 steps a round."),
}


def main() -> None:
    """Fill the block `<!-- bench: verdicts -->` of RESULTS.md."""
    found = [table(title, note, list(rows())) for title, (rows, note) in QUESTIONS.items()]
    fill(HERE / "RESULTS.md", "verdicts", markdown(found))


if __name__ == "__main__":
    main()
