"""Windows that the values themselves give: percentiles or standard deviations, of an image, a volume or the set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator

from ..errors import InputError, UnknownName
from .pixels import Window, window_named

Of = Literal["image", "volume", "set"]
KEYS = ("percentiles", "zscore", "of")
MOST_DEVIATIONS = 100.0
SET_IMAGES = 64  # by which a set is measured
SET_VALUES = 20_000  # of each
T = TypeVar("T")


@dataclass(frozen=True)
class Scaling:
    """Which values become 0 and 1; what lies outside is cut off.

    percentiles  (low, high) of the values, or None
    zscore       so many standard deviations below and above the mean, or None
    of           whose values: of each image or slice, of each file or series ("volume"), or of the images of the set
                 that are not held out, some of them evenly spread
    """

    percentiles: tuple[float, float] | None = None
    zscore: float | None = None
    of: Of = "volume"

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Scaling:
        """Of a recipe: {percentiles: [1, 99], of: volume} or {zscore: 3, of: image}; InputError for another mapping."""
        for key in settings:
            if key not in KEYS:
                raise UnknownName("data.window", str(key), KEYS)
        of = settings.get("of", "volume")
        if of not in get_args(Of):
            raise UnknownName("data.window.of", str(of), get_args(Of))
        percentiles, zscore = settings.get("percentiles"), settings.get("zscore")
        if (percentiles is None) == (zscore is None):
            raise InputError("data.window", "percentiles: [low, high], or zscore: deviations", str(dict(settings)))
        if zscore is not None:
            if not _is_number(zscore) or not 0 < cast(float, zscore) <= MOST_DEVIATIONS:
                expected = f"a number of standard deviations above 0 and up to {MOST_DEVIATIONS:g}"
                raise InputError("data.window.zscore", expected, repr(zscore))
            return cls(None, float(cast(float, zscore)), cast(Of, of))
        pair = list(percentiles) if isinstance(percentiles, Sequence) and not isinstance(percentiles, str) else []
        if len(pair) != 2 or not all(map(_is_number, pair)) or not 0 <= pair[0] < pair[1] <= 100:
            raise InputError("data.window.percentiles", "[low, high] of 0 to 100, low below high", repr(percentiles))
        return cls((float(pair[0]), float(pair[1])), None, cast(Of, of))

    def window(self, values: npt.NDArray[Any]) -> Window:
        """The window of some values (n,); of values that are all one, one in which they are 0."""
        if self.percentiles is not None:
            low, high = percentiles(values, self.percentiles)
        else:
            mean, spread = float(values.mean(dtype=np.float64)), cast(float, self.zscore) * float(values.std())
            low, high = mean - spread, mean + spread
        return (low, high) if np.float32(low) < np.float32(high) else (low, low + 1.0)

    def window_of_set(self, images: Iterable[npt.NDArray[Any]]) -> Window:
        """The window of the values of several images, each with as much weight."""
        parts = [values.ravel()[:: max(1, values.size // SET_VALUES)] for values in images]
        return self.window(np.concatenate(parts))

    def __str__(self) -> str:
        """In words: `percentiles 1 to 99 of each volume`."""
        whose = "the set" if self.of == "set" else f"each {self.of}"
        if self.percentiles is not None:
            return f"percentiles {self.percentiles[0]:g} to {self.percentiles[1]:g} of {whose}"
        return f"mean and {self.zscore:g} standard deviations around it, of {whose}"


def percentiles(values: npt.NDArray[Any], pair: tuple[float, float]) -> Window:
    """As `np.percentile`, bit by bit, for finite values: one place at a time, which is four times as fast."""
    ordered = np.array(values).ravel()
    places = [share / 100 * (len(ordered) - 1) for share in pair]
    edges = []
    for place in reversed(places):  # what is above a place needs not be looked at for a lower one
        before = int(place)
        ordered.partition(before)
        below = ordered[before]
        above = ordered[before + 1 :].min() if before + 1 < len(ordered) else below
        part = np.float64(place - before)
        edges.append(float(below + (above - below) * part if part < 0.5 else above - (above - below) * (1 - part)))
        ordered = ordered[: before + 2]
    return edges[1], edges[0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _read(window: object) -> object:
    return Scaling.read(window) if isinstance(window, Mapping) else window_named(window)


Intensity = Annotated[tuple[float, float] | Scaling, BeforeValidator(_read)]
"""The values that become 0 and 1, or a rule that finds them; see `pixels.Window` and `Scaling.read`."""


def evenly(items: Sequence[T], count: int = SET_IMAGES) -> list[T]:
    """At most `count` of the items, evenly spread."""
    return [items[i * len(items) // count] for i in range(count)] if len(items) > count else list(items)
