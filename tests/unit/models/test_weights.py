"""Weights files that are none, or whose numbers are none: one line with the path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hybrid_al.errors import InputError
from hybrid_al.models.checkpoint import load_weights, save_weights


def test_tensors_with_nan_or_inf_are_refused_by_name(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        save_weights(file := tmp_path / "w.safetensors", {"a": torch.ones(2), "b": torch.tensor([1.0, value])})
        with pytest.raises(InputError, match=r"w\.safetensors: b: expected finite numbers, got nan or inf"):
            load_weights(file)
    torch.save({"state_dict": {"c": torch.tensor([float("nan")])}}, file := tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: c: expected finite numbers"):
        load_weights(file)


@pytest.mark.parametrize("content", [{1: torch.zeros(3)}, [torch.zeros(3)], {"a": 1}, {}, torch.zeros(3), "text"])
def test_what_holds_no_named_tensors_is_one_line(tmp_path: Path, content: object) -> None:
    torch.save(content, file := tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: expected named tensors") as error:
        load_weights(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_cut_files_are_one_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    tensors = {"a": torch.arange(100.0)}
    save_weights(file, tensors) if name.endswith("safetensors") else torch.save(tensors, file)
    data = file.read_bytes()
    for size in (0, 7, 9, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:size])
        with pytest.raises(InputError, match=name) as error:
            load_weights(file)
        assert "\n" not in str(error.value)
