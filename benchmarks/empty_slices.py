"""How many picks of a cold start are empty slices of a head, with and without `among`: see docs/segmentation.md.

python benchmarks/empty_slices.py HEAD.nii.gz STRUCTURE.nii.gz OUT [--axis axial] [--noise 0.02] [--tissue 0.05]

HEAD is one volume whose air is exactly 0 (of the package nilearn `mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz`),
STRUCTURE another of the same shape, seen where it is above half of its maximum (its gray matter, `..._gm_...`).
Rician noise, as a share of the largest value, is laid over the head. 20 epochs of SimCLR, ten seeds of the queries.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel
import numpy as np

from hybrid_al.assemble import experiment, open_project
from hybrid_al.core.rng import derive
from hybrid_al.data.readers.volumes import AXES
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import STRATEGIES, Among
from hybrid_al.recipe import parse
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure

EMPTY = 0.01  # share of a slice that is not exactly 0
SEEDS = 10


def slices(path: Path, across: int) -> np.ndarray:
    """Values (Z, ...) of a volume, slice by slice."""
    upright = nibabel.as_closest_canonical(nibabel.Nifti1Image.from_filename(path))
    return np.moveaxis(np.asarray(upright.dataobj, dtype=np.float32), across, 0)


def noisy(path: Path, noise: float, out: Path) -> None:
    """The head under Rician noise, as a folder of one volume."""
    image = nibabel.Nifti1Image.from_filename(path)
    values = np.asarray(image.dataobj, dtype=np.float32)
    real, imaginary = noise * np.random.default_rng(0).normal(size=(2, *values.shape))
    out.mkdir(parents=True, exist_ok=True)
    seen = np.hypot(values / values.max() + real, imaginary).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(seen, image.affine), out / "head.nii.gz")


def main() -> None:
    """Say the numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("head", type=Path)
    parser.add_argument("structure", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--axis", default="axial", choices=list(AXES))
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--tissue", type=float, default=0.05)
    said = parser.parse_args()
    noisy(said.head, said.noise, said.out / "data")
    source = {"source": "nifti", "root": str(said.out / "data"), "group": "none", "axis": said.axis, "image_size": 64}
    plain = {
        "name": "empty-slices",
        "modality": "mr",
        "data": {**source, "classes": ["one", "other"]},
        "pretrain": {"name": "simclr", "epochs": 20},
        "learner": "frozen",
        "cold_start": "among",
        "loop": {"budgets": [10]},
        "oracle": "worklist",
    }
    project = open_project(parse(plain), run_dir=said.out / said.axis)
    ensure(project, Trackers())
    project.claim()
    setup = experiment(project)
    assert setup.tissue is not None
    across = AXES[said.axis][0]
    head, structure = slices(said.head, across), slices(said.structure, across)
    empty = (head > 0).mean(axis=(1, 2)) < EMPTY
    shown = (structure > structure.max() / 2).sum(axis=(1, 2))
    left_out = setup.tissue < said.tissue
    print(f"{len(empty)} slices, {empty.sum()} empty; {left_out.sum()} with less tissue than {said.tissue}, which hold")
    print(f"{shown[left_out].sum() / shown.sum():.1%} of the structure")
    state = QueryState(
        round=0,
        labels=project.run.labels(len(project.dataset.manifest)),
        candidates=setup.task.regions.at(0).indices,
        groups=project.dataset.manifest.group_codes,
        embeddings=setup.embeddings,
        extras={"tissue": setup.tissue},
    )
    for name in ("random", "typiclust", "kcenter", "probcover"):
        for budget in (10, 20):
            picks = [
                [strategy.select(state, budget, derive(seed, "query", 0)).indices for seed in range(SEEDS)]
                for strategy in (STRATEGIES[name](), Among(name, tissue=said.tissue))
            ]
            plain_, kept = (np.mean([empty[p].sum() for p in queries]) for queries in picks)
            print(f"{name}, {budget} picks: {plain_:.1f} empty, {kept:.1f} within among", flush=True)


if __name__ == "__main__":
    main()
