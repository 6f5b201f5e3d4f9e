"""Text files are UTF-8 whatever the locale: every call that opens one says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(f for folder in ("hybrid_al", "pretrain", "tests/helpers") for f in (ROOT / folder).rglob("*.py"))


def unsaid(tree: ast.Module) -> Iterator[int]:
    """Lines of calls that open a file as text and leave its encoding to the locale."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        is_mode = bool(modes) and set(modes[-1]) <= set("rwaxt+")
        plain = name == "open" and isinstance(node.func, ast.Attribute) and not node.args
        if name in ("read_text", "write_text") or (name == "open" and (is_mode or (plain and said_to_be_a_file(node)))):
            yield node.lineno


def said_to_be_a_file(node: ast.Call) -> bool:
    return not node.keywords or any(keyword.arg == "newline" for keyword in node.keywords)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_every_text_file_is_utf_8(file: Path) -> None:
    assert not list(unsaid(ast.parse(file.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "call", ["p.read_text()", "p.write_text(x)", "p.open()", "p.open(newline='')", "open(p, 'w')", "p.open('a')"]
)
def test_the_search_bites(call: str) -> None:
    assert list(unsaid(ast.parse(call))) == [1]


@pytest.mark.parametrize(
    "call", ["p.open('rb')", "p.read_text(encoding='utf-8')", "settings.open(run)", "p.read_bytes()"]
)
def test_other_calls_pass(call: str) -> None:
    assert not list(unsaid(ast.parse(call)))
