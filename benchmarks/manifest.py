"""Time and memory of a manifest of many rows: written, then read by a process of its own.

python benchmarks/manifest.py [--rows 1000000]
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hybrid_al.core.manifest import SPLITS, Manifest
from hybrid_al.core.rundir import FACTS, RunDir


def made(n: int) -> Manifest:
    """Five images a patient, names of 36 characters."""
    ids = tuple(f"patient{i // 5:06d}/study/image{i:07d}.png" for i in range(n))
    groups = tuple(f"patient{i // 5:06d}" for i in range(n))
    splits = tuple(SPLITS[(i // 5) % 3] for i in range(n))
    return Manifest(ids, ids, groups, splits, tuple(hashlib.md5(i.encode()).hexdigest() for i in ids))


def read(folder: Path) -> None:
    """Read it as a command does; seconds, then peak of the process."""
    begin = time.perf_counter(), time.process_time()
    manifest = RunDir(folder).manifest()
    _ = manifest.fingerprint
    seconds = time.perf_counter() - begin[0], time.process_time() - begin[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"read {len(manifest)} rows: {seconds[0]:.2f} s, {seconds[1]:.2f} of the processor; peak {peak:.0f} MiB")
    begin = time.perf_counter(), time.process_time()
    _ = Manifest.from_csv((folder / "manifest.csv").read_text(encoding="utf-8")).fingerprint
    print(f"every row checked: {time.process_time() - begin[1]:.2f} s of the processor")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.read:
        read(options.read)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run, manifest = RunDir(Path(folder)), made(options.rows)
            begin, facts = time.process_time(), dict.fromkeys(FACTS, "") | {"manifest": manifest.fingerprint}
            run.claim(facts, "", manifest)
            size = (run.path / "manifest.csv").stat().st_size / 1e6
            print(f"written: {time.process_time() - begin:.2f} s of the processor, {size:.0f} MB")
            subprocess.run([sys.executable, __file__, "--read", folder], check=True)
