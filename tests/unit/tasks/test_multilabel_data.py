"""Data with several labels a sample: arrays, tables and drawn cells, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError


def npz(tmp_path: Path, labels: np.ndarray, **settings: Any) -> Npz:
    images = np.random.default_rng(0).integers(256, size=(len(labels), 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels)
    return Npz(tmp_path / "set.npz", group="none", **settings)


def test_npz_with_labels_as_chestmnist_has_them(tmp_path: Path) -> None:
    labels = np.asarray([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    dataset = npz(tmp_path, labels.astype(np.uint8), multilabel=True, classes=["x", "y", "z"]).load()
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.classes == ("x", "y", "z") and (dataset.truth == -1).all()
    assert npz(tmp_path, labels, multilabel=True).load().classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([[0, 2], [1, 0]], {}, "train_labels of image 0: expected 0, 1 or -1 for each label .*, got \\[0, 2\\]"),
        ([[0, 1], [1, 1]], {}, "without the label 1, got none"),
        ([[0, 0], [1, 0]], {}, "with the label 1, got none"),
        ([[-1, -1], [-1, 0]], {}, "with the label 0, got none"),
        ([[0, 1], [1, 0]], {"classes": 3}, "expected shape \\(2, 3\\) .*, got \\(2, 2\\)"),
        ([0, 1], {"classes": 3}, "expected shape \\(2, 3\\)"),
    ],
)
def test_npz_labels_that_are_none(tmp_path: Path, labels: Any, settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        npz(tmp_path, np.asarray(labels), multilabel=True, **settings).load()


class TestCsv:
    """A table with one column a label."""

    settings: ClassVar[dict[str, Any]] = {"columns": {"path": "file"}, "group": "none", "labels": ["oedema", "mass"]}

    def load(self, tmp_path: Path, *rows: str, **changes: Any) -> Any:
        from PIL import Image

        lines = ["file,oedema,mass,label"]
        for i, row in enumerate(rows):
            Image.fromarray(np.full((4, 4), i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
            lines.append(f"{i}.png,{row},x")
        (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
        return Csv(tmp_path, **{**self.settings, **changes}).load()

    def test_columns_are_labels(self, tmp_path: Path) -> None:
        dataset = self.load(tmp_path, "0,1", "1,0", ",0")
        np.testing.assert_array_equal(dataset.labels, [[0, 1], [1, 0], [-1, 0]])
        assert dataset.classes == ("oedema", "mass")

    def test_nothing_known_is_what_a_person_may_be_asked(self, tmp_path: Path) -> None:
        dataset = self.load(tmp_path, ",", ",")
        np.testing.assert_array_equal(dataset.labels, [[-1, -1], [-1, -1]])

    @pytest.mark.parametrize(
        ("rows", "changes", "message"),
        [
            (
                ("0,1", "1,yes"),
                {},
                "line 3, column mass: expected 0 or 1, -1 or an empty cell .*, got 'yes'",
            ),
            (("0,1", "1,2"), {}, "column mass: expected 0 or 1"),
            (("0,1", "0,0"), {}, "with the label oedema, got none"),
            (("1,", ","), {}, "without the label oedema, got none"),
            (("0,1", "1,0"), {"labels": ["oedema", "mas"]}, "data.labels.*did you mean 'mass'"),
            (("0,1", "1,0"), {"labels": ["mass", "mass"]}, "each column once"),
            (("0,1", "1,0"), {"columns": {"path": "file", "label": "label"}}, "no label or mask column"),
            (("0,1", "1,0"), {"classes": 2}, "no classes, beside labels"),
        ],
    )
    def test_columns_that_are_none(self, tmp_path: Path, rows: Any, changes: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            self.load(tmp_path, *rows, **changes)


def test_the_phantom_has_labels_of_the_same_cells() -> None:
    settings = {"n_pool": 60, "n_val": 0, "n_test": 0, "size": 16}
    one, several = Phantom(**settings).load(), Phantom(**settings, multilabel=True).load()  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.read(5), several.read(5))
    assert several.labels is not None and several.labels.shape == (60, 4) and one.labels is None
    granular = several.labels[:, several.classes.index("granular")]
    assert granular[one.truth == one.classes.index("granular")].mean() > 0.9 > granular.mean()
    with pytest.raises(InputError, match="masks or multilabel"):
        Phantom(masks=True, multilabel=True).load()
