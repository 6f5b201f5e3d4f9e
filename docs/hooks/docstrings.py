"""Our docstrings as Markdown: names with their meaning in aligned columns become lists."""

from __future__ import annotations

import inspect
import re

import griffe

ENTRY = re.compile(r"(\S.*?) {2,}(?=\S)")


class Aligned(griffe.Extension):
    """Changes the docstrings that mkdocstrings reads."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of an object, where it has one."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """The docstring, its aligned names as lists."""
    return "\n\n".join(map(_paragraph, escaped(inspect.cleandoc(docstring)).split("\n\n")))


def escaped(text: str) -> str:
    """The text, in which `<name>` outside of code is no tag of HTML."""
    return re.sub(r"(`[^`]*`)|<", lambda match: match[1] or "&lt;", text)


def _paragraph(text: str) -> str:
    """A paragraph, in which lines `name  meaning`, and those below a meaning, are items."""
    lines: list[str] = []
    column = 0  # of the meanings; 0 outside of a list
    for line in text.splitlines():
        entry = ENTRY.match(line)
        if line.startswith("  ") and column:
            lines.append(f"    {line.strip()}")
        elif entry or (column and line[column - 1 : column] == " " and " " not in line[: column - 1]):
            end = entry.end() if entry else column
            lines += [] if column else [""]
            lines.append(f"- `{line[:end].strip()}`: {line[end:]}")
            column = column or end
        else:
            lines += ["", line] if column else [line]
            column = 0
    return "\n".join(lines)
