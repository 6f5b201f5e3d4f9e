"""Where a recipe is read from: a YAML file, a shipped one, or a run directory."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ..core.rundir import RunDir, unmarked
from ..errors import InputError, UnknownName


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
    if is_run(path):
        RunDir(path).current()
        path /= "recipe.yaml"
        return str(path), unmarked(path)
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(path, "a YAML file in UTF-8", "another encoding") from None
    recipes = shipped_recipes()
    if str(file) in recipes:
        return f"recipe {file}", recipes[str(file)]
    if path.suffix or path.parent != Path():
        raise InputError(path, "a recipe file", "no such file")
    raise UnknownName("recipe", str(file), recipes)


class _Loader(yaml.SafeLoader):
    """Reads `1e-5` as the number that YAML 1.2 and Python say it is; YAML 1.1 wants a point in it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(where: str, text: str) -> Any:
    """The values of a YAML text; one line on what is no YAML."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InputError(where, "YAML", " ".join(str(error).split())) from None
