"""Our own code beside the library that could take its place, on the same inputs: `docs/adr/0004-dependencies.md`.

OMP_NUM_THREADS=1 python benchmarks/libraries.py [NAME ...]
MONAI takes part where it is: pip install --no-deps --target DIR monai; PYTHONPATH=DIR
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from hybrid_al.core.types import BoolArray, FloatArray


def fastest(call: Callable[[], object], times: int = 5) -> float:
    """Milliseconds of the processor that the fastest of some calls takes, after one that does not count."""
    call()
    taken = []
    for _ in range(times):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return 1000 * min(taken)


def compare(
    what: str, own: Callable[[], object], library: Callable[[], object], more: str = "", times: int = 5
) -> None:
    """Say how long both take."""
    ours, theirs = fastest(own, times), fastest(library, times)
    print(f"  {what}: ours {ours:.3g} ms, library {theirs:.3g} ms, {theirs / ours:.2g} times; {more}")


def imports(statement: str) -> str:
    """Seconds of an import in a process of its own, the faster of two."""
    code = f"import time; a = time.perf_counter(); {statement}; print(time.perf_counter() - a)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False) for _ in range(2)]
    return f"{statement}: {min(float(r.stdout) for r in runs):.2f} s" if not runs[0].returncode else "not here"


def folds() -> None:
    """`core.labels.stratified_folds` and StratifiedKFold: labels of a class a fold, and how often it refuses."""
    from sklearn.model_selection import StratifiedKFold

    from hybrid_al.core.labels import stratified_folds

    rng, differ = np.random.default_rng(0), 0
    refused = dict.fromkeys((5, 10, 20, 40), 0)
    for labels, draw in ((n, d) for n in refused for d in range(200)):
        y = rng.choice(8, labels, p=np.arange(8, 0, -1) / 36)
        both = [stratified_folds(y, 5, np.random.default_rng(draw)), np.empty(labels, dtype=np.int64)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for f, (_, held) in enumerate(StratifiedKFold(5, shuffle=True, random_state=draw).split(y, y)):
                    both[1][held] = f
        except ValueError:
            refused[labels] += 1
            continue
        first, second = (np.sort([[np.sum(fold[y == c] == f) for f in range(5)] for c in range(8)]) for fold in both)
        differ += bool((first != second).any())
    print(
        f"  labels: refusals in 200 draws from 8 classes into 5 folds: {refused}; otherwise {differ} are less balanced"
    )
    y = rng.integers(8, size=500)
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    compare("500 labels", lambda: stratified_folds(y, 5, np.random.default_rng(0)), lambda: list(split.split(y, y)))


def temperatures() -> None:
    """Temperature scaling and that of scikit-learn (1.8 on)."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression

    from hybrid_al.metrics.calibration import temperature_scaling

    rng, model = np.random.default_rng(0), LogisticRegression().fit(np.eye(5), np.arange(5))
    model.coef_, model.intercept_ = np.eye(5), np.zeros(5)  # logits in, logits out

    def library(x: FloatArray, y: FloatArray) -> float:
        made = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x, y)
        return float(made.calibrated_classifiers_[0].calibrators[0].beta_)

    for n, wrong in ((200, 0.2), (25, 0.0), (10, 0.0)):
        x, y = rng.normal(size=(n, 5)), np.arange(n) % 5
        x[np.arange(n), y] += 5.0
        y = np.where(rng.random(n) < wrong, rng.integers(5, size=n), y)
        ours = [1 / float(temperature_scaling(x, y, prior=prior).scale[0]) for prior in (0.0, 1.0)]
        try:
            theirs = f"{1 / library(x, y):.3g}"
        except ValueError as error:
            theirs = f"an error: {error}"
        print(f"  {n} labels, {wrong:.0%} wrong: ours {ours[1]:.3g}, without its prior {ours[0]:.3g}, library {theirs}")


def averages() -> None:
    """The teacher's average: ours, torch's AveragedModel and timm's ModelEmaV3."""
    import timm
    from timm.utils.model_ema import ModelEmaV3
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from hybrid_al.semi.ema import averaging, make_teacher

    networks = {name: timm.create_model(name, num_classes=0) for name in ("resnet10t", "vit_tiny_patch16_224")}
    for name, student in {"a head of 512 x 8": torch.nn.Linear(512, 8), **networks}.items():
        update = averaging(make_teacher(student), student, decay=0.98)
        swa = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True)
        ema = ModelEmaV3(student, decay=0.98)
        compare(f"{name}, torch", lambda: update(99), lambda: swa.update_parameters(student), times=300)  # noqa: B023
        compare(f"{name}, timm", lambda: update(99), lambda: ema.update(student), times=300)  # noqa: B023


def structures(size: int, dims: int) -> tuple[BoolArray, BoolArray]:
    """Two masks of a few smooth structures."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    fields = [gaussian_filter(rng.normal(size=(size,) * dims), size / 16) for _ in range(2)]
    return fields[0] > fields[0].std() * 0.8, fields[1] > fields[1].std() * 0.8


def surfaces() -> None:
    """Dice and hd95: ours, scikit-learn, torchmetrics, MONAI where it is."""
    from sklearn.metrics import f1_score
    from torchmetrics.functional.segmentation import dice_score, hausdorff_distance

    from hybrid_al.metrics.segmentation import dice, hd95

    for statement in ("import scipy.ndimage", "import torchmetrics.functional.segmentation", "import monai.metrics"):
        print(f"  {imports(statement)}")
    for size, dims in ((224, 2), (96, 3)):
        (a, b), spacing = structures(size, dims), [1.0, 0.8, 0.8][:dims]
        ta, tb = (torch.from_numpy(mask)[None, None].int() for mask in (a, b))
        f1, score = (lambda: f1_score(a.ravel(), b.ravel())), (lambda: dice_score(ta, tb, 1).item())  # noqa: B023
        for name, library in (("scikit-learn's f1_score", f1), ("torchmetrics", score)):
            compare(f"{dims}-D, dice, {name}", lambda: dice(a, b), library, f"{abs(dice(a, b) - library()):.1e} apart")  # noqa: B023
        own = lambda: hd95(a, b, spacing)  # noqa: B023, E731
        if dims == 2:
            whole = lambda: hausdorff_distance(ta, tb, 1, include_background=True, spacing=spacing)  # noqa: B023, E731
            compare("2-D, Hausdorff without percentile, torchmetrics", own, whole, times=1)
        try:
            from monai.metrics import compute_hausdorff_distance
        except ImportError:
            continue
        monai = lambda: compute_hausdorff_distance(ta, tb, include_background=True, percentile=95, spacing=spacing)  # noqa: B023, E731
        compare(f"{dims}-D, hd95, MONAI", own, monai, f"{abs(own() - float(monai())):.1e} apart", times=3)


def contours() -> None:
    """Clicks of polygons: our outlines and scikit-image's, and its polygons of ours."""
    from skimage.measure import approximate_polygon, find_contours

    from hybrid_al.oracles import effort

    print(f"  {imports('from skimage.measure import find_contours')}")
    shapes, known = [*structures(128, 2), *(structures(96, 3)[0])], np.ones((128, 128), dtype=np.bool_)
    lines = [line for shape in shapes for line in effort._lines(shape, known[: len(shape), : len(shape)])]
    for kind in (False, True):
        some = [line for line in lines if bool((line[0] == line[-1]).all()) == kind]
        theirs = [len(approximate_polygon(line, effort.TOLERANCE)) - kind for line in some]
        unlike = sum(effort._vertices(line) != n for line, n in zip(some, theirs, strict=True))
        print(f"  {'closed' if kind else 'open'}: {unlike} of {len(some)} outlines with other vertices")

    def library(shape: BoolArray) -> int:
        return sum(len(approximate_polygon(line, effort.TOLERANCE)) for line in find_contours(shape, 0.5))

    clicks = [sum(map(count, shapes)) for count in (lambda shape: effort.clicks(shape.astype(np.uint8)), library)]
    print(f"  clicks: ours {clicks[0]}, scikit-image's contours {clicks[1]}")
    compare("a map of 128 px", lambda: effort.clicks(shapes[0].astype(np.uint8)), lambda: library(shapes[0]))


def thresholds() -> None:
    """Otsu's threshold: ours and scikit-image's, of two modes that overlap or not."""
    from skimage.filters import threshold_otsu

    from hybrid_al.data.tissue import otsu

    print(f"  {imports('from skimage.filters import threshold_otsu')}")
    rng, levels = np.random.default_rng(0), np.arange(256)
    for apart in (40, 80, 160):
        gaps = []
        for _ in range(200):
            values = np.concatenate([rng.normal(40, 12, 3000), rng.normal(40 + apart, 12, 3000)]).clip(0, 255)
            counts = np.bincount(values.astype(np.int64), minlength=256)
            gaps.append(abs(otsu(counts) - int(threshold_otsu(hist=(counts, levels)))))
        print(f"  modes {apart} levels apart: others in {np.mean(np.asarray(gaps) > 0):.0%}, by {max(gaps)} at most")
    compare("a histogram", lambda: otsu(counts), lambda: threshold_otsu(hist=(counts, levels)), times=100)


def clusters() -> None:
    """k-means of large pools beside faiss, and its seeds beside scikit-learn's."""
    import faiss
    from sklearn.cluster import kmeans_plusplus

    from hybrid_al.kernels.kmeans import k_means, k_means_plus_plus, lloyd

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, 128))
    rows = (centres[rng.integers(50, size=50_000)] + rng.normal(size=(50_000, 128))).astype(np.float32)
    rows -= rows.mean(axis=0)

    def inertia(centroids: FloatArray) -> float:
        index = faiss.IndexFlatL2(128)
        index.add(np.ascontiguousarray(centroids, dtype=np.float32))
        return float(index.search(rows, 1)[0].sum(dtype=np.float64))

    def ours() -> FloatArray:
        return k_means(rows, 500, np.random.default_rng(0))[0]

    def theirs() -> FloatArray:
        return lloyd(rows, rows[k_means_plus_plus(rows, 500, np.random.default_rng(0))], 50)[0]

    more = f"inertia of theirs {inertia(theirs()) / inertia(ours()):.5f} of ours"
    compare("50,000 x 128, 500 clusters, faiss", ours, theirs, more, times=1)
    few, k = rows[:15_000], 300
    seeds = lambda: k_means_plus_plus(few, k, np.random.default_rng(0))  # noqa: E731
    compare("300 seeds of 15,000", seeds, lambda: kmeans_plusplus(few, k, random_state=0, n_local_trials=1), times=2)
    twice = np.repeat(few[:10], 3, axis=0)
    found, others = k_means_plus_plus(twice, 20, rng), kmeans_plusplus(twice, 20, random_state=0, n_local_trials=1)[1]
    rest = f"library {len(others)}, {len(np.unique(others // 3))} of them distinct"
    print(f"  20 seeds of 10 distinct rows: ours {len(found)}, {rest}")


def tests() -> None:
    """The sign-flip test beside SciPy's permutation test, and Holm's adjustment beside statsmodels'."""
    from scipy import stats
    from statsmodels.stats.multitest import multipletests

    from hybrid_al.bench.statistics import _sign_flip, holm

    rng = np.random.default_rng(0)
    for n in (5, 10, 16):
        d = rng.normal(0.3, 1, n)

        def library() -> float:
            named = {"permutation_type": "samples", "vectorized": True, "n_resamples": np.inf, "batch": 1 << 16}
            return float(stats.permutation_test((d,), np.mean, **named).pvalue)  # noqa: B023

        apart = f"p {abs(_sign_flip(d) - library()):.1e} apart"
        compare(f"sign flips of {n} seeds", lambda: _sign_flip(d), library, apart, times=2)  # noqa: B023
    p = rng.random(50)
    compare("Holm of 50", lambda: holm(p), lambda: multipletests(p, method="holm"), times=20)


CASES = (folds, temperatures, averages, surfaces, contours, thresholds, clusters, tests)

if __name__ == "__main__":
    for case in CASES:
        if case.__name__ in (sys.argv[1:] or [c.__name__ for c in CASES]):
            print(case.__name__)
            case()
