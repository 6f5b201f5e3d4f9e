"""The questions that the studies were made for, as contrasts from the committed CSVs into RESULTS.md and EARLIER.md.

python benchmarks/verdicts.py

A contrast is the mean AUBC of some arms minus that of others, seed by seed; in points, with the statistics of
`hybrid_al.bench.statistics`. p is adjusted by Holm within each table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from hybrid_al.bench.publish import fill
from hybrid_al.bench.results import Arm, Results, read
from hybrid_al.bench.statistics import Comparison, call, compare, holm, interval
from hybrid_al.bench.tables import Table, markdown
from hybrid_al.core.types import FloatArray

HERE = Path(__file__).parent
METRIC, MARGIN, LINEAR = "test/auroc", 0.005, "linear"
PAIRS = {
    "PneumoniaMNIST, SSL": "pneumoniamnist_ssl",
    "malaria, SSL": "malaria_ssl",
    "PneumoniaMNIST, ImageNet": "pneumoniamnist_imagenet",
    "malaria, ImageNet": "malaria_imagenet",
    "ISIC 2017, ImageNet": "isic2017_imagenet",
}
"""Pairs of a data set and an encoder in `defaults.yaml`."""
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


Question = tuple[Callable[[], Iterator[tuple[str, "Side", "Side"]]], str]
"""The contrasts of a table, and its note."""


@dataclass(frozen=True)
class Side:
    """Some arms of one CSV; their AUBC, up to a number of labels, is averaged.

    With `minus`, how much larger it is than that of another side. learner: None is the one beside the baseline.
    """

    file: str
    strategies: Sequence[str]
    objective: str = "supervised"
    learner: str | None = None
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
        learner = self.learner or next((arm.learner for arm, _ in results.cells if arm.learner != LINEAR), "frozen")
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


def first_labels() -> Iterator[tuple[str, Side, Side]]:
    """Strategies that need no model, all along; and queries with one after a TypiClust start."""
    for folder, said in (("starts", "SSL"), ("starts_imagenet", "ImageNet")):
        for name in SETS:
            file = f"{folder}/{name}"
            for start in STARTS:
                yield f"{name}, {said}: {start}", Side(file, [start]), Side(file, ["random"])


QUESTIONS = {
    "What is worth most?": (worth, "Survey budget of 50 + 5 x 50, frozen encoder."),
    "The first labels": (
        first_labels,
        "10, 20, 40 and 80 labels, supervised, frozen encoder; minus random picks. Without a plus the strategy buys "
        "all of them, after one it follows ten by TypiClust.",
    ),
    "Representativeness minus uncertainty": (
        budget,
        f"The mean of {', '.join(COVER)} minus the mean of {', '.join(DOUBT)}, after the same random start; SSL, "
        "supervised. Low is 10 to 120 labels, high 200 to 1,000.",
    ),
    "Core-set: cosine minus L2": (cosine, "Survey budget, supervised, on raw embeddings."),
    "Representative start minus random start": (starts, "Then random queries; SSL, supervised."),
}


def _of(file: str, arm: str, until: int | None = None) -> Side:
    return Side(f"defaults/{file}", [arm], "mean_teacher", until=until)


def _linear(file: str, until: int | None = None) -> Side:
    return Side(f"defaults/{file}", ["random"], learner=LINEAR, until=until)


def trainer() -> Iterator[tuple[str, Side, Side]]:
    """The default trainer over a logistic regression, on the same random picks."""
    for said, file in PAIRS.items():
        yield f"{said}: 10 to 160 labels", _of(file, "random"), _linear(file)
        yield f"{said}: 10 to 40 labels", _of(file, "random", 40), _linear(file, 40)


def chain() -> Iterator[tuple[str, Side, Side]]:
    """Start and query over random picks, with the same trainer."""
    for said, file in PAIRS.items():
        yield f"{said}: the default chain minus random", _of(file, "stratified+hybrid"), _of(file, "random")


def parts() -> Iterator[tuple[str, Side, Side]]:
    """What of the chain does it."""
    for said, file in PAIRS.items():
        default = _of(file, "stratified+hybrid")
        yield f"{said}: default minus TypiClust, then random", default, _of(file, "typiclust+random")
        start = _of(file, "stratified+random")
        yield f"{said}: stratified start, then random, minus random", start, _of(file, "random")
        yield f"{said}: hybrid minus random, after the same start", default, start
        yield f"{said}: hybrid minus its entropy alone", default, _of(file, "stratified+uncertainty")


def finetuned() -> Iterator[tuple[str, Side, Side]]:
    """What asking by the record of training is worth where the whole network is trained."""
    for name in SETS[:2]:
        for objective, said in (("mean_teacher", "mean teacher"), ("fixmatch", "FixMatch")):
            sides = {
                query: Side(f"finetune_consistency/{name}", [f"random+{query}" if query else "random"], objective)
                for query in ("", "uncertainty", "consistency", "both")
            }
            yield f"{name}, {said}: uncertainty minus random", sides["uncertainty"], sides[""]
            yield f"{name}, {said}: consistency minus random", sides["consistency"], sides[""]
            yield f"{name}, {said}: both minus random", sides["both"], sides[""]
            yield f"{name}, {said}: consistency minus uncertainty", sides["consistency"], sides["uncertainty"]
            yield f"{name}, {said}: both minus uncertainty", sides["both"], sides["uncertainty"]


def over_linear() -> Table:
    """The default trainer minus `linear` at each number of labels, over the seeds and with a bound of 90 %."""
    lines, means = list[tuple[str, ...]](), dict[tuple[str, int], float]()
    labels: tuple[int, ...] = ()
    for said, file in PAIRS.items():
        results = _read(f"defaults/{file}")
        arms = [Arm("random", "mean_teacher", "frozen"), Arm("random", "supervised", LINEAR)]
        if not results.seeds(arms):
            continue
        curves = results.curves(METRIC, arms)
        labels = tuple(int(x) for x in curves.labels)
        differences = 100 * (curves.values[0] - curves.values[1])
        cells = list[str]()
        for column, count in enumerate(labels):
            mean, low = differences[:, column].mean(), interval(differences[:, column], level=0.8).low
            means[said, count] = float(mean)
            cells.append(f"{mean:+.2f} (> {low:+.2f})")
        lines.append((said, *cells))
    for span in ((10, 20, 40), labels):
        if lines:
            mean = np.mean([value for (_, count), value in means.items() if count in span])
            lines.append((f"mean at {span[0]} to {span[-1]}", f"{mean:+.2f}", *([""] * (len(labels) - 1))))
    note = (
        "Points of test AUROC on the same random picks, by number of labels; in brackets what the mean is above with "
        "90 % confidence."
    )
    return Table("The default trainer minus linear", note, ("pair", *map(str, labels)), tuple(lines))


def calibration() -> Table:
    """The calibration error of linear and of the default trainer at each number of labels."""
    lines = list[tuple[str, ...]]()
    labels: tuple[int, ...] = ()
    for said, file in PAIRS.items():
        results = _read(f"defaults/{file}")
        arms = [Arm("random", "supervised", LINEAR), Arm("random", "mean_teacher", "frozen")]
        if not results.seeds(arms):
            continue
        curves = results.curves("test/ece", arms)
        labels = tuple(int(x) for x in curves.labels)
        linear, trained = curves.values.mean(axis=1)
        lines.append((said, *(f"{a:.3f} / {b:.3f}" for a, b in zip(linear, trained, strict=True))))
    note = "Mean `test/ece` with random picks, by number of labels: linear / the default trainer."
    return Table("Calibration error", note, ("pair", *map(str, labels)), tuple(lines))


PRESENT = {
    "The default trainer over linear": (
        trainer,
        "AUBC of mean teacher with the learner frozen minus that of linear (logistic regression on the embeddings of "
        "the labeled images), on the same random picks.",
    ),
    "The default chain over random picks": (
        chain,
        "Stratified start, then hybrid, minus random picks with the same trainer, 10 to 160 labels.",
    ),
    "What of the chain does it": (parts, "The same loops."),
    "Consistency where the whole network is trained": (
        finetuned,
        "Learner finetune from SSL weights, 20, 40 and 80 labels, 50 steps a round, after the same random start; top-k "
        "of entropy, of the record of training, or of the sum of their ranks.",
    ),
}


def main() -> None:
    """Fill the blocks `<!-- bench: verdicts -->` of RESULTS.md and EARLIER.md."""
    for file, tables in pages().items():
        fill(HERE / file, "verdicts", markdown(tables))


def pages() -> dict[str, list[Table]]:
    """The tables of each page."""

    def made(questions: Mapping[str, Question]) -> list[Table]:
        return [table(title, note, list(rows())) for title, (rows, note) in questions.items()]

    return {"RESULTS.md": [over_linear(), calibration(), *made(PRESENT)], "EARLIER.md": made(QUESTIONS)}


if __name__ == "__main__":
    main()
