"""`make audit`: what it makes of the answers of pip-audit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "1 packages, 0 known vulnerabilities"),
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}',
            1,
            "a 1: CVE-1, mended in 2",
        ),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 3, "nothing was looked up"),
        ("", 3, "nothing was looked up"),
    ],
)
def test_an_audit_says_when_nothing_was_looked_up(tmp_path: Path, answer: str, code: int, said: str) -> None:
    (tmp_path / ".ci").mkdir()
    (tools := tmp_path / ".venv-audit" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "audit", tmp_path / ".ci")
    stand_in = tools / "pip-audit"
    stand_in.write_text(f"#!/bin/sh\nprintf '%s' '{answer}' > \"${{12}}\"\necho no connection\n", encoding="utf-8")
    stand_in.chmod(0o755)
    done = subprocess.run([tmp_path / ".ci" / "audit", sys.executable], capture_output=True, text=True, check=False)
    assert done.returncode == code and said in done.stdout + done.stderr
