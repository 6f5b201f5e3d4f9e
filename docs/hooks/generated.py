"""Parts of pages that are made from the code when the site is built: `<!-- generated: NAME -->` in a page.

`python docs/hooks/generated.py NAME` prints one of them.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args

import typer.main
from docstrings import escaped, markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the parts into their places."""
    return MARK.sub(lambda match: PARTS[match[1]](), markdown)


def commands() -> str:
    """Every verb of the command line, with what its --help says."""
    from hybrid_al.cli import app

    group: Any = typer.main.get_command(app)
    return "\n\n".join(_command(name, verb) for name, verb in group.commands.items())


def _command(name: str, verb: Any) -> str:
    arguments = [p for p in verb.params if p.param_type_name == "argument"]
    options = [p for p in verb.params if p.param_type_name == "option"]
    shown = [p.metavar or p.name for p in arguments]
    usage = " ".join(["hybrid-al", name, *(["[options]"] if options else []), *shown])
    rows = [(f"`{argument}`", escaped(p.help or ""), "") for argument, p in zip(shown, arguments, strict=True)]
    rows += [
        (f"`{', '.join(p.opts)}`", escaped(p.help or ""), f"`{_plain(p.default)}`" if p.default else "")
        for p in options
    ]
    table = _table(("argument or option", "meaning", "default"), rows)
    return f"## {name}\n\n{verb.help}\n\n```text\n{usage}\n```\n\n{table}"


def recipe() -> str:
    """The keys of a recipe, section by section."""
    from hybrid_al.recipe import Component, Recipe

    parts = [_keys(Recipe)]
    for name, field in Recipe.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Component:
            parts.append(f"## {name}\n\n{_described(kind)}\n\n{_keys(kind)}")
            parts += [
                f"### {name}.{key}\n\n{_described(below)}\n\n{_keys(below)}"
                for key, inner in kind.model_fields.items()
                if isinstance(below := inner.annotation, type) and issubclass(below, BaseModel)
            ]
    return "\n\n".join(parts)


def _keys(kind: type[BaseModel]) -> str:
    rows = [
        (f"`{name}`", _value(field), _default(field.get_default(call_default_factory=True)))
        for name, field in kind.model_fields.items()
    ]
    return _table(("key", "value", "default"), rows)


def components() -> str:
    """What a recipe chooses by name, with the settings of each, but for strategies, which have a page of their own."""
    from hybrid_al.core.consistency import Recording
    from hybrid_al.data.readers import READERS
    from hybrid_al.data.sources import SOURCES
    from hybrid_al.learners import LEARNERS
    from hybrid_al.oracles import ORACLES
    from hybrid_al.regions.fixed import PARTITIONS
    from hybrid_al.regions.proposals import BOXES
    from hybrid_al.scores.pixels import REDUCTIONS
    from hybrid_al.semi import OBJECTIVES
    from hybrid_al.semi.dense import DENSE_OBJECTIVES
    from hybrid_al.tasks import TASKS
    from hybrid_al.track import TRACKERS
    from hybrid_al.train import Schedule
    from pretrain import METHODS

    kinds: dict[str, tuple[str, Mapping[str, type]]] = {
        "Sources": ("`data.source`, whose keys lie beside it in `data`", SOURCES),
        "Readers": ("`data.reader`; without it each file has its own, by content and suffix", READERS),
        "Tasks": ("`task`", TASKS),
        "Regions": ("`task.region` in `task: segmentation`", {**PARTITIONS, **BOXES}),
        "Reductions": ("`task.reduction` in `task: segmentation`", REDUCTIONS),
        "Methods of stage 0": ("`pretrain`; `none` takes the encoder as it is", METHODS),
        "Learners": ("`learner`", LEARNERS),
        "Objectives": ("`train`, whose keys lie beside those of the schedule", OBJECTIVES),
        "Objectives for masks": ("`train` in `task: segmentation`", DENSE_OBJECTIVES),
        "Schedule and record": ("`train` and `train.record`", {"schedule": Schedule, "record": Recording}),
        "Oracles": ("`oracle`", ORACLES),
        "Trackers": ("`track`, a mapping of names to settings", TRACKERS),
    }
    return "\n\n".join(
        f"## {title}\n\nKey: {key}.\n\n" + "\n\n".join(_component(*item) for item in registry.items())
        for title, (key, registry) in kinds.items()
    )


def _component(name: str, kind: Any) -> str:
    settings = [
        f"{f.name}={_plain(f.default)}"
        if f.default is not dataclasses.MISSING
        else (f"{f.name}={_plain(f.default_factory())}" if f.default_factory is not dataclasses.MISSING else f.name)
        for f in dataclasses.fields(kind)
    ]
    shown = f"\n\nSettings: `{', '.join(settings)}`" if settings else ""
    return f"### {name}\n\n{_described(kind)}{shown}"


def _described(kind: Any) -> str:
    return markdown(kind.__doc__ or "")


def _value(field: FieldInfo) -> str:
    """What a key takes, in words."""
    from hybrid_al.core.registry import in_words
    from hybrid_al.recipe import Component

    hint: Any = field.annotation
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "a name, or a mapping with one" if hint is Component else "a mapping"
    if len(get_args(hint)) > 3:
        return "any value"
    return in_words(Annotated[hint, *field.metadata] if field.metadata else hint)


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, BaseModel):
        return f"`{value.name}`" if list(type(value).model_fields) == ["name"] else "below"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or value is Ellipsis:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k}: {_plain(v)}' for k, v in value.items())}}}"
    return str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


PARTS: dict[str, Callable[[], str]] = {"commands": commands, "recipe": recipe, "components": components}

if __name__ == "__main__":
    print(PARTS[sys.argv[1]]())
