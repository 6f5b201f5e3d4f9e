"""A report while a run goes on, of a run that has begun alone, and of one that nobody may write to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_al.cli import main
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import InputError
from hybrid_al.report import watch
from hybrid_al.report.overview import write_reports
from tests.helpers.fake_run import fake_run


@pytest.fixture(autouse=True)
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of random numbers have no data to open."""
    monkeypatch.setattr("hybrid_al.report.pictures._project", lambda path: None)


def test_the_page_is_written_where_the_run_has_changed_and_stays_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, lines, refreshes, loads = fake_run(tmp_path / "run", committed=1), list[str](), list[int](), list[Path]()

    def write(*args: object, refresh: int, **kwargs: object) -> Path:
        refreshes.append(refresh)
        return write_reports(*args, refresh=refresh, **kwargs)  # type: ignore[arg-type]

    def wait(seconds: float) -> None:
        steps.pop(0)()

    monkeypatch.setattr(watch, "write_reports", write)
    monkeypatch.setattr("hybrid_al.report.pictures._project", loads.append)
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text() + "half a li"),
        lambda: (run / "progress.json").write_text("{}"),
        lambda: (run / "rounds" / "001" / "query.json").write_text((run / "rounds" / "001" / "query.json").read_text()),
        lambda: monkeypatch.setattr(watch, "standing", lambda run: ["", "  finished"]),
    ]
    monkeypatch.setattr(watch, "standing", lambda run: ["", "  next: the training of round 1"])
    watch.keep_writing([run], None, say=lines.append, wait=wait)
    assert refreshes == [15, 15, 15, 0] and not steps
    assert len(loads) == 2, "the model is loaded where a query or a round is committed, not with each number or step"
    assert len(lines) == 2 and "Ctrl-C" in lines[0]
    assert "data-refresh" not in (run / "report" / "index.html").read_text(encoding="utf-8").partition("<script")[0]


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir(fake_run(tmp_path / "run", committed=0))
    for file in run.round_path(0).iterdir():
        file.unlink()
    run.round_path(0).rmdir()
    page = write_reports([run.path], tmp_path / "out", refresh=15).read_text(encoding="utf-8")
    assert "Nothing was asked yet" in page and 'data-refresh="15"' in page


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"no run\.json there"):
        watch.keep_writing([tmp_path], None)
    run = fake_run(tmp_path / "run")
    (run / "report").write_text("a file where the folder would be")
    with pytest.raises(SystemExit):
        main(["report", str(run)])
    assert "-o FOLDER names another" in capsys.readouterr().err
    try:
        main(["report", str(run), "-o", str(tmp_path / "elsewhere")])
    except SystemExit as end:
        assert not end.code
    assert (tmp_path / "elsewhere" / "index.html").is_file()
    (run / "rounds" / "001" / "holdout.npz").write_bytes(b"PK cut")
    with pytest.raises(InputError, match=r"holdout\.npz"):
        write_reports([run], tmp_path / "elsewhere")


def test_numbers_that_are_none_are_dashes(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    file = run / "rounds" / "002" / "round.json"
    row = json.loads(file.read_text())
    del row["digest"]  # as those of earlier versions, which no digest guards
    row["metrics"]["test/auroc"] = float("nan")
    file.write_text(json.dumps(row))
    page = write_reports([run], tmp_path / "out").read_text(encoding="utf-8")
    assert '<td data-name="test/auroc">–</td>' in page and "NaN" not in page.partition("<script>")[0]
