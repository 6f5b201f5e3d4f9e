"""The examples of docs/examples run as they are, and pages show two of them to the letter."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.stem: path for path in sorted((ROOT / "docs" / "examples").glob("*.py"))}
FAST = ("pick", "own_sklearn")
SHOWN = {"own_sklearn": "README.md", "own_torch": "docs/library.md"}
OUTPUT = {
    "pick": "strategy badge: expected probs (N, C) and features (N, D), got no features",
    "own_sklearn": "test/balanced_accuracy",
    "own_torch": "0.",
    "encoder": "(200, 512)",
    "run_and_open": "test/auroc",
}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES]
)
def test_it_runs_and_runs_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output = []
    for _ in range(2):  # the second time it finds what the first left on disk
        runpy.run_path(str(EXAMPLES[name]), run_name="__main__")
        output.append(capsys.readouterr().out)
    assert OUTPUT[name] in output[0] and output[0] == output[1]


def code_of(name: str) -> str:
    return EXAMPLES[name].read_text(encoding="utf-8").partition('"""\n\n')[2]


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_it_in_ten_lines(name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / SHOWN[name]).read_text(encoding="utf-8"), re.DOTALL)
    assert code_of(name) in blocks
    lines = [line for line in code_of(name).splitlines() if line and not re.match(r"import |from ", line)]
    assert len(lines) <= 10


def test_every_example_is_linked() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert all(f"(examples/{name}.py)" in text for name in EXAMPLES)
    assert set(OUTPUT) == set(EXAMPLES)
