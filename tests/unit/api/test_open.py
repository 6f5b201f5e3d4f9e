"""`open`: a run as tables; directories of other layouts are refused by the version that made them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import hybrid_al as hal
from hybrid_al.core.rundir import LAYOUT, MARK, RunDir
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.oracles.inbox import inbox
from hybrid_al.report.overview import write_reports
from tests.helpers.fake_run import fake_run


def facts_of(path: Path, **changes: object) -> None:
    facts = {**json.loads((path / "run.json").read_text()), **changes, "digest": None}
    (path / "run.json").write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))


def test_tables_hold_what_is_on_disk(tmp_path: Path) -> None:
    path = fake_run(tmp_path / "run")
    run, disk = hal.open(path), RunDir(path)
    manifest, rounds = disk.manifest(), disk.rounds()
    assert (run.name, run.seed) == (disk.facts()["name"], disk.facts()["seed"])
    store = disk.labels(len(manifest))
    assert run.labels["index"] == list(store.current)
    assert run.labels["label"] == [
        run.classes[t] if isinstance(t := a.target, int) else None for a in store.current.values()
    ]
    assert run.metrics["round"] == [r.index for r in rounds]
    for name in rounds[0].metrics:
        assert run.metrics[name] == [r.metrics.get(name) for r in rounds]
    ids = [id for r in range(len(rounds)) for id in disk.query_ids(r) or ()]
    assert run.picks["id"][: len(ids)] == ids
    assert [manifest.ids[int(str(i))] for i in run.picks["index"]] == run.picks["id"]


def test_a_table_is_rows_columns_or_a_frame() -> None:
    table = hal.Table.of(("a", "b"), [{"a": 1, "b": "x"}, {"a": 2, "c": 0.5}])
    assert list(table) == [{"a": 1, "b": "x", "c": None}, {"a": 2, "b": None, "c": 0.5}]
    assert table["c"] == [None, 0.5] and len(table) == 2 and len(hal.Table({"a": []})) == 0
    assert table.frame().shape == (2, 3) and list(table.frame()["a"]) == [1, 2]
    with pytest.raises(UnknownName, match="column"):
        table["d"]


def test_without_pandas_a_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"frame: expected pandas \(pip install pandas\)"):
        hal.Table({"a": [1]}).frame()


def test_a_directory_of_before_the_move_is_read_but_not_gone_on_with(tmp_path: Path) -> None:
    path = fake_run(tmp_path / "run")
    before = hal.open(path).metrics.columns
    facts_of(path, schema=None, versions={"hybrid-al": "0.0.9"})
    assert hal.open(path).metrics.columns == before
    for reader in (lambda: inbox(RunDir(path)), lambda: fake_run(path)):
        with pytest.raises(
            InputError, match=r"layout 1, made by hybrid-al 0\.0\.9 .*, which goes on with it"
        ) as caught:
            reader()
        assert "hybrid_al.open" in str(caught.value) and "\n" not in str(caught.value)


def test_an_old_recipe_is_no_obstacle_to_a_report(tmp_path: Path) -> None:
    path = fake_run(tmp_path / "run")
    facts_of(path, schema=None, marked=None)
    recipe = (path / "recipe.yaml").read_text()
    (path / "recipe.yaml").write_text(recipe.partition(MARK)[0] + "segmentation: {network: unet}\n")
    assert write_reports([path], None).is_file()


def test_a_directory_of_another_layout_names_the_version_that_reads_it(tmp_path: Path) -> None:
    path = fake_run(tmp_path / "run")
    facts_of(path, schema=LAYOUT + 1, versions={"hybrid-al": "9.1"})
    made_by = r"made by hybrid-al 9\.1 \(pip install hybrid-al==9\.1\), which reads it"
    with pytest.raises(InputError, match=f"a layout up to {LAYOUT}, got layout {LAYOUT + 1}, {made_by}"):
        hal.open(path)
    facts_of(path, schema=None, versions=None, recipe=None)
    with pytest.raises(InputError, match=r"run\.json has no recipe, made by a version that it does not name"):
        hal.open(path)


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a run directory, got no run\.json there"):
        hal.open(tmp_path)
