"""Two rounds that several readers share, by files: what becomes the label, what is measured, what the audit says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hybrid_al as hal
from hybrid_al.api.answers import take
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import file_name
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.oracles.audit import audit
from hybrid_al.oracles.inbox import owed
from hybrid_al.recipe import parse
from hybrid_al.report.overview import standing, write_reports
from tests.helpers.tiny import recipe_of

pytestmark = pytest.mark.slow


def play(recipe: dict[str, Any], run: Path) -> str:
    """The loop up to its next query; what it waits for."""
    try:
        hal.run(recipe, run_dir=run)
    except AwaitingLabels as error:
        return str(error)
    return "over"


def people_of(run: RunDir) -> list[dict[str, float]]:
    """What was logged of the readers, round by round."""
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "people/double" in row]


def test_classes_that_a_third_judges_are_learned_softly_or_by_her_word(tmp_path: Path) -> None:
    changes = {"learner": "linear", "train": {"name": "supervised"}, "loop": {"budgets": [6, 3]}}
    oracle = {"name": "worklist", "readers": ["anna", "ben"], "target": "adjudicated", "adjudicator": "carl"}
    recipe, run = recipe_of("classification", **changes, oracle=oracle), RunDir(tmp_path / "run")
    for r, count in enumerate((6, 3)):
        assert f"round {r} waits for readings: anna {count}, ben {count}" in play(recipe, run.path)
        ids = [row["id"] for row in run.query_rows(r) or ()]
        classes = [str(name) for name in run.facts()["classes"]]  # type: ignore[attr-defined]
        said = {i: classes[k % 2] for k, i in enumerate(ids)}
        for name, answers in (("anna", said), ("ben", said | {ids[0]: classes[1]}), ("carl", {ids[0]: classes[1]})):
            file = run.path / "worklist" / f"round_{r:03d}_{name}.csv"
            rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
            assert {row["id"] for row in rows} == set(answers)
            (tmp_path / "out.csv").write_text(
                "id,label\n" + "".join(f"{i},{text}\n" for i, text in answers.items()), encoding="utf-8"
            )
            with run.lock():
                take(run.path, tmp_path / "out.csv", name)
            if name == "ben":
                assert owed(run, r) == {"carl": [ids[0]]} and "carl 1" in play(recipe, run.path)
    assert play(recipe, run.path) == "over"
    labels = run.labels(len(run.manifest())).current.values()
    assert {a.annotator for a in labels} == {"anna+ben", "carl"} and sum(a.annotator == "carl" for a in labels) == 2
    first, second = people_of(run)
    assert (first["people/double"], second["people/double"]) == (6, 9) and "people/model_kappa" not in first
    assert second["people/differ"] == pytest.approx(2 / 9) and -1 <= second["people/model_kappa"] <= 1
    one = audit(run.path)
    assert one.problems == [] and "3 read by several, 1 differ, 1 judged by carl" in one.lines()[-1]
    assert any("2 of 9" in line or "22% of 9" in line for line in standing(run))
    assert "How far the readers agree" in write_reports([run.path], None).read_text(encoding="utf-8")


def test_masks_of_two_readers_are_learned_from(tmp_path: Path) -> None:
    oracle = {"name": "worklist", "readers": ["anna", "ben"], "overlap": 0.5, "target": "consensus"}
    recipe, run = recipe_of("segmentation", loop={"budgets": [4, 2]}, oracle=oracle), RunDir(tmp_path / "run")
    for r in range(2):
        play(recipe, run.path)
        position = run.manifest().position
        for name, ids in (owed(run, r) or {}).items():
            folder = tmp_path / f"{name}-{r}"
            folder.mkdir()
            for i in ids:
                mask = np.zeros((16, 16), dtype=np.uint8)
                mask[4:12, 4 : 12 if name == "anna" else 13] = 1
                Image.fromarray(mask).save(folder / file_name(position[i]))
            with run.lock():
                take(run.path, folder, name)
    assert play(recipe, run.path) == "over"
    first, second = people_of(run)
    assert first["people/double"] == 2 and 0.9 < first["people/dice"] < 1 and "people/model_dice" in second
    assert audit(run.path).problems == []


@pytest.mark.parametrize(
    ("task", "oracle", "why"),
    [
        (
            "segmentation",
            {"target": "soft"},
            "oracle.target: expected majority, consensus or adjudicated where answers",
        ),
        ("segmentation", {"answer": "points"}, "oracle.overlap: expected 0 where answers are points"),
        ("classification", {"overlap": 2}, "oracle.overlap: expected a number of 0 to 1"),
        ("classification", {"reader": "anna"}, "did you mean 'readers'"),
    ],
)
def test_recipes_that_no_readers_can_share(task: str, oracle: dict[str, Any], why: str) -> None:
    from hybrid_al.components import check_components

    recipe = recipe_of(task, oracle={"name": "worklist", "readers": ["anna", "ben"], **oracle})
    with pytest.raises(InputError, match=why):
        check_components(parse(recipe))
