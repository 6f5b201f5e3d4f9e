"""What embedding a pool costs beside the bare forward pass, and what it holds in memory.

    OMP_NUM_THREADS=1 python benchmarks/embedding.py [--pairs 20] [--images 2048] [--pool 100000] [--small 10000]

**Time**: `--images` grey images of 64 px, one process, one thread, CPU seconds. Two arms take turns, the first of a
pair alternates; a pair gives one ratio. Ours is `pretrain.export.embed_all` from the decoded cache: keys, shards,
hashes and the memory-mapped set included. The bare pass runs the same network over the same array in batches of 512,
or of 32, which CPU caches like better, and keeps the rows. Printed as in `trainer.py`: 1 = as fast, above 0.9 is the
goal.

**Memory**: `--small` and `--pool` images are written to an NPZ, opened as the command opens them, decoded into the
cache and embedded, each in a process of its own. Printed are its CPU seconds by stage and the most that it held: memory
of its own (RssAnon) above that before the NPZ was opened, as pages of memory-mapped files can go at any time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from trainer import pairs, summary

from hybrid_al.assemble import open_project
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.models.checkpoint import digest_of
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.recipe import Recipe
from pretrain.export import embed_all

SIZE, BATCHES, CPU = 64, (512, 32), torch.device("cpu")


def main() -> None:
    """Time pairs, then measure memory at two sizes of the pool; with `--folder`, one of these sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--pool", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.folder:
        whole(args.pool, args.folder)
        return
    for batch in BATCHES:
        speed(args.images, batch, args.pairs)
    for n in (args.small, args.pool):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--pool", str(n), "--folder", folder]
            subprocess.run(command, check=True)


def encoder() -> Encoder:
    """A small ResNet for grey images."""
    return build_encoder("resnet10t", channels=1, image_size=SIZE, seed=0).eval()


def speed(n: int, batch: int, count: int) -> None:
    """`embed_all` against the bare pass in such batches."""
    pixels = np.random.default_rng(0).integers(256, size=(n, SIZE, SIZE, 1), dtype=np.uint8)
    store, made = ImageStore(pixels, "random", tuple(map(str, range(n)))), encoder()
    digest = digest_of(made)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plain.npy"
            embed_all(made, digest, store, "manifest", path, CPU, cache=Path(folder) / "cache")

    @torch.no_grad()
    def bare() -> None:
        found = []
        for start in range(0, n, batch):
            images = torch.from_numpy(pixels[start : start + batch]).permute(0, 3, 1, 2).float().div_(255)
            found.append(made(images).numpy())
        np.concatenate(found)

    seconds, ratios = pairs(bare, ours, count)
    speed = f"embed_all: {n / seconds:.0f} images a CPU second"
    print(f"{speed}, {summary(ratios)} of the bare pass in batches of {batch}", flush=True)


def whole(n: int, folder: Path) -> None:
    """Open an NPZ, decode it and embed it, watching the memory."""
    write_npz(folder / "pool.npz", n)
    recipe = Recipe.model_validate(
        {
            "name": "embedding",
            "data": {"source": "npz", "root": str(folder / "pool.npz"), "image_size": SIZE, "group": "none"},
            "pretrain": "none",
        }
    )
    made = encoder()
    made(torch.zeros(BATCHES[-1], 1, SIZE, SIZE))
    before, peak, over = held(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.005):
            peak = max(peak, held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = [time.process_time()]
    project = open_project(recipe, run_dir=folder / "run")
    clock.append(time.process_time())
    store = project.store()
    clock.append(time.process_time())
    digest, path = digest_of(made), folder / "plain.npy"
    found = embed_all(made, digest, store, project.dataset.manifest.fingerprint, path, CPU, cache=project.cache)
    clock.append(time.process_time())
    over.set()
    watcher.join()
    look, decode, embed = np.diff(clock)
    print(
        f"{n} images of {SIZE} px ({store.images.nbytes / 2**20:.0f} MiB of pixels, {found.vectors.nbytes / 2**20:.0f} "
        f"of embeddings): manifest {look:.1f} s, decoded cache {decode:.1f} s, embedding {embed:.1f} s = "
        f"{n / embed:.0f} images a CPU second; held {peak - before:.0f} MiB at most",
        flush=True,
    )


def write_npz(path: Path, n: int, block: int = 1000) -> None:
    """Noise in the keys of MedMNIST, a block at a time."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("train_images.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (n, SIZE, SIZE)}
            np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
            for start in range(0, n, block):
                file.write(rng.integers(256, size=(min(block, n - start), SIZE, SIZE), dtype=np.uint8).tobytes())
        with archive.open("train_labels.npy", "w") as file:
            np.save(file, rng.integers(2, size=(n, 1)))  # type: ignore[arg-type]


def held() -> float:
    """MiB of memory of this process's own."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


if __name__ == "__main__":
    main()
