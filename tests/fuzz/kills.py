"""Kills at random moments: a run that is killed again and again ends as one that nobody touched.

`python -m tests.fuzz.kills --kills 200` kills runs of several learners with SIGKILL, and some with TERM, HUP and INT.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from tests.helpers.tiny import recipe_of

RUNS: dict[str, dict[str, object]] = {
    "frozen": {"learner": "frozen", "query": "hybrid", "pretrain": {"name": "simclr", "epochs": 2, "batch": 4}},
    "finetune": {"learner": "finetune", "query": "entropy"},
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
CODES = {-9, 0, 129, 130, 143}


def command(recipe: Path, run: Path) -> list[str]:
    """The call of a run."""
    return [sys.executable, "-m", "hybrid_al.cli", "run", str(recipe), "--run-dir", str(run), "--quiet"]


def outcome(run: Path) -> list[object]:
    """Picks, metrics and digests of every round; but for temporary files nothing else may lie there."""
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(run.glob("rounds/*/round.json"))]
    left = [str(file) for file in run.rglob("*.tmp")]
    return [*([row["query"], row["metrics"], row["digests"]] for row in rows), left]


def hurt(call: list[str], rng: np.random.Generator, longest: float) -> tuple[int, bool]:
    """Start a call and send it a signal after a while: how it ended, and whether it was hit."""
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=float(rng.uniform(0.2 * longest, longest))), False
    except subprocess.TimeoutExpired:
        process.send_signal(SIGNALS[int(rng.integers(len(SIGNALS)))])
        return process.wait(timeout=60), True


def main() -> None:
    """Kill, and compare with a run that was left alone; ends with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    rng, kills, faults = np.random.default_rng(options.seed), 0, list[str]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wholes: dict[str, tuple[list[object], float]] = {}
        for name, changes in RUNS.items():
            recipe = folder / f"{name}.yaml"
            recipe.write_text(yaml.safe_dump(recipe_of("classification", **changes)), encoding="utf-8")
            start = time.monotonic()
            subprocess.run(command(recipe, folder / name / "whole"), check=True, stdout=subprocess.DEVNULL)
            wholes[name] = outcome(folder / name / "whole"), time.monotonic() - start
        while kills < options.kills:
            for name, (whole, seconds) in wholes.items():
                call = command(folder / f"{name}.yaml", run := folder / name / "killed")
                code, hit = hurt(call, rng, seconds)
                kills += hit
                print(f"{kills} signals, {len(faults)} faults", end="\r", file=sys.stderr, flush=True)
                if code not in CODES:
                    faults.append(f"{name}: exit code {code}")
                if code == 0:
                    if outcome(run) != whole:
                        faults.append(f"{name}: another run than the one that nobody touched")
                    shutil.rmtree(run)
    print(f"seed {options.seed}: {kills} signals, {len(faults)} faults")
    print("\n".join(faults), file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
