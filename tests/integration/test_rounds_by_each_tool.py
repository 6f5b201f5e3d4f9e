"""Two rounds of real images by each tool: the labels, and so the picks, are those of a simulated oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hybrid_al.api import query
from hybrid_al.api.answers import take
from hybrid_al.assemble import Project
from hybrid_al.core.rundir import RunDir
from hybrid_al.errors import AwaitingLabels
from hybrid_al.oracles.formats import FORMATS
from tests.helpers.dicom_files import write_image
from tests.helpers.exchange import same, truths
from tests.helpers.played import play
from tests.helpers.players import PLAYERS
from tests.helpers.tiny import SIZE, recipe_of

NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "dsb2018_nuclei"
COUNT = 14

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NUCLEI.is_dir(), reason=f"{NUCLEI} is not here"),
]


def small(file: Path, how: Image.Resampling) -> Any:
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE), how))


def data_of(name: str, root: Path) -> dict[str, Any]:
    """Images of nuclei as the format has them: in DICOM files, in folders of two classes, or beside their masks."""
    kind = {"csv": "classes", "dicom_seg": "dicom"}.get(name, "masks")
    (root / "masks").mkdir(parents=True)
    for i, file in enumerate(sorted((NUCLEI / "images").glob("*.png"))[:COUNT]):
        pixels = small(file, Image.Resampling.BILINEAR)
        mask = (small(NUCLEI / "masks" / file.name, Image.Resampling.NEAREST) > 0).astype(np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"{i:02d}.png")
        if kind == "dicom":
            write_image(
                root / "images" / f"{i:02d}.dcm",
                pixels.astype(np.int16),
                f"1.2.3.{i // 5}",
                float(i),
                patient=f"{i // 5}",
            )
            continue
        folder = root / "images" / (("few", "many")[int(mask.mean() > 0.12)] if kind == "classes" else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    data: dict[str, Any] = {"root": str(root / "images"), "image_size": SIZE, "holdout": {"test": 0.34}}
    if kind == "classes":
        return {**data, "source": "folder", "group": "none"}
    masks = {"masks": str(root / "masks"), "classes": ["background", "nucleus"]}
    return {**data, **masks, **({"source": "dicom"} if kind == "dicom" else {"source": "folder", "group": "none"})}


@pytest.mark.parametrize("name", FORMATS)
def test_two_rounds(name: str, tmp_path: Path) -> None:
    plain = {
        **recipe_of("classification" if name == "csv" else "segmentation"),
        "data": data_of(name, tmp_path / "data"),
    }
    kind, run, truth = "class" if name == "csv" else "mask", tmp_path / "run", play(tmp_path / "simulated", plain)
    for r in range(2):
        with pytest.raises(AwaitingLabels):
            play(run, {**plain, "oracle": "worklist"})
        assert RunDir(run).query_ids(r) == truth.run.query_ids(r)
        folder = tmp_path / f"out-{r}"
        query.write(run, format=name, out=folder)
        said = truths(truth, answers(truth, r))
        assert take(run, PLAYERS[name](folder, said, kind), "ann", empty=True) == (len(said), 0)
    people = play(run, {**plain, "oracle": "worklist"})
    for r in range(2):
        same(truth, answers(truth, r), people, answers(people, r))


def answers(project: Project, r: int) -> tuple[Any, ...]:
    """What the query of a round was answered with."""
    labels = project.run.labels(len(project.dataset.manifest)).current
    return tuple(labels[project.dataset.manifest.position[i]] for i in project.run.query_ids(r) or ())
