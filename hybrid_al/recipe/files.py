"""Where a recipe is read from: a YAML file, a shipped one, or a run directory."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from ..core.rundir import RunDir, unmarked
from ..errors import InputError, UnknownName, reading
from .plain import read_yaml


def shipped_recipes() -> dict[str, str]:
    """The shipped recipes: name -> YAML text."""
    files = (f for f in (resources.files("hybrid_al") / "recipes").iterdir() if f.name.endswith(".yaml"))
    return {f.name.removesuffix(".yaml"): f.read_text(encoding="utf-8") for f in sorted(files, key=str)}


def mapping_of(file: Path | str) -> tuple[str, dict[str, Any]]:
    """What a recipe is called in messages, and its keys."""
    where, text = _text(file)
    plain = read_yaml(where, text)
    if not isinstance(plain, dict):
        raise InputError(where, "a mapping of keys", type(plain).__name__)
    return where, plain


def is_run(file: Path | str) -> bool:
    """Whether a path is a run directory, whose recipe can be gone on with."""
    return RunDir(Path(file)).exists()


def of_run(run: Path) -> dict[str, Any]:
    """The keys of the recipe that a run was last called with; error where its file is gone, cut or changed."""
    file = run / "recipe.yaml"
    plain = read_yaml(str(file), unmarked(file))
    if not isinstance(plain, dict) or not {"data", "loop"} <= plain.keys():
        raise InputError(file, "the recipe of a run, as hybrid-al wrote it", "one that is cut or changed")
    return plain


def _text(file: Path | str) -> tuple[str, str]:
    path = Path(file)
    with reading(path, "a recipe file"):
        is_file = path.is_file()
    if is_run(path):
        RunDir(path).current()
        path /= "recipe.yaml"
        return str(path), unmarked(path)
    if is_file:
        with reading(path, "a YAML file in UTF-8"):
            return str(path), path.read_text(encoding="utf-8")
    recipes = shipped_recipes()
    if str(file) in recipes:
        return f"recipe {file}", recipes[str(file)]
    if path.suffix or path.parent != Path():
        raise InputError(path, "a recipe file", "no such file")
    raise UnknownName("recipe", str(file), recipes)
