"""A run of people in other tools: the model's proposals of the second round go out in every format, and come back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.api.answers import take
from hybrid_al.api.predictions import predict
from hybrid_al.api.query import write
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import file_name, read_answer
from hybrid_al.errors import AwaitingLabels, InputError
from hybrid_al.oracles.formats import FORMATS
from tests.helpers.command import call
from tests.helpers.played import play
from tests.helpers.players import accept
from tests.helpers.tiny import recipe_of

SIDE = 20  # of images that the network sees as 16 x 16


def recipe(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(14):
        mask = np.zeros((SIDE, SIDE + 4), dtype=np.uint8)
        top, left = rng.integers(0, 10, 2)
        mask[top : top + 9, left : left + 9] = 1
        pixels = (100 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    data = {
        "source": "folder", "root": str(folder / "images"), "masks": str(folder / "masks"), "group": "none",
        "classes": ["background", "<cell> & co"], "image_size": 16, "holdout": {"test": 0.3},
    }  # fmt: skip
    return {**recipe_of("segmentation"), "data": data, "oracle": "worklist"}


@pytest.mark.slow
def test_proposals_that_nobody_changes_are_what_the_model_predicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, run = recipe(tmp_path), tmp_path / "run"
    with pytest.raises(AwaitingLabels):
        play(run, plain)
    assert call("query", run, "--format", "coco", "-o", tmp_path / "images" / "out") == 2
    assert "expected a folder outside the images" in capsys.readouterr().err
    disk = RunDir(run)
    (tmp_path / "first").mkdir()
    for sample in disk.query_ids(0) or ():
        index = disk.manifest().position[sample]
        shutil.copyfile(tmp_path / "masks" / sample, tmp_path / "first" / file_name(index))
    assert call("labels", run, tmp_path / "first", "--annotator", "ann") == 0
    with pytest.raises(AwaitingLabels):
        play(run, plain)
    predict(run, out=tmp_path / "predicted")
    rows = [disk.manifest().position[sample] for sample in disk.query_ids(1) or ()]
    for name, one in FORMATS.items():
        if name in ("csv", "folder", "dicom_seg"):
            continue
        copy = shutil.copytree(run, tmp_path / f"run-{name}")
        assert "mask" in one.KINDS
        assert write(copy, format=name, out=tmp_path / name)[1] == 2
        take(copy, accept(name, tmp_path / name), "ann", empty=True)
        for i in rows:
            (file,) = copy.glob(f"rounds/001/answers/**/{file_name(i)}")
            with Image.open(tmp_path / "predicted" / "masks" / disk.manifest().ids[i]) as image:
                np.testing.assert_array_equal(read_answer(file), np.asarray(image), err_msg=name)
        with pytest.raises(InputError, match="expected a query with images to answer, got one that is answered"):
            write(copy, format=name, out=tmp_path / "again")
