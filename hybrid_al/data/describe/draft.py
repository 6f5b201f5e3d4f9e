"""The text of a recipe with notes below its keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import yaml

LEARNERS = "frozen takes seconds a round, finetune trains the whole network"
MILDEST = "generic"  # the modality whose views change least


def draft(
    name: str,
    sections: Mapping[str, object],
    *,
    modality: str,
    modalities: Iterable[str],
    simulated: bool,
    comments: Mapping[str, Sequence[str]],
) -> str:
    """The text of a first recipe.

    sections   its keys behind name and modality, oracle left out: a person is the oracle where nothing is simulated
    modality   chooses the views; "" where nothing tells it
    comments   dotted key -> lines below it
    """
    choices = f"one of {', '.join(modalities)}"
    unknown = [f"not known from any name: {MILDEST} has the mildest views (no flip, no colour); {choices}"]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "mine"
    plain: dict[str, object] = {"name": name, "modality": modality or MILDEST}
    plain |= {**sections, "oracle": "simulated" if simulated else "worklist"}
    notes = {
        "modality": [f"chooses the views; {choices}"] if modality else unknown,
        "learner": [] if "task" in sections and sections["task"] != "multilabel" else [LEARNERS],
        "oracle": ["simulated answers with the labels of the data, worklist asks you"],
        **comments,
    }
    head = "# Written by `hybrid-al init`; look it over, then: hybrid-al check RECIPE --views views.png\n"
    return head + "".join(f"{line}\n" for line in _commented(plain, notes))


def _commented(plain: Mapping[str, object], notes: Mapping[str, Sequence[str]], above: str = "") -> Iterator[str]:
    """Lines of YAML, each key followed by its notes."""
    indent = "  " * above.count(".")
    for key, value in plain.items():
        where = f"{above}{key}"
        if isinstance(value, Mapping) and (where == "data" or any(note.startswith(f"{where}.") for note in notes)):
            yield f"{indent}{key}:"
            yield from _commented(value, notes, f"{where}.")
        else:
            flow = None if isinstance(value, Mapping | list) else False  # a list or mapping of plain values on one line
            text = yaml.safe_dump(
                {key: value}, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=flow
            )
            yield from (indent + line for line in text.splitlines())
        yield from (f"{indent}# {note}" for note in notes.get(where, ()))
