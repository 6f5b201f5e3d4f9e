"""What was asked and why: the picks of all rounds for the page, with as many pictures as its size allows."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .html import inert
from .runview import Pick, RunView

Thumbnail = Callable[[int, str], bytes]
"""(sample, path of its label map in the run directory or nothing) -> JPEG file of a small picture."""

MOST_BYTES = 3_500_000  # of all pictures of a page; in base64 a third more
MOST_LISTED = 3000  # picks that are listed one by one
NO_ANSWER, SKIPPED = "no answer yet", "skipped"


@dataclass(frozen=True)
class Gallery:
    """The picks for the page's script, and what is left out.

    items     one of each pick that is listed; images: pictures in base64
    counts    (round, class) -> picks of all seeds, listed or not
    pictured  picks that have a picture; listed, total: picks
    """

    items: tuple[Mapping[str, object], ...]
    images: tuple[str, ...]
    counts: Mapping[tuple[int, str], int]
    pictured: int
    listed: int
    total: int

    def to_json(self) -> str:
        """For a script element."""
        return inert({"items": self.items, "images": self.images})

    @property
    def rounds(self) -> list[int]:
        """Rounds that have picks."""
        return sorted({r for r, _ in self.counts})

    @property
    def classes(self) -> list[str]:
        """Answers in words, the most frequent first."""
        totals: Counter[str] = Counter()
        for (_, name), n in self.counts.items():
            totals[name] += n
        return [name for name, _ in totals.most_common()]

    def choices(self, key: str) -> list[object]:
        """The values of a key of the listed items, ascending."""
        return sorted({item[key] for item in self.items if item.get(key) not in (None, "")}, key=str)


def gallery(
    runs: Sequence[RunView],
    thumbnails: Sequence[Thumbnail | None] = (),
    predicted: Mapping[int, str] | None = None,
) -> Gallery:
    """The picks of runs of one method, seeds side by side, the first of each round first.

    predicted  what the last model of the first run says of a sample in words; where it differs from the label, the
               pick is one that the model disagrees about
    """
    ranked = sorted(
        ((pick.rank, r.index, s, pick) for s, run in enumerate(runs) for r in run.rounds for pick in r.picks),
        key=lambda each: each[:3],
    )
    listed = sorted(ranked[:MOST_LISTED], key=lambda each: (each[1], each[2], each[0]))
    pictures = _Pictures(runs, thumbnails)
    for _, _, s, pick in ranked[:MOST_LISTED]:  # the first picks of every round get the pictures
        pictures.take(s, pick)
    items = []
    for rank, r, s, pick in listed:
        said = (predicted or {}).get(pick.index, "") if s == 0 else ""
        items.append(_item(runs[s], r, rank, pick, said, pictures.number(s, pick), seeds=len(runs) > 1))
    counts = Counter((r, pick.label or NO_ANSWER) for _, r, _, pick in ranked)
    pictured = sum("i" in item for item in items)
    return Gallery(tuple(items), tuple(pictures.files), counts, pictured, len(items), len(ranked))


def _item(
    run: RunView, r: int, rank: int, pick: Pick, said: str, picture: int | None, *, seeds: bool
) -> Mapping[str, object]:
    """One pick with the keys that it needs, short ones, for there are thousands."""
    label = pick.label or NO_ANSWER
    mistakes = ["model"] * bool(said and pick.label not in (None, SKIPPED) and said != label)
    mistakes += ["corrected"] * bool(pick.corrected)
    keys: dict[str, object] = {
        "id": pick.id,
        "round": r,
        "rank": rank,
        "class": label,
        "reader": pick.annotator,
        "why": pick.reason,
        "score": None if pick.score is None else f"{pick.score:.4g}",
        "said": said,
        "before": "; ".join(pick.corrected),
        "mistake": " ".join(mistakes),
        "i": picture,
        "seed": run.seed if seeds else None,
    }
    return {key: value for key, value in keys.items() if value not in (None, "")}


class _Pictures:
    """Pictures of samples, each once, until they are `MOST_BYTES` together."""

    def __init__(self, runs: Sequence[RunView], thumbnails: Sequence[Thumbnail | None]) -> None:
        self.files: list[str] = []
        self._left = MOST_BYTES
        self._numbers: dict[tuple[str, int, str], int] = {}
        self._make = [thumbnails[s] if s < len(thumbnails) else None for s in range(len(runs))]
        self._prints = [run.manifest.fingerprint for run in runs]

    def number(self, s: int, pick: Pick) -> int | None:
        return self._numbers.get((self._prints[s], pick.index, pick.mask))

    def take(self, s: int, pick: Pick) -> None:
        make = self._make[s]
        if make is None or self._left <= 0 or self.number(s, pick) is not None:
            return
        jpeg = make(pick.index, pick.mask)
        self._left -= len(jpeg)
        if self._left > 0:
            self._numbers[self._prints[s], pick.index, pick.mask] = len(self.files)
            self.files.append(base64.b64encode(jpeg).decode())
