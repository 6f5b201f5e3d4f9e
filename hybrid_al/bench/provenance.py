"""What the cells of a CSV were made from: data, recipe, code, encoders; two versions are never mixed."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..core.files import write_json
from ..core.seals import read_json
from ..errors import InputError

PACKAGES = ("hybrid_al", "pretrain")
LOOP = tuple(f"hybrid_al.{name}" for name in ("loop", "metrics.holdout", "oracles.simulated", "data.views.modalities"))
# these decide no number of a loop, name everything there is, or hold values that are noted as such
APART = tuple(f"hybrid_al.{name}" for name in ("assemble", "bench", "cli", "recipe", "report", "track"))
LIBRARIES = ("numpy", "scikit-learn", "timm", "torch")
VERSIONS = ("code", "stage 0 code", "libraries")
"""Facts of the program, of which another one may still find the same numbers."""


def versions() -> dict[str, str]:
    """The libraries that decide numbers."""
    return {name: version(name) for name in LIBRARIES}


def code_digest(roots: Iterable[str]) -> str:
    """Digest of the code that some modules run: the definitions in them and in all that they import of ours.

    Comments, docstrings, layout, what a strategy says of itself (`about`), and where a definition stands do not count:
    to move one changes nothing. Registries (`__init__`) are not followed, so a new strategy changes nothing for the
    others.
    """
    visited: set[str] = set()
    code: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in visited:
            visited.add(name)
            definitions, imports = _module(name)
            code |= definitions
            waiting += imports
    return hashlib.sha256(json.dumps(sorted(code)).encode()).hexdigest()[:16]


@cache
def _module(name: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """(a digest of each of its definitions, modules of ours that it imports)."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imports = tuple(sorted({m for node in ast.walk(tree) for m in _imports(node, name) if _is_ours(m)}))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.If):
            node.body = [part for part in node.body if not isinstance(part, ast.Import | ast.ImportFrom)]
        if isinstance(node, ast.ClassDef):
            node.body = [part for part in node.body if not _is_about(part)]
    return frozenset(hashlib.sha256(ast.dump(part).encode()).hexdigest() for part in tree.body), imports


def _is_about(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "about"


def _imports(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = name.split(".")[: -node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _is_ours(name: str) -> bool:
    if not name.startswith(tuple(f"{p}." for p in PACKAGES)) or name.startswith(APART):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name within a module
        return False
    return spec is not None and spec.submodule_search_locations is None


def check(path: Path, facts: Mapping[str, object]) -> None:
    """Refuse a file beside a CSV whose facts differ from these; keys that are not in `facts` are not compared."""
    _same(path, _read(path)["facts"], facts, "")


def claim(path: Path, facts: Mapping[str, object], arms: Mapping[str, object], complete: Iterable[str]) -> None:
    """Note what cells are made from, beside their CSV; refuse where finished ones were made from something else.

    facts: what all cells of the file share; arms: what each arm is made from, by its name; complete: arms with cells.
    """
    complete_arms, old = set(complete), _read(path)
    if complete_arms:
        _same(path, _early(old["facts"], facts), facts, "")
        for name in sorted(complete_arms & set(arms)):
            _same(path, old["arms"].get(name, {}), arms[name], f"{name}: ")
    old_arms = {name: origin for name, origin in old["arms"].items() if name in complete_arms}
    encoders = old["encoders"] if complete_arms else {}
    write_json(path, {**old, "facts": dict(facts), "arms": {**old_arms, **arms}, "encoders": encoders})


def outdated(path: Path, facts: Mapping[str, object], arms: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Arms with cells of another version of the code or of the libraries, and of nothing else that is another.

    arms: those with cells. Errors: see `claim`, where the data or a setting is another too.
    """
    old = _read(path)
    _same(path, _early(old["facts"], facts), {k: v for k, v in facts.items() if k not in VERSIONS}, "")
    for name, origin in arms.items():
        _same(path, old["arms"].get(name, {}), {k: v for k, v in origin.items() if k not in VERSIONS}, f"{name}: ")
    if any(old["facts"].get(key) != facts.get(key) for key in VERSIONS):
        return list(arms)
    return [name for name, origin in arms.items() if old["arms"][name].get("code") != origin["code"]]


def vouch(
    path: Path, facts: Mapping[str, object], arms: Mapping[str, Mapping[str, object]], seeds: Mapping[str, int]
) -> None:
    """Note the code and the libraries of today for arms of which the cell of a seed was played again, with one result.

    What was noted of them stays, under `rechecked`. Arms that are not in `seeds` found another result, and are told by
    their code. facts: the versions of all cells, which stay as they were where such an arm has the code of today.
    """
    old = _read(path)
    known = {key: old["facts"][key] for key in VERSIONS if key in old["facts"]}
    rows = [{"arm": name, "seed": seed, **known, "code": old["arms"][name].get("code")} for name, seed in seeds.items()]
    if all(old["arms"][name].get("code") != origin["code"] for name, origin in arms.items() if name not in seeds):
        old["facts"] |= facts
    old["arms"] |= {name: {**old["arms"][name], **arms[name]} for name in seeds}
    write_json(path, {**old, "rechecked": [*old.get("rechecked", []), *rows]})


def _early(old: Mapping[str, object], facts: Mapping[str, object]) -> Mapping[str, object]:
    """The facts of a file; early ones have no classes."""
    return {"classes": facts.get("classes"), **old}


def claim_encoder(path: Path, seed: int, encoder: Mapping[str, object]) -> None:
    """Note the encoder of a stage-0 seed (its digest, its probes); refuse another one than is noted."""
    old = _read(path)
    if str(seed) in old["encoders"]:
        _same(path, {"encoder": old["encoders"][str(seed)]}, {"encoder": dict(encoder)}, "")
    else:
        encoders = {**old["encoders"], str(seed): dict(encoder)}
        write_json(path, {**old, "encoders": dict(sorted(encoders.items(), key=lambda item: int(item[0])))})


def encoders(path: Path) -> list[Mapping[str, object]]:
    """What `claim_encoder` noted."""
    return [encoder for encoder in _read(path)["encoders"].values() if isinstance(encoder, Mapping)]


def _read(path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"facts": {}, "arms": {}, "encoders": {}}
    return {**empty, **read_json(path)} if path.is_file() else empty


def _same(path: Path, old: object, new: object, where: str) -> None:
    a, b = (json.loads(json.dumps(x, sort_keys=True)) for x in (old, new))
    for key in sorted(b):
        if a.get(key) != b.get(key):
            raise InputError(
                path.with_suffix(".csv"),
                f"{where}cells that all come from one {key} (give another --output, or delete the file)",
                f"finished ones with {_short(a.get(key))}, now {_short(b.get(key))}",
            )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 120 else f"{text[:100]}... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]})"
