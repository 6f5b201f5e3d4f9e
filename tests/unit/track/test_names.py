"""One table of names: documented, and all that a run logs or shows is in it at the axis that it says."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from hybrid_al import loop
from hybrid_al.assemble import experiment, open_project
from hybrid_al.recipe import parse
from hybrid_al.track.base import Content, Trackers
from hybrid_al.track.jsonl import COLUMNS, JsonlTracker, lines
from hybrid_al.track.names import NAMES, SECTIONS, axis_of, name_of, table
from pretrain.stage0 import ensure
from tests.helpers.tiny import recipe_of

DOCS = Path(__file__).parents[3] / "docs" / "tracking.md"


def test_the_docs_have_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    block = text.partition("<!-- names -->\n")[2].partition("\n<!-- end -->")[0]
    assert block == table(), "docs/tracking.md: put in what hybrid_al.track.names.table() says"


def test_the_most_exact_entry_counts() -> None:
    entries = {
        "train/loss": "train/loss",
        "train/loss_fairness": "train/loss_<term>",
        "train/temperature": "train/<term>",
        "val/ece_calibrated": "test/<metric>_calibrated",
        "test/auroc/a/b": "test/<metric>/<label>",
        'pseudo/accuracy/<b>"x"</b>\n': "pseudo/accuracy/<class>",
        "stage0/val/knn_auroc": "stage0/<split>/knn_auroc",
        "nonsense": None,
    }
    assert {name: name_of(name) for name in entries} == entries
    assert axis_of("mine", "train", 3) == "train/step" and axis_of("mine", "evaluate", None) == "round"


def test_every_section_has_names() -> None:
    assert {name.section for name in NAMES.values()} == set(SECTIONS)


class Recorder(JsonlTracker):
    """Keeps what is shown beside numbers."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.contents = list[Content]()

    def show(self, content: Content) -> None:
        self.contents.append(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "train"),
    [
        ("classification", "freematch"),
        ("classification", "mean_teacher"),
        ("multilabel", "mean_teacher"),
        ("segmentation", "mean_teacher"),
    ],
)
def test_all_that_a_run_logs_has_a_name(task: str, train: str, tmp_path: Path) -> None:
    plain = recipe_of(task, train={"name": train, "steps": 4, "batch": 4}, query="entropy", pretrain="simclr")
    plain |= {"pretrain": {"name": "simclr", "epochs": 2, "batch": 4}, "calibration": {"fit": "cross", "folds": 2}}
    project = open_project(parse(plain), run_dir=tmp_path / "run")
    project.claim()
    truth, mirror = JsonlTracker(tmp_path / "run" / "metrics.jsonl"), Recorder(tmp_path / "mirror")
    tracker = Trackers(truth, {"mirror": mirror})
    ensure(project, tracker)
    loop.run(experiment(project), project.run, tracker)
    tracker.close()
    for line in lines(tmp_path / "run" / "metrics.jsonl"):
        for name in line.keys() - set(COLUMNS):
            entry = name_of(name)
            assert entry is not None, name
            stages = ("evaluate", "query") if entry.startswith("query/") else (NAMES[entry].stage,)
            assert line["stage"] in stages, name
            has_step = cast(int | None, line["step"]) is not None
            assert has_step == (NAMES[entry].axis in ("train/step", "stage0/step")) or line["stage"] == "train", name
    assert len(mirror.contents) == 2
    for content in mirror.contents:
        shown = {**content.tables, **content.histograms}
        assert {name_of(name) for name in shown} <= NAMES.keys()
        assert {"table/picks", "table/embedding", "histogram/score"} - shown.keys() <= (
            set() if content.round else {"histogram/score"}
        )
    assert set(mirror.contents[0].files) >= {"encoder", "embeddings", "query", "labels", "model"}
