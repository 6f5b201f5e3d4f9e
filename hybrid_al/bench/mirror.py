"""The numbers of a bench as plain values, for trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..track.base import BenchNumbers, CurvePoint
from .compared import names, work_out
from .results import Results
from .statistics import interval
from .tables import Table


def numbers(
    name: str, variants: Mapping[str, Results], tables: Sequence[Table], *, metric: str, digest: str
) -> BenchNumbers:
    """Curves, AUBC and tables, with the arms under their names."""
    texts = [(table.title, table.headers, table.rows) for table in tables if table.rows]
    return BenchNumbers(name, digest, texts, curve_points(variants, metric), areas(variants, metric))


def curve_points(variants: Mapping[str, Results], metric: str) -> list[CurvePoint]:
    """Mean and 95 % interval of each arm at each number of labels, over all seeds it has."""
    arm_names = names(variants)
    points: list[CurvePoint] = []
    for variant, results in variants.items():
        for arm in results.arms:
            curves = results.curves(metric, [arm])
            for labels, values in zip(curves.labels.tolist(), curves.of(arm).T, strict=True):
                x = interval(values)
                points.append((variant, arm_names[arm], labels, x.mean, x.low, x.high))
    return points


def areas(variants: Mapping[str, Results], metric: str) -> dict[str, float]:
    """`<variant>/<arm>/aubc`, the mean over all seeds of the arm, and over paired ones `.../aubc_minus_random`.

    Random arms have `.../aubc_minus_random_linear`, the difference to the linear baseline, where there is one.
    """
    arm_names = names(variants)
    summary: dict[str, float] = {}
    for variant, results in variants.items():
        view = work_out(variant, results, metric)
        for arm in view.arms:
            arm_areas = list(view.areas[arm].values())
            summary[f"{variant}/{arm_names[arm]}/aubc"] = sum(arm_areas) / len(arm_areas)
            if arm in view.comparisons:
                summary[f"{variant}/{arm_names[arm]}/aubc_minus_random"] = view.comparisons[arm].difference.mean
            if arm in view.over_linear:
                summary[f"{variant}/{arm_names[arm]}/aubc_minus_random_linear"] = view.over_linear[arm].difference.mean
    return summary
