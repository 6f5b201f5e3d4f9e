"""`run`: a recipe from a mapping, values changed by keywords; with a person it stops and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

import hybrid_al as hal
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import AwaitingLabels, InputError, UnknownName
from hybrid_al.oracles.inbox import inbox
from tests.unit.test_project import RECIPE

SMALL = {**RECIPE, "learner": "frozen", "train": {"name": "supervised", "steps": 2}, "oracle": "worklist"}


def test_with_a_person_it_stops_at_the_query_and_goes_on(tmp_path: Path) -> None:
    def play() -> hal.Run:
        return hal.run(SMALL, run_dir=tmp_path / "run", loop__budgets=[4], track__wandb__mode="off")

    with pytest.raises(AwaitingLabels, match="round 0 waits for 4 of 4 labels"):
        play()
    run = hal.open(tmp_path / "run")
    assert run.picks["rank"] == [0, 1, 2, 3] and len(run.labels) == 0 and len(run.metrics) == 0
    lines = [f"{id},{run.classes[k % 2]}" for k, id in enumerate(run.picks["id"])]
    (tmp_path / "answers.csv").write_text("\n".join(["id,label", *lines]))
    inbox(RunDir(run.path)).take(tmp_path / "answers.csv", "reader")
    result = play()
    assert result.metrics["labels"] == [4] and isinstance(result.metrics["test/auroc"][0], float)
    assert result.labels["annotator"] == ["reader"] * 4


def test_an_unknown_key_or_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'budgets'"):
        hal.run(SMALL, run_dir=tmp_path / "run", loop__budget=[4])
    with pytest.raises(UnknownName, match="did you mean 'quickstart'"):
        hal.run("quikstart")
    with pytest.raises(InputError, match=r"override seed\.value: expected keys below seed"):
        hal.run({"name": "x", "seed": 3}, seed__value=1)
    assert not (tmp_path / "run").exists()
