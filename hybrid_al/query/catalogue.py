"""What strategies say of themselves: docs/strategies.md (python -m hybrid_al.query.catalogue), and a list by words."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..core.types import Need
from ..errors import InputError
from .base import COLD, EXTRAS, About
from .batches import BATCHES
from .strategies import STRATEGIES
from .terms import TERMS

HEAD = """# Strategies, terms and batch makers

Made by `make strategies` from the code; do not edit. What each computes, and where it departs from its paper, is in
[papers.md](papers.md); what the settings mean is in the docstrings of `hybrid_al/query/`.

Settings are written with their defaults, which are the published ones unless papers.md says otherwise. Passes are
forward passes of the model over the candidates. Time is that of choosing, without the passes, and memory the numbers
(4 or 8 bytes each) held at a time beyond embeddings and probabilities; both up to a factor, with N samples in the pool,
M candidates, L labels, b budget, D dimensions, C classes, S passes, and settings by their name. What "that of the
terms" is follows from their needs: one pass for all that need predictions, none for the others.

Whatever the strategy, one line says what is wrong where it reads an embedding, probability or record that is not
finite, probabilities that are negative or do not sum to one, or embeddings of another manifest, and where the budget is
not between 1 and the number of candidates. Samples that are alike in all that a strategy reads, constant embeddings
too, are no error: as many distinct ones as were asked for are picked among them. Random state is that of the seed and
the round alone. `tests/contract/test_strategies.py` holds all of this for every strategy, and for every batch maker in
`hybrid`.
"""

NEEDS: Mapping[Need, str] = {
    "embeddings": "embeddings of stage 0",
    "predictions": "class probabilities, one pass",
    "features": "probabilities, features and last layer, one pass",
    "samples": "passes with dropout, or the members of a committee (`train.members`, `train.cycles`)",
    "views": "passes over weak views",
    "consistency": "the record of the last training",
    "stage0": f"what pretraining recorded: {', '.join(EXTRAS['stage0'])}",
    "history": "what the model before the last says",
    "costs": "what an answer costs (`oracle.costs`)",
    "domains": "whether each sample is of the source or of the target (`domains.source`)",
    "tissue": "how much of each image is body or tissue, by Otsu's threshold",
    "clicks": "the clicks of what is drawn already (segmentation)",
    "proxy": "how sure a small network of pseudo-masks and hidden squares is, trained on the pool without labels",
    "patterns": "centres of the tokens that a network of timm attends to, 5 of each image",
}


def about(kind: type) -> About:
    """The `about` of a registered class; InputError where it has none."""
    entry = getattr(kind, "about", None)
    if not isinstance(entry, About):
        raise InputError(kind.__name__, "a class variable `about`", repr(entry))
    return entry


def settings(kind: type) -> str:
    """The hyper-parameters with their defaults, `samples=25, metric=cosine`; a dash where there are none."""
    if not dataclasses.is_dataclass(kind):
        raise InputError(kind.__name__, "a dataclass", "another class")
    defaults = kind()
    return ", ".join(f"{f.name}={_plain(getattr(defaults, f.name))}" for f in dataclasses.fields(kind)) or "-"


def needs(kind: type) -> str:
    """What a class with its defaults reads; a dash for nothing."""
    return ", ".join(sorted(kind().needs)) or "-"


def listed(word: str, *, full: bool, trainings: Mapping[str, Mapping[str, type]] | None = None) -> list[str]:
    """A line of each strategy and batch maker of whose name or paper the word is a part: its name and paper.

    full       two further lines of each: its part of a recipe, settings at their defaults; what it reads, its passes
    trainings  task -> its objectives by name, which are found by their name and description
    """
    lines = []
    for registry, before, after in ((STRATEGIES, "query: ", ""), (BATCHES, "query: {name: hybrid, batch: ", "}")):
        for name, kind in registry.items():
            entry = about(kind)
            if word.casefold() not in f"{name} {entry.paper}".casefold():
                continue
            lines.append(f"{name:18} {entry.paper.replace('*', '')}")
            if full:
                start = "; cold_start too" * (registry is STRATEGIES and kind().needs <= COLD)
                lines.append(f"{'':18} {before}{spec(name, kind)}{after}")
                lines.append(f"{'':18} reads {needs(kind).replace('-', 'nothing')}; passes: {entry.passes}{start}")
    for task, objectives in (trainings or {}).items():
        for name, kind in objectives.items():
            if word.casefold() in f"{name} {kind.__doc__}".casefold():
                lines.append(f"{name:18} {str(kind.__doc__).splitlines()[0]}")
                lines.append(f"{'':18} train: {spec(name, kind)}")
                lines.append(f"{'':18} an objective of task {task}")
    if not lines:
        expected = "part of the name or paper of a query or training (methods of several parts: docs/survey.md)"
        raise InputError("strategies: WORD", expected, repr(word))
    return lines


def spec(name: str, kind: type) -> str:
    """A component as a recipe has it, all settings at their defaults."""
    values = {f.name: getattr(kind(), f.name) for f in dataclasses.fields(kind)}
    text = json.dumps({"name": name, **values}, default=dict).replace('"', "")
    return text if values else name


def page() -> str:
    """All of docs/strategies.md."""
    sections = [
        HEAD,
        "## Needs\n",
        _table(("need", "is"), (tuple(row) for row in NEEDS.items())),
        "## Strategies\n",
        _table(COLUMNS, (_row(name, kind) for name, kind in STRATEGIES.items())),
        "## Batch makers\n",
        _table(COLUMNS, (_row(name, kind) for name, kind in BATCHES.items())),
        "## Terms of a fused score\n",
        _table(("name", "needs"), ((f"`{name}`", ", ".join(sorted(term.needs))) for name, term in TERMS.items())),
    ]
    return "\n".join(sections)


COLUMNS = ("name", "settings", "needs", "passes", "time", "memory", "paper")


def _row(name: str, kind: type) -> tuple[str, ...]:
    entry = about(kind)
    return f"`{name}`", settings(kind), needs(kind), entry.passes, entry.time, entry.memory, entry.paper


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/strategies.md").write_text(page(), encoding="utf-8")
