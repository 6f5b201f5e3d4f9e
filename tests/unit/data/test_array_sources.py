"""The sources of image arrays: NPZ and MedMNIST."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hybrid_al.data.sources import medmnist as medmnist_module
from hybrid_al.data.sources.medmnist import MedMnist
from hybrid_al.data.sources.npz import Npz
from hybrid_al.errors import InputError, UnknownName, UnreadableImages


class TestNpz:
    IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    LABELS = np.asarray([[0], [1], [1], [0], [1], [0]], dtype=np.uint8)

    def save(self, path: Path, **more: Any) -> Path:
        arrays = {
            "train_images": self.IMAGES,
            "train_labels": self.LABELS,
            "val_images": self.IMAGES[:2] + 100,
            "val_labels": self.LABELS[:2, 0],
            **more,
        }
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
        return path

    def test_rows(self, tmp_path: Path) -> None:
        data = Npz(self.save(tmp_path / "x.npz"), group="none").load()
        assert data.manifest.ids[:2] == ("train/00000", "train/00001") and data.manifest.ids[6] == "val/00000"
        assert data.manifest.paths[7] == "val_images#1"
        assert data.manifest.splits == ("pool",) * 6 + ("val",) * 2
        assert data.classes == ("0", "1") and data.truth.tolist() == [0, 1, 1, 0, 1, 0, 0, 1] and data.channels == 1
        np.testing.assert_array_equal(data.read(7)[:, :, 0], self.IMAGES[1] + 100)
        np.testing.assert_array_equal(data.read(1)[:, :, 0], self.IMAGES[1])

    def test_same_pixels_in_two_splits_are_a_leak(self, tmp_path: Path) -> None:
        data = Npz(self.save(tmp_path / "x.npz", val_images=self.IMAGES[3:5]), group="none").load()
        assert data.manifest.leaks() == [("train/00003", "val/00000"), ("train/00004", "val/00001")]

    def test_colour_groups_names(self, tmp_path: Path) -> None:
        path = self.save(
            tmp_path / "x.npz",
            train_images=np.stack([self.IMAGES] * 3, axis=3),
            train_patient=np.asarray(["p1", "p1", "p2", "p2", "p3", "p3"]),
            val_patient=np.asarray(["p8", "p9"]),
            train_files=np.asarray([f"{i}.png" for i in range(6)]),
            val_files=np.asarray(["8.png", "9.png"]),
        )
        data = Npz(path, group="patient", classes=("normal", "ill")).load()
        assert data.channels == 3 and data.classes == ("normal", "ill")
        assert data.manifest.groups[:3] == ("p1", "p1", "p2") and data.manifest.ids[6:] == ("8.png", "9.png")
        with pytest.raises(UnknownName, match="did you mean 'train_patient'"):
            Npz(path, group="patients").load()

    def test_names_that_repeat_are_no_ids(self, tmp_path: Path) -> None:
        path = self.save(tmp_path / "x.npz", train_files=np.asarray(["a"] * 6), val_files=np.asarray(["b", "c"]))
        assert Npz(path, group="none").load().manifest.ids[0] == "train/00000"

    def test_without_splits(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", images=self.IMAGES, labels=self.LABELS)
        data = Npz(tmp_path / "x.npz", group="none", holdout={"test": 0.34}).load()
        assert Counter(data.manifest.splits) == {"pool": 4, "test": 2} and data.manifest.ids[0] == "image/00000"

    def test_unlabeled(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", train_images=self.IMAGES)
        data = Npz(tmp_path / "x.npz", group="none").load()
        assert data.classes == () and set(data.truth.tolist()) == {-1}

    def test_float_images(self, tmp_path: Path) -> None:
        path = self.save(tmp_path / "x.npz", train_images=self.IMAGES.astype(np.float64))
        with pytest.raises(UnreadableImages, match=r"train_images#0: .*data.window"):
            Npz(path, group="none").load()
        assert Npz(path, group="none", window=(0, 96)).load().read(5).dtype == np.float32
        skipping = Npz(path, group="none", on_error="skip")
        with pytest.raises(InputError, match="at least one pool sample"):
            skipping.load()

    @pytest.mark.parametrize(
        ("more", "match"),
        [
            ({"train_labels": np.zeros(5, dtype=int)}, "one entry for each of the 6 images"),
            ({"train_labels": np.zeros((6, 3), dtype=int)}, "one entry for each of the 6 images"),
            (
                {"train_labels": np.asarray([0, 1, 0.5, 0, 1, 0])},
                "00002: expected a class below 2, or -1, got 0.5",
            ),
            (
                {"train_labels": np.zeros((6, 14), dtype=int)},
                r"with data.multilabel: true.* \(6, 14\)",
            ),
            ({"train_labels": np.asarray([0, 1, np.nan] * 2)}, r"label of train/00002: .*data.unknown: \[nan\].* nan$"),
            (
                {"train_labels": np.asarray(["a", "NA", "b"] * 2)},
                r"train/00001: .*'NA', which looks like a missing",
            ),
            ({"train_labels": np.asarray([0, 1, 2, 0, 1, -2])}, "label of train/00005"),
            ({"train_labels": np.asarray([0, 1, 3, 0, 1, 0])}, r"at least one sample of class 2"),
            ({"train_labels": np.asarray([0, 1, None] * 2, dtype=object)}, "plain numbers or text"),
            ({"train_images": np.zeros((6, 4, 4, 4), dtype=np.uint8)}, "shape"),
            ({"train_images": np.zeros((6, 16), dtype=np.uint8)}, "shape"),
            ({"train_images": None, "val_images": None}, "images under train_images or images"),
        ],
    )
    def test_wrong_arrays(self, tmp_path: Path, more: dict[str, Any], match: str) -> None:
        with pytest.raises(InputError, match=match):
            Npz(self.save(tmp_path / "x.npz", **more), group="none").load()

    def test_a_label_outside_the_classes_names_its_sample(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"label of train/00001: expected a class below 1, or -1, got 1"):
            Npz(self.save(tmp_path / "x.npz"), group="none", classes=1).load()

    @pytest.mark.parametrize("packed", [True, False])
    def test_images_are_read_one_by_one_in_any_order(self, tmp_path: Path, packed: bool) -> None:
        many = np.random.default_rng(0).integers(0, 256, (4_000, 16, 16, 3), dtype=np.uint8)
        (np.savez_compressed if packed else np.savez)(tmp_path / "x.npz", images=many, labels=np.arange(4_000) % 2)
        tracemalloc.start()
        try:
            data = Npz(tmp_path / "x.npz", group="none").load()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < many.nbytes * 1.7  # manifest and strings; the images twice would be more
        for i in (3, 4, 2, 3_999, 0):
            assert np.array_equal(data.read(i), many[i])

    def test_columns_before_rows_are_read_all_the_same(self, tmp_path: Path) -> None:
        turned = np.asfortranarray(self.IMAGES)
        np.savez(tmp_path / "x.npz", images=turned, labels=np.arange(len(turned)) % 2)
        data = Npz(tmp_path / "x.npz", group="none").load()
        assert np.array_equal(data.read(1), turned[1].reshape(data.read(1).shape))

    def test_labels_of_any_type(self, tmp_path: Path) -> None:
        names, empty = np.asarray(["ill", "well", "", "ill", "well", "ill"]), self.IMAGES[:0]
        words = self.save(
            tmp_path / "w.npz", train_labels=names, val_images=empty, val_labels=np.asarray([], dtype=int)
        )
        data = Npz(words, group="none").load()
        assert data.classes == ("ill", "well") and data.truth.tolist() == [0, 1, -1, 0, 1, 0]
        assert Npz(words, group="none", classes=("well", "ill")).load().truth.tolist() == [1, 0, -1, 1, 0, 1]
        numbers = self.save(tmp_path / "n.npz", train_labels=np.asarray([[0.0], [1], [np.nan], [9], [-1], [1]]))
        data = Npz(numbers, group="none", unknown=["nan", 9]).load()
        assert data.classes == ("0", "1") and data.truth.tolist() == [0, 1, -1, -1, -1, 1, 0, 1]

    def test_several_labels_of_floats(self, tmp_path: Path) -> None:
        rows = np.asarray([[0.0, 1], [1, np.nan], [-1, 0]])
        np.savez(tmp_path / "x.npz", images=self.IMAGES[:3], labels=rows)
        with pytest.raises(InputError, match=r"labels of image 1: expected 0, 1 or -1 .*got \[1\.0, nan\]"):
            Npz(tmp_path / "x.npz", group="none", multilabel=True).load()
        labels = Npz(tmp_path / "x.npz", group="none", multilabel=True, unknown=["nan"]).load().labels
        assert labels is not None and labels.tolist() == [[0, 1], [1, -1], [-1, 0]]

    def test_damaged_files(self, tmp_path: Path) -> None:
        whole = self.save(tmp_path / "x.npz").read_bytes()
        for length in (0, 10, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.npz").write_bytes(whole[:length])
            with pytest.raises(InputError, match="a whole NPZ file"):
                Npz(tmp_path / "cut.npz", group="none").load()
        place = whole.index(self.IMAGES.tobytes())
        (tmp_path / "bad.npz").write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        with pytest.raises(InputError, match="a whole array"):
            Npz(tmp_path / "bad.npz", group="none").load()
        with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
            archive.writestr("train_images.npy", "no array")
        with pytest.raises(InputError, match="train_images"):
            Npz(tmp_path / "text.npz", group="none").load()
        with pytest.raises(InputError, match="nothing there"):
            Npz(tmp_path / "no.npz", group="none").load()


class TestMedMnist:
    INFO: ClassVar = {"tinymnist": {"python_class": "TinyMNIST", "label": {"0": "normal", "1": "ill"}}}

    def save(self, folder: Path, name: str) -> Path:
        np.savez(folder / name, train_images=TestNpz.IMAGES, train_labels=TestNpz.LABELS)
        return folder

    def test_local_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(medmnist_module, "_package_info", lambda: self.INFO)
        self.save(tmp_path, "tinymnist.npz")
        for root in (tmp_path, tmp_path / "tinymnist.npz"):
            data = MedMnist("tinymnist", root=root).load()
            assert data.classes == ("normal", "ill") and len(data.manifest) == 6
        with pytest.raises(UnknownName, match="did you mean 'tinymnist'"):
            MedMnist("tinimnist", root=tmp_path).load()

    def test_larger_images_have_files_of_their_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(medmnist_module, "_package_info", lambda: None)
        self.save(tmp_path, "tinymnist_64.npz")
        assert MedMnist("tinymnist", size=64, root=tmp_path).load().classes == ("0", "1")
        with pytest.raises(InputError, match=r"pip install 'hybrid-al\[medmnist\]'"):
            MedMnist("tinymnist", root=tmp_path).load()
        with pytest.raises(InputError, match="28, 64, 128, 224"):
            MedMnist("tinymnist", size=32, root=tmp_path).load()
        with pytest.raises(InputError, match="nothing there"):
            MedMnist("tinymnist", root=tmp_path / "other.npz").load()
