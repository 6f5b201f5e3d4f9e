"""Stage 0 as a command: two ways to say it, one outcome; what is not this training's, or damaged, is said."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import yaml

from hybrid_al.cli import main
from pretrain import loop

RECIPE = {
    "name": "tiny",
    "data": {"source": "phantom", "n_pool": 32, "n_val": 0, "n_test": 20, "size": 16, "image_size": 16},
    "encoder": {"name": "test_resnet"},
    "pretrain": {"name": "simclr", "epochs": 2, "batch": 16},
    "loop": {"budgets": [4]},
    "track": {"wandb": {"mode": "off"}},
}


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


def command(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as exit_info:
        main(["pretrain", *arguments, "--quiet"])
    return exit_info.value.code


def files(run: Path) -> dict[str, bytes]:
    """All that a stage 0 leaves, by name."""
    files = (path for path in sorted((run / "stage0").rglob("*.*")) if path.name != "seconds.json")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_both_ways_to_call_it_leave_the_same_files(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not command(recipe, "--run-dir", str(tmp_path / "a" / "run"))
    monkeypatch.setattr(sys, "argv", ["pretrain", recipe, "--run-dir", str(tmp_path / "b" / "run"), "--quiet"])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_module("pretrain", run_name="__main__")
    assert not exit_info.value.code
    first, second = files(tmp_path / "a" / "run"), files(tmp_path / "b" / "run")
    assert {"stage0/encoder.safetensors", "stage0/embeddings/plain.npy", "stage0/records.npz"} <= set(first)
    assert first == second


def test_a_checkpoint_of_another_network_is_refused_in_one_line(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    run, other = tmp_path / "a" / "run", tmp_path / "b" / "run"
    monkeypatch.setattr("pretrain.stage0.export", lambda *_, **__: sys.exit(1))  # the checkpoint stays
    assert command(recipe, "--run-dir", str(run)) == 1
    (other / "stage0").mkdir(parents=True)
    (run / "stage0" / "resume.pt").rename(other / "stage0" / "resume.pt")
    capsys.readouterr()
    assert command(recipe, "pretrain.out=64", "--run-dir", str(other)) == 2
    errors = capsys.readouterr().err
    assert "resume.pt: expected the " in errors and "of another shape: head.layers.3.weight (128, 512)" in errors
    assert errors.count("\n") == 1


def test_a_checkpoint_that_a_kill_left_behind_the_last_commit_goes(recipe: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not command(recipe, "--run-dir", str(run))
    whole = files(run)
    (run / "stage0" / "resume.pt").write_bytes(b"of the training that is over")
    assert not command(recipe, "--run-dir", str(run))
    assert files(run) == whole


def test_embeddings_damaged_on_disk_are_found_made_again_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    other = {"sets": {"other": {"name": "test_resnet"}}, "use": ["plain", "other"], "whiten": 4}
    recipe.write_text(yaml.safe_dump({**RECIPE, "pretrain": "none", "embeddings": other}))
    assert not command(str(recipe), "--run-dir", str(run))
    whole = files(run)
    for harm in ("one byte", "gone"):
        path = run / "stage0" / "embeddings" / "used.npy"
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        if harm == "gone":
            path.unlink()
        capsys.readouterr()
        assert not command(str(recipe), "--run-dir", str(run))
        assert capsys.readouterr().err == f"{path}: damaged; the images are embedded again\n"
        assert files(run) == whole
    assert not command(str(recipe), "--run-dir", str(run)) and capsys.readouterr().err == ""
