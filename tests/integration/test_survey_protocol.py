"""The survey's comparison: its three recipes plan it on files that lie as those of its data sets do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.helpers.command import call

TISSUES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
RNG = np.random.default_rng(0)


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)


def tissue(root: Path) -> str:
    for split, count in (("train", 4), ("test", 1)):
        for name in TISSUES:
            for i in range(count):
                image(root / "NCT-CRC-HE" / split / name / f"{name}-{i}.tif")
    return "NCT-CRC-HE"


def skin(root: Path) -> str:
    lines = ["image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"]
    for i in range(40):
        found = ("benign", "malignant")[i % 5 == 0]
        lines.append(f"ISIC_{i:07d},IP_{i // 2:07d},male,45.0,torso,unknown,{found},{int(i % 5 == 0)}")
        image(root / "jpeg" / f"ISIC_{i:07d}.jpg")
    file = root / "ISIC_2020_Training_GroundTruth.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file.name


def heart(root: Path) -> str:
    lines = ["patient,split"]
    for k, split in enumerate(("pool", "pool", "val", "test")):
        folder = root / "training" / f"patient{k:03d}"
        folder.mkdir(parents=True)
        for ending, top in (("", 200), ("_gt", 4)):
            voxels = RNG.integers(0, top, (16, 16, 6), dtype=np.uint8)
            nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(folder / f"{folder.name}_frame01{ending}.nii.gz")
        lines.append(f"{folder.name},{split}")
    (root / "acdc.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "acdc.csv"


@pytest.mark.parametrize(
    ("make", "budgets", "said"),
    [
        (tissue, "[9, 9]", "pool       36 images, 36 groups; ADI 4, BACK 4"),
        (skin, "[5, 5]", "pool       28 images, 14 groups"),
        (heart, "[6, 6]", "pool       12 images, 2 groups; 12 masks"),
    ],
)
def test_the_data_sets_of_the_survey_are_read_as_they_lie(
    make: Callable[[Path], str],
    budgets: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make(tmp_path)
    small = (f"data.root={root}", f"loop.budgets={budgets}", "data.image_size=16", "encoder.name=resnet10t")
    assert call("check", f"bench_survey_{make.__name__}", *small) == 0
    assert said in capsys.readouterr().out
