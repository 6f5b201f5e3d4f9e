"""Volumes whose slices are asked about: one image out, one label volume back, an answer about each slice."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import read_answer
from hybrid_al.data.readers.volumes import load_volume
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.page.desk import Desk
from tests.helpers.monai_client import MonaiClient
from tests.helpers.monai_server import monai_server
from tests.helpers.tiny import recipe_of

pytestmark = pytest.mark.slow
SHAPE = (12, 10, 6)
TURNED = np.asarray([[0.0, -2.0, 0, 30], [-1.5, 0, 0, 20], [0, 0, 3, -7], [0, 0, 0, 1]])
"""The affine of a volume whose axes are in another order and turned round."""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MonaiClient]:
    for name in ("volumes", "masks"):
        (tmp_path / name).mkdir()
    for k in range(2):
        voxels = np.random.default_rng(k).normal(400, 60, SHAPE).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, TURNED), tmp_path / "volumes" / f"{k}.nii.gz")
    places = {"root": str(tmp_path / "volumes"), "masks": str(tmp_path / "masks"), "window": [0, 1200]}
    data = {"source": "nifti", **places, "group": "none", "classes": ["background", "ball"], "image_size": 16}
    with monai_server(
        tmp_path / "run", recipe_of("segmentation", data=data, oracle="worklist"), reader="anna"
    ) as client:
        yield client


def volume(labels: np.ndarray, affine: np.ndarray = TURNED) -> bytes:
    return gzip.compress(nib.Nifti1Image(labels, affine).to_bytes())


def test_a_volume_goes_out_and_its_labels_are_parted_into_the_slices_that_were_asked(
    client: MonaiClient, tmp_path: Path
) -> None:
    strategy = next(iter(client.info()["strategies"]))
    _, sample = client.next_sample(strategy)
    image, slices = nib.Nifti1Image.from_bytes(gzip.decompress(client.image(sample["id"]))), sample["slices"]
    original: Any = nib.load(tmp_path / "volumes" / f"{sample['id'][0]}.nii.gz")
    assert np.array_equal(image.dataobj, original.dataobj) and np.allclose(image.affine, TURNED)
    assert sample["name"] == f"{sample['id']}.nii.gz" and slices
    assert slices[0]["millimetres"] == 3 * slices[0]["slice"] - 7 and slices[0]["axis"] == "axial"

    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:7, 3:5, slices[0]["slice"]] = 1
    missed = next(z for z in range(SHAPE[2]) if z not in [one["slice"] for one in slices])
    labels[0, 0, missed] = 1
    code, refusal = client.save(sample["id"], "a.nii.gz", volume(labels))
    assert code == 400 and "areas on the slices that are asked about" in refusal["detail"]
    assert "--asked-only" in refusal["detail"] and Ledger(RunDir(tmp_path / "run")).entries() == []
    labels[0, 0, missed] = 0
    moved = TURNED.copy()
    moved[0, 3] += 0.9
    code, refusal = client.save(sample["id"], "a.nii.gz", volume(labels, moved))
    assert code == 400 and "voxels beside its image" in refusal["detail"]
    assert client.save(sample["id"], "a.png", b"")[0] == 400

    assert client.save(sample["id"], "a.nii.gz", volume(labels)) == (
        200,
        {"image": sample["id"], "label": sample["id"]},
    )
    entries = Ledger(RunDir(tmp_path / "run")).entries()
    assert [entry.sample for entry in entries] == [one["sample"] for one in slices]
    drawn = [read_answer(tmp_path / "run" / entry.text) for entry in entries]
    assert [int(one.sum()) for one in drawn] == [10, *[0] * (len(slices) - 1)]
    code, _, back = client.send("GET", f"/datastore/label?label={sample['id']}&tag=final")
    (file := tmp_path / "back.nrrd").write_bytes(back)
    again = load_volume(file)
    assert code == 200 and np.array_equal(again.dataobj, labels) and np.allclose(again.affine, TURNED)

    assert client.send("DELETE", f"/datastore/label?id={sample['id']}&tag=final")[0] == 200
    assert client.ask("GET", "/datastore/")[1]["completed"] == 0
    desk = Desk(RunDir(tmp_path / "run"), reader="ben", size=lambda _: (10, 12))
    desk.answer({"id": "answer-of-ben", "round": 0, "sample": slices[0]["sample"], "kind": "skip"})
    code, refusal = client.save(sample["id"], "a.nii.gz", volume(labels))
    assert code == 409 and "ben answered about slices" in refusal["detail"]
    assert client.save(sample["id"], "label.json", b'{"label": "skip", "reason": "unsure"}', replace=True)[0] == 200
    assert {e.reason for e in Ledger(RunDir(tmp_path / "run")).entries()[-len(slices) :]} == {"unsure"}
    assert client.ask("GET", "/datastore/?output=all")[1]["objects"][sample["id"]]["image"]["ext"] == ".nii.gz"
