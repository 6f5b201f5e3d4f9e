"""The contract of every format: a query goes out, is answered as the tool does, comes back, and its labels are true.

The answers are played from the files that were written, by code that knows the tool and not the writer.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image

from hybrid_al.api import query
from hybrid_al.api.answers import take
from hybrid_al.assemble import Project
from hybrid_al.core.types import Annotation
from hybrid_al.data.answers import file_name
from hybrid_al.data.readers.volumes import Volumes
from hybrid_al.errors import InputError
from hybrid_al.oracles.formats import FORMATS
from hybrid_al.oracles.formats.base import Proposal
from tests.helpers.exchange import MASKS, RECIPES, dicom_recipe, opened, same, truths
from tests.helpers.players import PLAYERS, accept
from tests.helpers.tiny import SIZE

PAIRS = [(name, kind) for name, one in FORMATS.items() for kind in one.KINDS]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """(format, kind) -> a recipe whose data the format can hold."""
    dicom = functools.cache(lambda: dicom_recipe(tmp_path_factory.mktemp("dicom")))
    return lambda name, kind: dicom() if name == "dicom_seg" else RECIPES[kind]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, recipe: Any) -> Simulated:
    """(format, kind) -> a run whose answers are known, and the answers."""

    @functools.cache
    def answer(dicom: str, kind: str) -> tuple[Project, tuple[Annotation, ...]]:
        folder = tmp_path_factory.mktemp("simulated") / "run"
        project, oracle, picks = opened(folder, kind, "simulated", recipe(dicom, kind))
        return project, oracle.annotate(picks, 0)

    return lambda name, kind: answer(name if name == "dicom_seg" else "", kind)


Simulated = Callable[[str, str], tuple[Project, tuple[Annotation, ...]]]


def test_every_format_is_played() -> None:
    assert set(PLAYERS) == set(FORMATS)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_is_said_in_a_tool_is_what_a_simulated_oracle_says(
    tmp_path: Path, name: str, kind: str, simulated: Simulated, recipe: Any
) -> None:
    truth, expected = simulated(name, kind)
    people, oracle, picks = opened(tmp_path / "people", kind, "worklist", recipe(name, kind))
    readme, count = query.write(people.run.path, format=name, out=tmp_path / "out")
    assert count == 4 and "hybrid-al labels" in readme.read_text(encoding="utf-8")
    file = PLAYERS[name](tmp_path / "out", truths(truth, expected), kind)
    assert take(people.run.path, file, "ann", empty=True) == (4, 0)
    same(truth, expected, people, oracle.annotate(picks, 0))


@pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for n, k in PAIRS if k in query.PROPOSED and n not in ("csv", "folder")]
)
def test_proposals_that_are_accepted_are_the_labels(
    tmp_path: Path, name: str, kind: str, simulated: Simulated, recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, expected = simulated(name, kind)
    people, oracle, picks = opened(tmp_path / "people", kind, "worklist", recipe(name, kind))
    proposals = {
        t.index: Proposal(
            t.words,
            t.labels,
            tuple((t.classes[c], (x0, y0, x1, y1)) for c, y0, x0, y1, x1 in t.boxes.tolist())
            if t.boxes is not None
            else (),
            0.5,
        )
        for t in truths(truth, expected)
    }
    monkeypatch.setattr(query, "_proposals", lambda *_: proposals)
    query.write(people.run.path, format=name, out=tmp_path / "out")
    assert take(people.run.path, accept(name, tmp_path / "out"), "ann", empty=True) == (4, 0)
    same(truth, expected, people, oracle.annotate(picks, 0))


def test_an_unknown_format_and_one_that_cannot_hold_the_answers(tmp_path: Path) -> None:
    people, _, _ = opened(tmp_path / "people", "class", "worklist")
    with pytest.raises(InputError, match="did you mean 'label_studio'"):
        query.write(people.run.path, format="label-studio", out=tmp_path / "out")
    with pytest.raises(InputError, match="holds classes, as this run asks for: csv, label_studio, cvat, got coco"):
        query.write(people.run.path, format="coco", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_volume(file: Path, values: Any, affine: Any) -> None:
    if file.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values, affine), file)
        return
    in_lps = np.diag([-1, -1, 1, 1]) @ affine
    place = {"space directions": in_lps[:3, :3].T, "space origin": in_lps[:3, 3]}
    nrrd.write(str(file), values, {"space": "left-posterior-superior", "kinds": ["domain"] * 3, **place})


@pytest.mark.parametrize("name", ["nifti", "seg_nrrd"])
@pytest.mark.parametrize(
    ("codes", "axis", "end"), [("RAS", "axial", ".nii.gz"), ("PSR", "coronal", ".nrrd"), ("IAL", "sagittal", ".nhdr")]
)
def test_slices_of_volumes_that_lie_in_any_way(tmp_path: Path, name: str, codes: str, axis: str, end: str) -> None:
    rng, shape = np.random.default_rng(0), (6, 7, 5)
    turn = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(codes), shape)
    affine = np.linalg.inv(turn) @ np.diag([2.0, 2.0, 2.0, 1.0])
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(4):
        mask = (rng.random(shape) < 0.4).astype(np.uint8) * 2
        nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "labels" / f"v{i}.nii.gz")
        write_volume(tmp_path / "images" / f"v{i}{end}", rng.normal(size=shape).astype(np.float32), affine)
    data = {
        "source": "nifti", "root": str(tmp_path / "images"), "masks": str(tmp_path / "labels"), "group": "none",
        "axis": axis, "image_size": SIZE, "classes": ["background", "thing"], "holdout": {"test": 0.25},
        "mask_values": {0: "background", 2: "thing", 7: "ignore"},
    }  # fmt: skip
    plain = {**MASKS, "data": data}
    truth, oracle, picks = opened(tmp_path / "truth", "mask", "simulated", plain)
    expected = oracle.annotate(picks, 0)
    people, oracle, _ = opened(tmp_path / "people", "mask", "worklist", plain)
    query.write(people.run.path, format=name, out=tmp_path / "out")
    with (tmp_path / "out" / "slices.csv").open(encoding="utf-8") as lines:
        assert {row["id"] for row in csv.DictReader(lines)} == {truth.dataset.manifest.ids[i] for i in picks.tolist()}
    (tmp_path / "back").mkdir()
    for file in (tmp_path / "out" / "images").iterdir():
        drawn = nibabel.load(tmp_path / "labels" / f"{file.name.split('-')[0]}.nii.gz")
        voxels = np.asarray(drawn.dataobj)
        stem = file.name.split(".")[0]
        assert Volumes().probe(file).planes
        if name == "nifti":
            mask = nibabel.Nifti1Image(voxels.astype(np.int16), drawn.affine)
            nibabel.save(mask, tmp_path / "back" / f"{stem}.nii.gz")
            continue
        start, header = nrrd.read(str(tmp_path / "out" / "start" / f"{stem}.seg.nrrd"))
        assert start.shape == shape and header["Segment0_Name"] == "thing"
        nrrd.write(str(tmp_path / "back" / f"{stem}.seg.nrrd"), voxels // 2, header)
    said: list[str] = []
    assert take(people.run.path, tmp_path / "back", "ann", empty=True, say=said.append) == (4, 0)
    assert all("nobody asked about are not read" in line for line in said)
    same(truth, expected, people, oracle.annotate(picks, 0))


def test_masks_by_the_names_of_the_run_are_read_by_its_inbox(tmp_path: Path, simulated: Simulated) -> None:
    truth, expected = simulated("nifti", "mask")
    people, oracle, picks = opened(tmp_path / "people", "mask", "worklist")
    (tmp_path / "masks").mkdir()
    for one in truths(truth, expected):
        file = tmp_path / "masks" / file_name(one.index).replace(".png", ".tif")
        Image.fromarray(one.labels).save(file)
    assert take(people.run.path, tmp_path / "masks", "ann") == (4, 0)
    same(truth, expected, people, oracle.annotate(picks, 0))
