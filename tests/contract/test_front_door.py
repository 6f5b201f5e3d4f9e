"""The front door: light to import, every name typed and documented, nothing promised that is not there."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import hybrid_al as hal

SECONDS = 0.3
LIBRARY = Path(__file__).parents[2] / "docs" / "library.md"
PUBLIC = [name for name in hal.__all__ if name != "__version__"]


def run(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return process.stdout.strip()


def test_import_is_light() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import hybrid_al as hal; "
        "print(time.perf_counter() - began, sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    seconds, heavy = min(run(code).split(" ", 1) for _ in range(3))
    assert heavy == "[]" and float(seconds) < SECONDS


def test_torch_waits_until_something_needs_it() -> None:
    code = (
        "import sys, numpy as np, hybrid_al as hal; x = np.random.default_rng(0).random((9, 3)); "
        "hal.pick(x, 2, 'random'); hal.pick(None, 2, 'margin', probs=x / x.sum(axis=1, keepdims=True)); "
        "hal.Loop; hal.open; hal.run; hal.Table; hal.embed; print('torch' in sys.modules)"
    )
    assert run(code) == "False"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there_documented_and_typed(name: str) -> None:
    thing = getattr(hal, name)
    assert thing.__doc__ and f"hal.{name}" in LIBRARY.read_text(encoding="utf-8")
    call = thing.__init__ if inspect.isclass(thing) else thing
    for parameter in list(inspect.signature(call).parameters.values())[int(inspect.isclass(thing)) :]:
        assert parameter.annotation is not inspect.Parameter.empty and "Any" not in str(parameter.annotation), parameter
        if not name[0].isupper() or name in ("Loop", "TorchModel"):
            assert parameter.name in thing.__doc__, f"{name} does not document {parameter.name}"


def test_dir_lists_the_names_and_others_are_errors() -> None:
    assert set(hal.__all__) <= set(dir(hal))
    with pytest.raises(AttributeError, match="no attribute 'pik'"):
        getattr(hal, "pik")  # noqa: B009


def test_names_of_a_type_checker_are_those_of_the_module() -> None:
    source = Path(str(hal.__file__)).read_text(encoding="utf-8")
    block = source.partition("if TYPE_CHECKING:")[2].partition("\n\n")[0]
    for name in PUBLIC:
        home = getattr(hal, name).__module__.removeprefix("hybrid_al.")
        line = next(line for line in block.splitlines() if line.strip().startswith(f"from .{home} import"))
        assert name in line
    assert not typing.TYPE_CHECKING
