"""Four processes that answer at once and are killed between any two writes lose, double and mix up nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.page_answers import play


@pytest.mark.parametrize("images", [160, pytest.param(1800, marks=pytest.mark.slow)])
def test_every_answer_is_there_once_and_its_own(tmp_path: Path, images: int) -> None:
    answers, kills, faults = play(tmp_path, images, 24)
    assert faults == [] and kills > 3 and answers > images  # 10,000 of them: docs/damage.md
