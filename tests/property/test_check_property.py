"""`check` is the gate: what it passes runs, and what it refuses is refused by `run` with the same line."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hybrid_al.api.runs import run
from hybrid_al.api.session import project_of
from hybrid_al.errors import AwaitingLabels, HybridALError
from hybrid_al.recipe import load

Faults = tuple[tuple[str, Any], ...]
SIDE = 16
PAIRS = 200
LABELS = {
    "two classes": lambda n: np.arange(n) % 2,
    "three classes": lambda n: np.arange(n) % 3,
    "one class": lambda n: np.zeros(n, dtype=np.int64),
    "one positive": lambda n: (np.arange(n) == 0).astype(np.int64),
    "half unknown": lambda n: np.where(np.arange(n) % 4 < 2, -1, np.arange(n) % 2),
    "one known of each": lambda n: np.where(np.arange(n) < 2, np.arange(n) % 2, -1),
    "unknown": None,
}
STARTS: list[Any] = ["random", "stratified", "typiclust", "kmeans", "probcover", {"name": "among", "tissue": 0.2}]
QUERIES: list[Any] = [
    "random",
    "margin",
    "bald",
    "badge",
    "hybrid",
    "pt4al",
    "vat",
    "tod",
    "egl",
    "learning_loss",
    "duc",
]
QUERIES += ["expected_dice", "ripu", "variation_ratio", "tta_entropy", "smi", "discriminative", "schedule"]
QUERIES += [{"name": "hybrid", "batch": {"name": "knapsack"}}, {"name": "among", "strategy": "entropy", "tissue": 0.2}]
PRETRAIN = [{"name": "simclr", "epochs": 1, "batch": 2}, {"name": "rotation", "epochs": 1}]
EMBEDDINGS = [{"use": "probe"}, {"whiten": 2}, {"sets": {"b": {"name": "test_resnet"}}, "use": "b"}]
FAULTS: list[tuple[str, Any]] = [
    *(("loop.budgets", budgets) for budgets in ([4], [3, 3], [9, 1], [13], [True], ["4"], [], 3)),
    *(("data.holdout", shares) for shares in ({"val": 0.1}, {"test": 0.9}, {"tst": 0.1}, {"val": 0.2, "test": 0.3})),
    *(("encoder.weights", weights) for weights in ("gone.pt", 3)),
    *(("pretrain", method) for method in ({"name": "none", "x": 1}, {"name": "simclr", "batch": 1}, "mae")),
    *(("cold_start", start) for start in ("entropy", "pt4al_start", "csval", {"name": "kmeans", "x": 1})),
    *(("calibration", fit) for fit in ({"fit": "val"}, {"fit": "cross", "folds": 2}, {"fit": "cross", "folds": 9})),
    *(("oracle.costs", costs) for costs in ("all", "some", "negative", "gone")),
    ("encoder.name", "resnt"),
    ("learner", "froze"),
    ("oracle.answer", "points"),
    ("embeddings", {"sets": {"b": {"name": "test_resnet", "weights": "gone.pt"}}, "use": "b"}),
    ("embeddings.use", "probe"),
    ("loop.stop", {"enforce": True, "rounds": 1}),
    ("loop.unit", "clicks"),
    ("data.classes", ["a"]),
    ("task", "multilabel"),
    ("task", "segmentation"),
    ("train.prior", 0.5),
    ("train.members", 2),
    ("report.random_runs", 1),
]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, str, dict[str, Any], Faults]:
    """The number of images, their labels, a recipe, and what may be wrong with it."""
    recipe = {
        "name": "pair",
        "data": {"image_size": SIDE, "group": "none", "holdout": draw(st.sampled_from([{}, {"test": 0.25}]))},
        "encoder": {"name": "test_resnet"},
        "pretrain": draw(st.sampled_from(["none"] * 4 + PRETRAIN)),
        "embeddings": draw(st.sampled_from([{}] * 6 + EMBEDDINGS)),
        "learner": draw(st.sampled_from(["linear", "frozen"])),
        "train": {
            "name": draw(st.sampled_from(["supervised", "mean_teacher"])),
            "steps": 2,
            "min_steps": 2,
            "batch": 4,
        },
        "cold_start": draw(st.sampled_from(STARTS)),
        "query": draw(st.sampled_from(QUERIES)),
        "loop": {"budgets": draw(st.sampled_from([[2, 1], [1, 1, 1], [3]]))},
        "oracle": {"name": draw(st.sampled_from(["simulated", "simulated", "worklist"]))},
        "track": {},
    }
    faults = draw(st.sampled_from([0, 0, 1, 1, 2]))
    return (
        draw(st.sampled_from([5, 9, 12])),
        draw(st.sampled_from(["two classes"] * 4 + list(LABELS))),
        recipe,
        tuple(draw(st.sampled_from(FAULTS)) for _ in range(faults)),
    )


def write(
    folder: Path, n: int, labels: str, recipe: dict[str, Any], faults: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    """The recipe of a pair, its data written."""
    arrays: dict[str, Any] = {"images": np.random.default_rng(n).integers(0, 255, (n, SIDE, SIDE), dtype=np.uint8)}
    if (numbers := LABELS[labels]) is not None:
        arrays["labels"] = numbers(n)
    np.savez(folder / "data.npz", **arrays)
    plain = copy.deepcopy(recipe)
    plain["data"] |= {"source": "npz", "root": str(folder / "data.npz")}
    plain = load(plain).plain() if not faults else plain
    for path, value in faults:
        *above, last = path.split(".")
        section = plain
        for key in above:
            section = section.setdefault(key, {})
        section[last] = write_costs(folder, n, value) if path == "oracle.costs" else value
    return plain


def write_costs(folder: Path, n: int, kind: str) -> str:
    """A file of costs: of all images, of some, negative ones, or none."""
    file, rows = folder / "costs.csv", range(n // 2 if kind == "some" else n)
    if kind != "gone":
        file.write_text("id,cost\n" + "".join(f"image/{i:05d},{-1 if kind == 'negative' else 2}\n" for i in rows))
    return str(file)


def refusal(call: Any) -> str:
    """The line of an error; empty where there is none, or where labels are waited for."""
    try:
        call()
    except AwaitingLabels:
        return ""
    except HybridALError as error:
        return str(error)
    return ""


@pytest.mark.slow
@settings(
    deadline=None,
    max_examples=PAIRS,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(pairs())
def test_check_and_run_agree(pair: tuple[int, str, dict[str, Any], Faults]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = write(folder, *pair)
        checked = refusal(lambda: project_of(load(plain), folder / "run", "cpu"))
        played = refusal(lambda: run(plain, run_dir=folder / "run"))
        assert played == checked
