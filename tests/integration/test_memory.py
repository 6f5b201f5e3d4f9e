"""No step holds the pool: its pixels lie on disk, and what a step takes of them is a batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCH = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch

folder, n = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)

def held():
    line = next(l for l in open("/proc/self/status") if l.startswith("RssAnon"))
    return int(line.split()[1]) / 1024

peak, over = 0.0, False
def watch():
    global peak
    while not over:
        peak = max(peak, held())
        time.sleep(0.002)
"""

# what a process holds itself, which pages of memory-mapped files are not, is polled while stage 0 and the frozen
# learner's cache of views go over a pool
SCRIPT = """
from torch import nn
from hybrid_al.data.base import Dataset
from hybrid_al.data.loaders import blocks
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.learners.frozen import cached_views
from hybrid_al.core.manifest import Manifest
from hybrid_al.models.checkpoint import seeded
from hybrid_al.models.encoder import Encoder
from hybrid_al.learners.network import Foundation
from hybrid_al.learners.predict import embed
from pretrain.combine import SideBySide
from pretrain.export import export
from pretrain.probe import probe
from pretrain.quality import quality

def read(i):
    return np.full((64, 64, 3), i % 251, dtype=np.uint8)

names = tuple(map(str, range(n)))
dataset = Dataset(Manifest(names, names, names, ("pool",) * n, names), ("a", "b"), np.arange(n) % 2, read, 3)
device, weak = torch.device("cpu"), VIEWS["microscopy"].weak
encoder = Encoder(nn.Sequential(nn.AvgPool2d(16), nn.Flatten()), 3)
embed(encoder, weak(torch.rand(64, 3, 64, 64), seeded(0)))  # what torch keeps from the first use on
before = held()
watcher = threading.Thread(target=watch)
watcher.start()
store = ImageStore.build(dataset, image_size=64, channels=None, cache=folder / "cache")
found = export(encoder, store, "m", folder / "stage0", device, cache=folder / "cache")
pool = np.arange(n)
views = cached_views(Foundation(encoder, found, store, VIEWS["microscopy"], 2, pool, device, folder / "cache"), weak, 1)
joined = SideBySide({"a": found.vectors, "b": found.vectors}, pool)
joined.write(folder / "used.npy", joined.whitening(8))
rows = pool[:1024]
twice = [np.concatenate([embed(encoder, weak(store.batch(b), seeded(0))) for b in blocks(rows, 512)]) for _ in "ab"]
quality(found.take(rows), *twice)
probe(found, 2, (pool, dataset.truth), {"val": (rows, dataset.truth[rows])})
over = True
watcher.join()
print(len(views[0]), store.images.nbytes / 2**20, peak - before)
"""

# the same while the label maps of a pool are made, its pixels scored and measured, boxes proposed, and training's
# missing views seen
MASKS = """
from hybrid_al.core.consistency import Recording
from hybrid_al.data.base import Dataset
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.data.views.pixels import pixel_views
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.regions.model_boxes import ModelBoxes
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.manifest import Manifest
from hybrid_al.models.encoder import build_encoder
from hybrid_al.models.segmenter import build_segmenter
from hybrid_al.metrics.pixel_calibration import FEW, PixelCalibration, sample_pixels
from hybrid_al.semi.dense.record import MapRecorder
from hybrid_al.scores.pixels import Boundary
from hybrid_al.regions.proposals import Peaks, Ripu
from hybrid_al.core.rundir import RunDir
from hybrid_al.learners.inputs import MaskInputs
from hybrid_al.learners.committee import Networks
from hybrid_al.learners.segment import SCHEDULE, SegmentLearner
from hybrid_al.semi.dense import DENSE_OBJECTIVES

def read(i):
    return np.full((64, 64, 1), i % 251, dtype=np.uint8)

names = tuple(map(str, range(n)))
dataset = Dataset(Manifest(names, names, names, ("pool",) * n, names), ("a", "b"), np.full(n, -1), read, 1)
encoder = build_encoder("test_resnet", channels=1, image_size=64, seed=0)
shape = {"encoder_depth": 3, "decoder_channels": [8, 8, 8]}

def make(seed):
    return build_segmenter("unet", encoder, encoder_name="test_resnet", classes=2, image_size=64, seed=seed,
                           dropout=0.2, settings=shape)

def learner(store):
    inputs = MaskInputs(store, pixel_views(VIEWS["microscopy"]), np.full((len(store), 2), 64), torch.device("cpu"))
    made = SegmentLearner(make, inputs, DENSE_OBJECTIVES["mean_teacher"](), SCHEDULE, Boundary(), classes=2,
                          pool=np.arange(len(store)), n=len(store), answers=folder, cache=folder, top_up_limit=n)
    made.networks = Networks(make(0).eval(), make(0).eval())
    return made

def over_pool(learner, rows):
    for name in ("entropy", "contexts"):
        learner.score(name, rows)
    assert learner.score("gradients", rows).shape == (len(rows), 2 * 8 * 9)
    for batch in learner.predict(rows):
        assert batch.probs.shape[1:] == (1, 2, 64, 64)
        known = np.zeros((len(batch.indices), 64, 64), dtype=np.uint8)
        assert PixelCalibration.of_images(batch.probs.mean(axis=1), known).pixels == known.size
        assert len(sample_pixels(batch, known)[0]) == len(known) * FEW
    for unit in (Ripu(8, 4), Peaks((4, 12), 4)):
        run = RunDir(folder / f"{type(unit).__name__}-{len(rows)}")
        frames = np.tile([0, 0, 64, 64], (len(rows), 1))
        boxes = ModelBoxes(unit, rows, frames, 64, run, torch.device("cpu"))
        boxes.draw(1, LabelStore(len(rows)), learner.predict)
        regions = boxes.at(1)
        assert len(regions.indices) > len(rows)
        learner.score("ripu", regions.indices, regions=regions)
    learner._top_up(learner.networks.teacher, MapRecorder(len(rows), 2, Boundary(), Recording()), rows, 0)

store = ImageStore.build(dataset, image_size=64, channels=None, cache=folder / "cache")
over_pool(learner(store), np.arange(128))  # a block: what torch keeps from the first use on
before = held()
watcher = threading.Thread(target=watch)
watcher.start()
maps = MaskStore.build(np.arange(n), lambda i: read(i)[..., 0] % 2, names, names, size=64, cache=folder / "cache")
over_pool(learner(store), np.arange(n))
over = True
watcher.join()
print(len(maps), 2 * n * 64 * 64 * 4 / 2**20, peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_pool_is_never_held(tmp_path: Path) -> None:
    memory, pixels = peaks(SCRIPT, tmp_path, 8_000, 20_000)  # both more than any block
    assert memory[20_000] < 200 < pixels
    assert memory[20_000] < memory[8_000] + 40  # MiB; the other 12,000 are 141 as bytes and 562 as numbers


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_pixels_of_a_pool_are_never_held(tmp_path: Path) -> None:
    memory, probabilities = peaks(MASKS, tmp_path, 256, 768)  # two blocks and six
    assert probabilities == 24
    assert memory[768] < memory[256] + 6  # MiB; the other 512 images have 16 as probabilities, 8 as one map of scores


def peaks(script: str, folder: Path, *sizes: int) -> tuple[dict[int, float], float]:
    """MiB that a script held at most beyond what it began with, by the size of the pool; the MiB of the largest one."""
    memory, whole = {}, 0.0
    # freed memory goes back at once: what malloc keeps for later differs from run to run
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    for n in sizes:
        command = [sys.executable, "-c", WATCH + script, str(folder / str(n)), str(n)]
        process = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        rows, whole, memory[n] = map(float, process.stdout.split())
        assert rows == n
    return memory, whole


# a slide without levels, all of whose pixels are read to find its tissue; the first one is what libraries keep
SLIDE = """
import tifffile
from hybrid_al.data.sources.slides import Slides

def load(name, side):
    tile = np.full((256, 256, 3), (200, 110, 170), np.uint8)
    tiles = (tile for _ in range((side // 256) ** 2))
    (folder / name).mkdir()
    options = dict(tile=(256, 256), photometric="rgb", compression="zlib", metadata=None)
    unit = dict(resolution=(20000, 20000), resolutionunit="CENTIMETER")
    tifffile.imwrite(folder / name / "a.tif", tiles, shape=(side, side, 3), dtype=np.uint8, **options, **unit)
    dataset = Slides(folder / name, mpp=0.5).load()
    for i in range(0, len(dataset.manifest), 100):
        dataset.read(i)

load("small", 512)
before = held()
watcher = threading.Thread(target=watch)
watcher.start()
load("large", n)
over = True
watcher.join()
print(peak - before)
"""


@pytest.mark.slow
def test_a_large_slide_is_read_in_parts(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCH + SLIDE, str(tmp_path), "10240"]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 80, "of 300 MiB"
