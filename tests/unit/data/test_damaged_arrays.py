"""NPZ files whose headers lie: one line, and nothing is read or made of the sizes that they claim."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.data.describe import describe
from hybrid_al.data.sources.npz import Npz
from hybrid_al.errors import InputError

SHAPE = "(4, 2, 2)"


def spoiled(path: Path, text: str, key: str = "images") -> Path:
    """Images and labels, in the header of one of which the shape is another text."""
    arrays: dict[str, np.ndarray] = {
        "images": np.arange(16, dtype=np.uint8).reshape(4, 2, 2),
        "labels": np.arange(4) % 2,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            out = io.BytesIO()
            np.save(out, array)
            whole, shape = out.getvalue(), str(array.shape)
            if name == key:
                whole = whole.replace(f"{shape}, }}{' ' * (len(text) - len(shape))}".encode(), f"{text}, }}".encode())
            archive.writestr(f"{name}.npy", whole)
    return path


@pytest.mark.parametrize(
    ("text", "key", "match"),
    [
        ("(99999999999999999999, 2, 2)", "images", "claims shape .* of uint8 in 399999999999999999996 bytes, .* 16"),
        ("(-4, 2, 2)", "images", r"an array of shape \(-4, 2, 2\)"),
        ("(4, 2, -2)", "images", r"an array of shape \(4, 2, -2\)"),
        ("(4, 'a', 2)", "images", "whole array of plain numbers"),
        ("(4, 2, 2", "images", "whole array of plain numbers"),
        ("(100000000000,)", "labels", "labels: .* claims shape .* in 800000000000 bytes, the file holds 32"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, text: str, key: str, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        Npz(spoiled(tmp_path / "a.npz", text, key), group="none").load()
    assert "\n" not in str(caught.value)


def test_a_way_of_packing_that_is_unknown(tmp_path: Path) -> None:
    file = spoiled(tmp_path / "a.npz", SHAPE)
    whole = bytearray(file.read_bytes())
    for start, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = whole.index(start) + place
        whole[at : at + 2] = b"\x63\0"
    file.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"images: expected a whole array .* not supported"):
        Npz(file, group="none").load()


def test_a_class_number_that_no_list_can_have(tmp_path: Path) -> None:
    labels = np.asarray([0, 1, 2**40, 1])
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 2, 2), dtype=np.uint8), labels=labels)
    with pytest.raises(InputError, match="class numbers below 100000, or -1, got 1099511627776"):
        Npz(tmp_path / "a.npz", group="none").load()


def test_images_of_letters_are_no_images(tmp_path: Path) -> None:
    np.savez(file := tmp_path / "a.npz", train_images=np.full((4, 2, 2), "x"), train_labels=np.arange(4) % 2)
    for read in (lambda: Npz(file, group="none").load(), lambda: describe(file)):
        with pytest.raises(InputError, match="train_images: expected images of numbers, got <U1"):
            read()
