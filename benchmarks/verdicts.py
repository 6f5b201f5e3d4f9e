"""The questions that the studies were made for, as contrasts from the committed CSVs into RESULTS.md and STRATEGIES.md.

python benchmarks/verdicts.py

A contrast is the mean AUBC of some arms minus that of others, seed by seed; in points, with the statistics of
`hybrid_al.bench.statistics`. p is adjusted by Holm within each table.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import yaml

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
FINETUNED = ("pneumoniamnist", "malaria")
"""Sets of `finetune_consistency.yaml`."""
SHORT = {name: PAIRS[name] for name in ("PneumoniaMNIST, SSL", "malaria, SSL", "ISIC 2017, ImageNet")}
"""The pairs of `objectives.yaml` and `strategies.yaml`."""

ENOUGH = 4  # seeds
DEFAULT = "stratified+hybrid"
FRESH = ("strategies", "combinations")
"""Studies of seeds 20 to 29 and 30 to 39."""
GROUPS = {
    (True, False): "surely above on a set, surely below on none",
    (True, True): "surely above on a set, surely below on another",
    (False, False): "surely neither",
    (False, True): "surely below on a set, surely above on none",
}
"""What an arm is called by whether it is surely above, and surely below, random picks on any set."""
BELOW = "surely below on all three"

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

Row = tuple[str, "Side | Together | Series", "Side | Together | Series"]
"""A contrast and its name."""
Question = tuple[Callable[[], Iterator[Row]], str]
"""The contrasts of a table, and its note."""


@dataclass(frozen=True)
class Side:
    """An arm of one CSV, up to a number of labels. learner: None is the one beside the baseline."""

    file: str
    strategy: str
    objective: str = "supervised"
    learner: str | None = None
    until: int | None = None

    def areas(self) -> dict[int, float]:
        """Seed -> AUBC."""
        results = _read(self.file)
        learner = self.learner or next((arm.learner for arm, _ in results.cells if arm.learner != LINEAR), "frozen")
        arms = [Arm(self.strategy, self.objective, learner)]
        if not results.seeds(arms):
            return {}
        curves = results.curves(METRIC, arms)
        if self.until is not None:
            kept = curves.labels <= self.until
            curves = replace(curves, labels=curves.labels[kept], values=curves.values[:, :, kept])
        return dict(zip(curves.seeds, curves.areas()[0].tolist(), strict=True))


@dataclass(frozen=True)
class Together:
    """The mean of some sides, seed by seed."""

    sides: Sequence[Side]

    def areas(self) -> dict[int, float]:
        """Seed -> mean AUBC, of the seeds that all sides have."""
        areas = [side.areas() for side in self.sides]
        return {seed: float(np.mean([of[seed] for of in areas])) for seed in set[int].intersection(*map(set, areas))}


@dataclass(frozen=True)
class Series:
    """The same sets on the seeds of several studies."""

    studies: Sequence[str]
    strategy: str

    def areas(self) -> dict[int, float]:
        """Seed -> mean AUBC over the sets of `SHORT`."""
        together = (Together(_sets(study, self.strategy)) for study in self.studies)
        return {seed: area for of in together for seed, area in of.areas().items()}


def _sets(study: str, strategy: str) -> list[Side]:
    """An arm of a study on the sets of `SHORT`."""
    return [Side(f"{study}/{name}", strategy, "mean_teacher") for name in SHORT.values()]


@cache
def _read(file: str) -> Results:
    return read(HERE / f"{file}.csv")


def contrast(of: Side | Together | Series, against: Side | Together | Series) -> Comparison | None:
    """The one minus the other, in AUBC, over the seeds that both have."""
    a, b = of.areas(), against.areas()
    seeds = sorted(set(a) & set(b))
    if len(seeds) < 2:
        return None
    x, y = (np.asarray([areas[s] for s in seeds]) for areas in (a, b))
    return compare(x, y)


def table(title: str, note: str, rows: Sequence[Row]) -> Table:
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


def _of(file: str, arm: str, until: int | None = None) -> Side:
    return Side(f"defaults/{file}", arm, "mean_teacher", until=until)


def _linear(file: str, until: int | None = None) -> Side:
    return Side(f"defaults/{file}", "random", learner=LINEAR, until=until)


def trainer() -> Iterator[Row]:
    """The default trainer over a logistic regression, on the same random picks."""
    for said, file in PAIRS.items():
        yield f"{said}: 10 to 160 labels", _of(file, "random"), _linear(file)
        yield f"{said}: 10 to 40 labels", _of(file, "random", 40), _linear(file, 40)


def chain() -> Iterator[Row]:
    """Start and query over random picks, with the same trainer."""
    for said, file in PAIRS.items():
        yield f"{said}: the default chain minus random", _of(file, DEFAULT), _of(file, "random")
    default, picks = (Together([_of(file, arm) for file in PAIRS.values()]) for arm in (DEFAULT, "random"))
    yield "all five together", default, picks
    studies = ("defaults", *FRESH)
    yield f"{', '.join(SHORT)} together, seeds 0 to 39", Series(studies, DEFAULT), Series(studies, "random")


def parts() -> Iterator[Row]:
    """What of the chain does it."""
    for said, file in PAIRS.items():
        default = _of(file, DEFAULT)
        yield f"{said}: default minus TypiClust, then random", default, _of(file, "typiclust+random")
        start = _of(file, "stratified+random")
        yield f"{said}: stratified start, then random, minus random", start, _of(file, "random")
        yield f"{said}: hybrid minus random, after the same start", default, start
        yield f"{said}: hybrid minus its entropy alone", default, _of(file, "stratified+uncertainty")


def finetuned() -> Iterator[Row]:
    """What asking by the record of training is worth where the whole network is trained."""
    for name in FINETUNED:
        for objective, said in (("mean_teacher", "mean teacher"), ("fixmatch", "FixMatch")):
            sides = {
                query: Side(f"finetune_consistency/{name}", f"random+{query}" if query else "random", objective)
                for query in ("", "uncertainty", "consistency", "both")
            }
            yield f"{name}, {said}: uncertainty minus random", sides["uncertainty"], sides[""]
            yield f"{name}, {said}: consistency minus random", sides["consistency"], sides[""]
            yield f"{name}, {said}: both minus random", sides["both"], sides[""]
            yield f"{name}, {said}: consistency minus uncertainty", sides["consistency"], sides["uncertainty"]
            yield f"{name}, {said}: both minus uncertainty", sides["both"], sides["uncertainty"]


def objectives() -> Iterator[Row]:
    """Each objective over the solved head alone, on the same random picks."""
    for said, file in SHORT.items():
        for objective in OBJECTIVES:
            solved = Side(f"objectives/{file}", "random", "supervised", "frozen")
            yield f"{said}: {objective}", replace(solved, objective=objective), solved


def every_strategy() -> Iterator[Table]:
    """Every arm of `strategies.yaml` minus random picks, the largest mean first; which to try or leave."""
    of = _minus("random", "strategies")
    ranked, memory = sorted(of, key=lambda arm: -of[arm][0].difference.mean), _memory()
    lines = [(arm, *map(_cell, of[arm]), _seeds(of[arm]), _query_seconds(arm), memory(arm)) for arm in ranked]
    note = (
        "AUBC from 10 to 160 labels minus that of random picks, in points, with 95 % intervals over paired seeds "
        f"(arms with fewer than {ENOUGH} are left out), bold where zero is not in it. Each interval stands for itself: "
        f"of {4 * len(of)} one in twenty is wrong, and with so few seeds no p survives a correction over all of them, "
        "so there is no call. `all` is the mean over the sets, seed by seed. Seconds are the median of a query, beside "
        "other programs; MiB those of a query at 100,000 x 384 (QUERIES.md)."
    )
    columns = ("arm", "all", *SHORT, "seeds", "s a query", "MiB")
    yield Table("Every strategy minus random picks", note, columns, tuple(lines))
    groups = {
        f"over all three together{against}: surely {word}": [
            arm for arm in ranked if arm in minus and is_so(minus[arm][0])
        ]
        for against, minus in (("", of), (", against the default", _minus(DEFAULT, "strategies")))
        for word, is_so in (("above", _is_above), ("below", _is_below))
    }
    groups |= {group: [arm for arm in ranked if _group(of[arm][1:]) == group] for group in (*GROUPS.values(), BELOW)}
    rows = tuple((group, str(len(names)), ", ".join(names) or "none") for group, names in groups.items())
    yield Table(
        "Which to try, which to leave",
        "By the intervals above.",
        ("against random picks, or as said", "arms", "which"),
        rows,
    )


def _is_above(c: Comparison) -> bool:
    return c.difference.low > 0


def _is_below(c: Comparison) -> bool:
    return c.difference.high < 0


def _group(all_sets: Sequence[Comparison]) -> str:
    above, below = [*map(_is_above, all_sets)], [*map(_is_below, all_sets)]
    return BELOW if all(below) else GROUPS[any(above), any(below)]


def combinations() -> Table:
    """Every arm of `combinations.yaml` minus random picks, and minus the default chain."""
    random, default = (_minus(base, "combinations") for base in ("random", DEFAULT))
    before, picks = _arms("strategies"), Series(FRESH, "random")
    both = {arm: contrast(Series(FRESH, arm), picks) if arm in before else None for arm in random}
    lines = [
        (
            arm,
            *map(_cell, random[arm]),
            _cell(default[arm][0]) if arm in default else "",
            f"{_cell(c)}, p {c.p:.2g}" if (c := both[arm]) else "",
        )
        for arm in sorted(random, key=lambda arm: -random[arm][0].difference.mean)
    ]
    note = (
        "As above, on seeds 30 to 39, which no choice has seen. The difference to the default is over all three "
        "sets, and so is the last one to random picks, which has the seeds 20 to 29 of the first table too."
    )
    columns = ("arm", "all", *SHORT, "all, minus the default", "all, seeds 20 to 39")
    return Table("Starts and queries together", note, columns, tuple(lines))


def _minus(base: str, study: str) -> dict[str, list[Comparison]]:
    """Of each arm of a study that has enough seeds, minus one of them: a comparison over all sets, and one a set."""
    found = dict[str, list[Comparison]]()
    for arm in sorted(_arms(study) - {base}):
        of, against = _sets(study, arm), _sets(study, base)
        pairs: list[tuple[Side | Together, Side | Together]] = [
            (Together(of), Together(against)),
            *zip(of, against, strict=True),
        ]
        played = [c for pair in pairs if (c := contrast(*pair))]
        if len(played) == len(pairs) and min(c.difference.n for c in played) >= ENOUGH:
            found[arm] = played
    return found


def _arms(study: str) -> set[str]:
    return {arm.strategy for name in SHORT.values() for arm, _ in _read(f"{study}/{name}").cells}


def _seeds(played: Sequence[Comparison]) -> str:
    counts = sorted({c.difference.n for c in played})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


def _memory() -> Callable[[str], str]:
    """What the query of an arm needs beyond its pool, in MiB."""
    arms = yaml.safe_load((HERE / "strategies.yaml").read_text(encoding="utf-8"))["bench"]["strategies"]
    with (HERE / "query_costs.csv").open(newline="", encoding="utf-8") as lines:
        mib = {row["strategy"]: row["mib"] for row in csv.DictReader(lines) if row["mib"]}

    def of(arm: str) -> str:
        query = ((arms.get(arm) or {}).get("query") or {}).get("name", arm.rpartition("+")[2])
        return f"{float(mib[query]):.0f}" if query in mib else ""

    return of


def _cell(c: Comparison) -> str:
    d = c.difference
    text = f"{100 * d.mean:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f})"
    return f"**{text}**" if _is_above(c) or _is_below(c) else text


def _query_seconds(strategy: str) -> str:
    rows = (
        row
        for file in SHORT.values()
        for (arm, _), cell in _read(f"strategies/{file}").cells.items()
        if arm.strategy == strategy
        for row in cell
    )
    return f"{np.median([row.value for row in rows if row.metric == 'seconds/query' and row.round > 0]):.2g}"


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


QUESTIONS: Mapping[str, Question] = {
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
    "Objectives over the solved head": (
        objectives,
        "Learner frozen, the same random picks, 10 to 160 labels; minus `supervised`, which is the solved head alone.",
    ),
}


def main() -> None:
    """Fill the blocks `<!-- bench: verdicts -->` of the pages."""
    for file, tables in pages().items():
        fill(HERE / file, "verdicts", markdown(tables))


def pages() -> dict[str, list[Table]]:
    """The tables of each page."""
    asked = [table(title, note, list(rows())) for title, (rows, note) in QUESTIONS.items()]
    return {"RESULTS.md": [over_linear(), calibration(), *asked], "STRATEGIES.md": [*every_strategy(), combinations()]}


if __name__ == "__main__":
    main()
