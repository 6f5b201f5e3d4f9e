"""Which embeddings tell melanoma from other lesions (ISIC 2017): networks, sizes, stages, views, training on the pool.

    OMP_NUM_THREADS=1 python benchmarks/encoders.py [--only "lite0 192"] [--test]      # goes on
    python benchmarks/encoders.py --tables                                             # for ENCODERS.md

An arm lays embeddings side by side, by networks of ImageNet weights or trained further without labels, at a size in
pixels, of some stages. Feature maps are pooled once a network, size and view, into `runs/encoders`.

The measure is a balanced logistic regression on columns standardised over the pool: by 5-fold cross-validation in the
pool, and on `DRAWS` random picks of `FEW` labels, each measured on the rest of the pool; of `PENALTIES` the best by the
mean of that same measure, alike for all arms. `--test` adds val and test by the penalties chosen so, of `CHOSEN`. Each
finished arm is added to `encoders/results.csv`; what is in it is not made again.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from hybrid_al.assemble import Project, open_project
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.models.checkpoint import save_weights
from hybrid_al.models.encoder import build_encoder
from hybrid_al.models.pretrained import PRETRAINED
from hybrid_al.recipe import load
from pretrain import stage0
from pretrain.loop import Job, pretrain

HERE = Path(__file__).parent
OUT = HERE / "encoders"
DATA = "../shared/data/isic2017_melanoma/labels.csv"
PIXELS = 256  # those of the images
STAGES = tuple(f"s{i}" for i in range(7))  # the blocks of EfficientNet
ALL = ("s0", "s1", "s2", "s4", "s6", "head")  # what `encoder.pool` takes: the last of each resolution
KINDS = ("mean", "std", "max", "centre")  # the last is the mean over the middle quarter of the places
FEW, DRAWS, PENALTIES = 120, 40, 10.0 ** np.arange(-5.5, -0.9, 0.5)
COLUMNS = ("arm", "metric", "value")

Part = tuple[str, int, tuple[str, ...], tuple[str, ...], tuple[int, ...]]
"""Network, pixels, stages, how a feature map is pooled, and the views (0 to 7: turns and mirror images), averaged."""


def part(net: str, size: int, stages: tuple[str, ...] = ("head",), *kinds: str, views: tuple[int, ...] = (0,)) -> Part:
    """With what is left out most often."""
    return net, size, stages, kinds or ("mean",), views


TRAINED: dict[str, tuple[str, int]] = {
    "simclr": ("{name: simclr, epochs: 5, batch: 128, lr: 2.0e-4}", 0),
    "simclr, last stages": ("{name: simclr, epochs: 5, batch: 128, lr: 5.0e-4}", 5),
}
"""lite0 trained further at 96 px: settings of `pretrain`, and how many of the blocks before are kept as they are."""

ARMS: dict[str, tuple[Part, ...]] = {
    **{f"lite0 {size}": (part("lite0", size),) for size in (96, 128, 192, 224, 256)},
    **{f"lite0 {size}, stages": (part("lite0", size, ALL),) for size in (96, 128, 192, 224, 256)},
    **{
        f"lite0 {size}, centre": (part("lite0", size, ALL), part("lite0", size, ALL[:-1], "centre"))
        for size in (192, 224)
    },
    **{f"lite0 128, {stage} alone": (part("lite0", 128, (stage,)),) for stage in ("s4", "s5", "s6")},
    "lite0 192, all blocks": (part("lite0", 192, (*STAGES, "head")),),
    "lite0 192, stages, mean and std": (part("lite0", 192, ALL, "mean", "std"),),
    "lite0 192, stages, mean, std and max": (part("lite0", 192, ALL, "mean", "std", "max"),),
    "lite0 192, stages, mean and centre": (part("lite0", 192, ALL, "mean", "centre"),),
    "lite0 192, stages, two views": (part("lite0", 192, ALL, views=(0, 4)),),
    "lite0 96 + 192, stages": (part("lite0", 96, ALL), part("lite0", 192, ALL)),
    "lite0 128 + 224, stages": (part("lite0", 128, ALL), part("lite0", 224, ALL)),
    "lite2 192": (part("lite2", 192),),
    "lite2 192, stages": (part("lite2", 192, ALL),),
    "lite0 + lite2 192, stages": (part("lite0", 192, ALL), part("lite2", 192, ALL)),
    **{f"lite0 96 by {name}": (part(f"lite0 by {name}", 96),) for name in TRAINED},
    **{f"lite0 96 by {name}, stages": (part(f"lite0 by {name}", 96, ALL),) for name in TRAINED},
    "lite0 192 by simclr, last stages, stages": (part("lite0 by simclr, last stages", 192, ALL),),
    "lite0 192 by simclr, last stages, centre": (
        part("lite0 by simclr, last stages", 192, ALL),
        part("lite0 by simclr, last stages", 192, ALL[:-1], "centre"),
    ),
}
CHOSEN = ("lite0 96", "lite0 192, stages", "lite0 224, stages", "lite0 192, centre", "lite0 224, centre")
"""Arms whose test is looked at."""


def main() -> None:
    """Measure what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="arms by name; all otherwise")
    parser.add_argument("--runs", type=Path, default=Path("runs/encoders"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--tables", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.tables:
        print("\n".join(table(read(args.out / "results.csv"))))
        return
    for arm in args.only or (CHOSEN if args.test else ARMS):
        done = read(args.out / "results.csv").get(arm, {})
        if ("test" if args.test else "pool") in done:
            continue
        project = opened(args.runs, PIXELS)
        vectors = np.concatenate([features(p, args.runs, project) for p in ARMS[arm]], axis=1)
        found = tested(project, vectors, done) if args.test else measured(project, vectors)
        add(args.out / "results.csv", arm, found)
        print(arm, *(f"{name} {value:.4g}" for name, value in found.items()), flush=True)


def opened(runs: Path, size: int) -> Project:
    """The recipe's data at a size."""
    recipe = load("dermoscopy", [f"data.root={DATA}", f"data.image_size={size}", "track.wandb.mode=off"])
    return open_project(recipe, run_dir=runs / "look")


def features(what: Part, runs: Path, project: Project) -> FloatArray:
    """The columns of a part (N, D)."""
    net, size, stages, kinds, views = what
    columns = []
    for view in views:
        maps = pooled(net, size, view, runs, project, kinds)
        columns.append([maps[f"{stage}/{kind}"] for stage in stages for kind in kinds])
    return np.mean([np.concatenate(c, axis=1, dtype=np.float32) for c in columns], axis=0, dtype=np.float32)


def pooled(
    net: str, size: int, view: int, runs: Path, project: Project, kinds: tuple[str, ...]
) -> Mapping[str, FloatArray]:
    """`stage/kind` -> (N, C) of every feature map."""
    path = runs / f"{re.sub('[ ,]+', '-', net)}-{size}-{view}.npz"
    if path.is_file() and all(f"s0/{kind}" in np.load(path) for kind in kinds):
        return cast(Mapping[str, FloatArray], np.load(path))
    backbone, maps = network(net, runs), dict[str, list[Tensor]]()
    modules = {f"s{i}": block for i, block in enumerate(cast(nn.Sequential, backbone.blocks))}
    for name, module in {**modules, "head": cast(nn.Module, backbone.bn2)}.items():
        module.register_forward_hook(lambda _module, _inputs, out, name=name: _pool(out, name, maps))
    store, step = project.store(), max(8, min(64, 2**18 // size**2))
    for start in range(0, len(store), step):
        images = store.batch(np.arange(start, min(len(store), start + step)))
        if size != PIXELS:
            images = nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
        images = torch.rot90(images.flip(-1) if view >= 4 else images, view % 4, (-2, -1))
        with torch.no_grad():
            backbone(((images - 0.5) / 0.5).contiguous(memory_format=torch.channels_last))
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: torch.cat(blocks).numpy() for name, blocks in maps.items()}
    np.savez(path, **arrays)
    return arrays


def _pool(images: Tensor, stage: str, maps: dict[str, list[Tensor]]) -> None:
    high, wide = (side // 4 for side in images.shape[-2:])
    centre = images[..., high : images.shape[-2] - high, wide : images.shape[-1] - wide]
    values = images.mean((2, 3)), images.std((2, 3)), images.amax((2, 3)), centre.mean((2, 3))
    for kind, value in zip(KINDS, values, strict=True):
        maps.setdefault(f"{stage}/{kind}", []).append(value.half())


def network(net: str, runs: Path) -> nn.Module:
    """A backbone with ImageNet weights, or trained further."""
    name, _, training = net.partition(" by ")
    weights = trained(training, runs) if training else PRETRAINED
    encoder = build_encoder(f"tf_efficientnet_{name}", channels=3, image_size=64, seed=0, weights=weights)
    return encoder.backbone.eval()


def trained(name: str, runs: Path) -> Path:
    """The weights of lite0 after a training of `TRAINED`."""
    path = runs / re.sub("[ ,]+", "-", name) / "encoder.safetensors"
    if path.is_file():
        return path
    settings, kept = TRAINED[name]
    start = "encoder={name: tf_efficientnet_lite0, weights: pretrained}"
    project = opened(runs, 96)
    project = open_project(
        load(
            "dermoscopy",
            [f"data.root={DATA}", "data.image_size=96", start, f"pretrain={settings}", "track.wandb.mode=off"],
        ),
        run_dir=path.parent,
    )
    method, encoder = stage0.check(project.recipe), stage0.start(project)
    assert method is not None
    for module in [cast(nn.Module, encoder.backbone.conv_stem), cast(nn.Module, encoder.backbone.bn1)] if kept else []:
        module.requires_grad_(False)
    for block in cast(nn.Sequential, encoder.backbone.blocks)[:kept]:
        block.requires_grad_(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    pool, views = project.dataset.manifest.indices("pool"), project.views().pretrain
    job = Job(method, encoder, project.store(), pool, views, 0, project.device, path.parent / "resume.pt")
    pretrain(job, log=lambda numbers, step: print(step, dict(numbers), flush=True), progress=lambda *_: None)
    save_weights(path, encoder.state_dict())
    return path


def measured(project: Project, vectors: FloatArray) -> dict[str, float]:
    """AUROC with all labels of the pool, in folds, and with few, on the rest of it."""
    pool, truth = project.dataset.manifest.indices("pool"), project.dataset.truth
    vectors = standardised(vectors, pool)
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(pool, truth[pool])
    whole = np.mean([aurocs(vectors, truth, pool[a], pool[b]) for a, b in folds], axis=0)
    few = np.array([aurocs(vectors, truth, rows[:FEW], rows[FEW:]) for rows in draws(pool)])
    best, best_few = int(whole.argmax()), int(few.mean(axis=0).argmax())
    return {
        "pool": whole[best],
        "C": PENALTIES[best],
        f"pool@{FEW}": few[:, best_few].mean(),
        f"sd@{FEW}": few[:, best_few].std(),
        f"C@{FEW}": PENALTIES[best_few],
        "columns": vectors.shape[1],
    }


def tested(project: Project, vectors: FloatArray, chosen: Mapping[str, float]) -> dict[str, float]:
    """AUROC on val and test by the penalties that the pool chose."""
    manifest, truth = project.dataset.manifest, project.dataset.truth
    pool = manifest.indices("pool")
    vectors, found = standardised(vectors, pool), {}
    for name in ("val", "test"):
        rows = manifest.indices(name)
        found[name] = aurocs(vectors, truth, pool, rows, np.array([chosen["C"]]))[0]
        few = [aurocs(vectors, truth, own[:FEW], rows, np.array([chosen[f"C@{FEW}"]]))[0] for own in draws(pool)]
        found[f"{name}@{FEW}"] = float(np.mean(few))
    return found


def draws(pool: IntArray) -> Iterator[IntArray]:
    """The pool in random orders."""
    for seed in range(DRAWS):
        yield np.random.default_rng(1000 + seed).permutation(pool)


def standardised(vectors: FloatArray, pool: IntArray) -> FloatArray:
    """Columns of mean 0 and deviation 1 over the pool, without those that do not vary."""
    mean, std = vectors[pool].mean(axis=0), vectors[pool].std(axis=0)
    vary = std > 1e-6
    scaled: FloatArray = (vectors[:, vary] - mean[vary]) / std[vary]
    return scaled


def aurocs(
    vectors: FloatArray, truth: IntArray, fitted: IntArray, rows: IntArray, penalties: FloatArray = PENALTIES
) -> list[float]:
    """AUROC on `rows` by fits to `fitted`, one a penalty.

    Where columns are more than fitted rows, in the space of these rows, to which the weights of a ridge penalty belong.
    """
    near = vectors[fitted].astype(np.float64)
    far = vectors[rows].astype(np.float64)
    if near.shape[1] > len(near):
        values, axes = np.linalg.eigh(near @ near.T)
        keep = values > values.max() * 1e-10
        basis = (near.T @ axes[:, keep]) / np.sqrt(values[keep])
        near, far = near @ basis, far @ basis
    scores = []
    for penalty in penalties:
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=500).fit(near, truth[fitted])
        scores.append(float(roc_auc_score(truth[rows], model.decision_function(far))))
    return scores


def read(path: Path) -> dict[str, dict[str, float]]:
    """Arm -> metric -> value, of the CSV; empty where there is none yet."""
    found: dict[str, dict[str, float]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["arm"], {})[row["metric"]] = float(row["value"])
    return found


def add(path: Path, arm: str, found: Mapping[str, float]) -> None:
    """Append an arm in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "" if path.is_file() else ",".join(COLUMNS) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(head + "".join(f'"{arm}",{name},{value:.6g}\n' for name, value in found.items()))


def table(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Markdown."""
    heads = "pool", f"pool@{FEW}", "val", f"val@{FEW}", "test", f"test@{FEW}"
    yield f"| embeddings | columns | {' | '.join(heads)} |"
    yield "| --- " * (len(heads) + 2) + "|"
    for arm in (name for name in ARMS if name in found):
        values = [f"{found[arm][head]:.3f}" if head in found[arm] else "" for head in heads]
        yield f"| {arm} | {found[arm]['columns']:.0f} | {' | '.join(values)} |"


if __name__ == "__main__":
    main()
