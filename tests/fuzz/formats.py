"""The formats that come from outside: how a whole file is made, spoiled, and played."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from hybrid_al.components import check_components
from hybrid_al.core.consistency import Consistency
from hybrid_al.core.files import read_arrays
from hybrid_al.core.manifest import Manifest
from hybrid_al.core.registry import component
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Query
from hybrid_al.core.verify import verify
from hybrid_al.data.sources.npz import Npz
from hybrid_al.errors import InputError
from hybrid_al.learners import LEARNERS
from hybrid_al.models.checkpoint import load_weights
from hybrid_al.oracles import ORACLES
from hybrid_al.oracles.worklist import WorklistOracle
from hybrid_al.query.batches import BATCHES
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.recipe import load, of_run, shipped_recipes
from hybrid_al.regions.fixed import PARTITIONS
from hybrid_al.regions.proposals import BOXES
from hybrid_al.report.runview import RunView
from hybrid_al.scores.pixels import REDUCTIONS
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.dense import DENSE_OBJECTIVES
from hybrid_al.stage0 import check as check_stage0
from hybrid_al.tasks import TASKS
from hybrid_al.train import Schedule
from pretrain import METHODS
from tests.fuzz.exchanged import EXCHANGED
from tests.fuzz.flips import Flips
from tests.fuzz.mutations import EDGES, Rng, Silent, edge, spoil
from tests.fuzz.readable import READABLE
from tests.helpers.command import call
from tests.helpers.fake_run import fake_run
from tests.helpers.tiny import recipe_of


class Target(Protocol):
    """A format."""

    name: str

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """Name and content of a spoiled file."""
        ...

    def play(self, file: Path) -> None:
        """Read it as the toolkit does; an error of ours is an answer, `Silent` and any other error are faults."""
        ...


class Recipes:
    """Recipes: texts that are spoiled, and values in the place of others; checked as far as no data is read."""

    name = "recipes"

    def __init__(self, folder: Path) -> None:
        tiny = [yaml.safe_dump(recipe_of(task)) for task in TASKS]
        self.texts = [*shipped_recipes().values(), *tiny]

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        text, other = (self.texts[int(rng.integers(len(self.texts)))].encode() for _ in range(2))
        if rng.random() < 0.5:
            return f"{number}.yaml", spoil(rng, text, other)
        plain = yaml.safe_load(text)
        for _ in range(int(rng.integers(1, 3))):
            _replace_leaf(rng, plain)
        return f"{number}.yaml", yaml.safe_dump(plain).encode()

    def play(self, file: Path) -> None:
        """See `Target`."""
        recipe = load(file)
        check_components(recipe)
        if recipe.encoder.name == "test_resnet":
            check_stage0(recipe)


def _replace_leaf(rng: Rng, plain: Any) -> None:
    """Put an edge value in the place of a value, or under a new key."""
    while True:
        keys = list(plain) if isinstance(plain, dict) else list(range(len(plain)))
        if not keys:
            return
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(plain[key], dict | list) and plain[key] and rng.random() < 0.8:
            plain = plain[key]
            continue
        plain[key] = edge(rng)
        return


class Settings:
    """Hyper-parameters of every registered component, at and beyond their edges."""

    name = "settings"
    registries: tuple[Mapping[str, type[Any]], ...] = (
        *(STRATEGIES, BATCHES, REDUCTIONS, {**PARTITIONS, **BOXES}, METHODS, OBJECTIVES, DENSE_OBJECTIVES, LEARNERS),
        *(ORACLES, TASKS, {"schedule": Schedule}),
    )

    def __init__(self, folder: Path) -> None:
        self.members = [(i, name) for i, registry in enumerate(self.registries) for name in sorted(registry)]

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        i, name = self.members[int(rng.integers(len(self.members)))]
        fields = [f.name for f in dataclasses.fields(self.registries[i][name])] or ["nokey"]
        field, value = fields[int(rng.integers(len(fields)))], int(rng.integers(len(EDGES)))
        return f"{number}.json", json.dumps([i, name, field, value]).encode()

    def play(self, file: Path) -> None:
        """See `Target`."""
        i, name, field, value = json.loads(file.read_text(encoding="utf-8"))
        instance = component(self.registries[i], "here", name, {field: EDGES[value]})
        left = getattr(instance, field)
        if isinstance(left, float) and not math.isfinite(left):
            raise Silent(f"{name}.{field} is {left}")


class Archives:
    """NPZ files of images and labels: bytes that are spoiled, and members with other headers."""

    name = "npz"

    def __init__(self, folder: Path) -> None:
        images, labels = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8), np.asarray([0, 1, 1, 0])
        self.whole = []
        for more in ({}, {"train_patient": np.asarray(["a", "b", "c", "d"])}, {"test_images": images}):
            buffer = io.BytesIO()
            np.savez(buffer, train_images=images, train_labels=labels, **more)
            self.whole.append(buffer.getvalue())

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        first, second = (self.whole[int(rng.integers(len(self.whole)))] for _ in range(2))
        if rng.random() < 0.4:
            return f"{number}.npz", spoil(rng, first, second)
        buffer = io.BytesIO()
        how = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[int(rng.integers(4))]
        with zipfile.ZipFile(io.BytesIO(first)) as old, zipfile.ZipFile(buffer, "w", how) as new:
            for member in old.namelist():
                data = old.read(member)
                if rng.random() < 0.5:
                    data = spoil(rng, data) if rng.random() < 0.5 else _array(rng)
                new.writestr(member if rng.random() < 0.95 else f"../{member}", data)
        return f"{number}.npz", buffer.getvalue()

    def play(self, file: Path) -> None:
        """See `Target`."""
        dataset = Npz(file, group="none").load()
        for i in range(min(len(dataset.manifest), 4)):
            pixels = dataset.read(i)
            if not np.isfinite(pixels).all():
                raise Silent("pixels that are no numbers")


def _array(rng: Rng) -> bytes:
    """An array file with odd values, or one whose header claims what is not there."""
    zeros: Any = np.zeros
    arrays: list[Any] = [
        *(np.asarray(column) for column in ([2**40, 1, 0, 1], [-5, 0, 0, 1], [np.nan, 1, 0, 1], ["a", "", "b", "c"])),
        *(np.asarray(column) for column in (3, [1e300] * 4, [True] * 4, [b"\xff"] * 4)),
        *(zeros(shape, dtype=np.uint8) for shape in ((4, 0, 8), (4, 8, 8, 5), (3, 8, 8))),
        *(zeros((4, 8, 8), dtype=kind) for kind in (np.complex64, np.float16, ">i2", "datetime64[D]")),
        *(zeros(4, dtype=[("a", "i4")]), np.full((4, 8, 8), np.inf), np.asfortranarray(np.ones((4, 8, 8)))),
    ]  # fmt: skip
    buffer = io.BytesIO()
    np.save(buffer, arrays[int(rng.integers(len(arrays)))])
    data = buffer.getvalue()
    if rng.random() < 0.4:
        shapes = (
            b"(10000000000,)",
            b"(-1,)",
            b"(0,)",
            b"(4, 8, 8, 8)",
            b"()",
            b"'x'",
            b"(1e9,)",
            b"(" * 50,
            b"(2**99,)",
        )
        at = data.find(b"(")
        data = data[:at] + shapes[int(rng.integers(len(shapes)))] + data[data.find(b")", at) + 1 :]
    return data


class RunFiles:
    """Files of a run with two committed rounds and an open query: each damage is said, or changes no value."""

    name = "run files"

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, fake_run(folder / "run", pool=30, budgets=(4, 4, 4), committed=2)
        files = [file for file in self.run.rglob("*") if file.is_file() and file.name not in (".lock", "metrics.jsonl")]
        self.files = sorted(file.relative_to(self.run).as_posix() for file in files)
        self.before = self._values(self.run)

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        name = self.files[int(rng.integers(len(self.files)))]
        data, twin = (self.run / name).read_bytes(), name.replace("rounds/001", "rounds/000")
        other = (self.run / twin).read_bytes() if (self.run / twin).is_file() else b""
        content = spoil(rng, data, other)
        if rng.random() < 0.15:
            content = b"" if other in (b"", data) else other
        return f"{name.replace('/', '+')}__{number}", content

    def play(self, file: Path) -> None:
        """See `Target`."""
        copy = self.folder / f"copy-{file.name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.run, copy)
        try:
            (copy / file.name.rpartition("__")[0].replace("+", "/")).write_bytes(file.read_bytes())
            verify(RunDir(copy))
            if self._values(copy) != self.before:
                raise Silent("other values")
        finally:
            shutil.rmtree(copy)

    @staticmethod
    def _values(path: Path) -> str:
        run = RunDir(path)
        view, store, parts = RunView.read(path), run.labels(len(run.manifest())), list[object]()
        for row in run.rounds():
            folder = run.round_path(row.index)
            arrays = Consistency.load(folder / "consistency.npz").arrays() | read_arrays(folder / "reliability.npz")
            parts += [row, run.picks(row.index, view.manifest), sorted(arrays.items())]
        parts += [run.facts(), of_run(path), view.manifest.fingerprint, store.annotations, run.picks(2, view.manifest)]
        with np.printoptions(threshold=10**6):
            return repr(parts)


class Answers:
    """Tables of labels that people give back: taken whole, or nothing of them."""

    name = "answers"
    ids = tuple(f"img{i}.png" for i in range(8))

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = Manifest(self.ids, self.ids, self.ids, ("pool",) * 6 + ("test",) * 2, self.ids)
        rows = [f"{k},{name},{name},,why,{('a', 'b', 'skip')[k % 3]}" for k, name in enumerate(self.ids[:4])]
        text = "\n".join(["rank,id,path,score,reason,label", *rows, ""])
        sheet = text.replace(",", ";").replace("\n", "\r\n")
        self.texts = [
            text.encode(),
            sheet.encode("utf-16"),
            ("﻿" + sheet).encode(),
            sheet.replace("why", "wäre").encode("latin-1"),
        ]

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        data = self.texts[int(rng.integers(len(self.texts)))]
        if rng.random() < 0.2:
            data = data.replace(b"img1.png", (b"img7.png", b"img5.png", b"img1.PNG", b"")[int(rng.integers(4))])
        return f"{number}.csv", data if rng.random() < 0.1 else spoil(rng, data, self.texts[0])

    def play(self, file: Path) -> None:
        """See `Target`."""
        path = self.folder / f"run-{file.stem}"
        shutil.rmtree(path, ignore_errors=True)
        run = RunDir(path)
        run.commit_query(0, Query(np.arange(4)), self.manifest)
        people = WorklistOracle(run, self.manifest, ("a", "b"))
        try:
            taken, missing = people.take(file, "me")
            answers = {a.index: a.kind for a in people.answers(0)}
            if not set(answers) <= set(range(4)) or len(answers) != taken or missing != 4 - taken:
                raise Silent(f"{answers} of {taken}")
        except Exception:
            if list(path.rglob("answers/*.csv")):
                raise Silent("an answer was written, and then an error said") from None
            raise
        finally:
            shutil.rmtree(path)


class Weights:
    """Weights files: safetensors, and files of torch."""

    name = "weights"

    def __init__(self, folder: Path) -> None:
        tensors = {"a.weight": torch.arange(12.0).view(3, 4), "b.bias": torch.zeros(3), "n": torch.tensor(3)}
        self.whole = [(".safetensors", save(tensors))]
        for legacy in (False, True):
            buffer = io.BytesIO()
            content = {"model": tensors, "epoch": 3} if legacy else {"state_dict": tensors}
            torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
            self.whole.append((".pth", buffer.getvalue()))

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        suffix, data = self.whole[int(rng.integers(len(self.whole)))]
        if suffix == ".safetensors" and rng.random() < 0.3:
            lengths = (0, 1, 2**31, 2**62, 10**9, len(data))
            data = lengths[int(rng.integers(len(lengths)))].to_bytes(8, "little") + data[8:]
        return f"{number}{suffix}", spoil(rng, data, self.whole[0][1])

    def play(self, file: Path) -> None:
        """See `Target`."""
        tensors = load_weights(file)
        if any(t.is_floating_point() and not torch.isfinite(t).all() for t in tensors.values()):
            raise Silent("weights that are no numbers")


class Projects:
    """A recipe and its data, one of them spoiled, from `check` to the first query: no half of a run is left."""

    name = "projects"

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        (self.data / "images").mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8)).astype(np.uint8)
        for i, pixels in enumerate(noise):
            Image.fromarray(pixels).save(self.data / "images" / f"{i}.png")
        rows = (f"images/{i}.png,{'ab'[i % 2]},p{i},{'test' if i > 8 else 'pool'}\n" for i in range(12))
        (self.data / "table.csv").write_text("file,label,patient,split\n" + "".join(rows), encoding="utf-8")
        plain = recipe_of("classification", learner="linear", data={
            "source": "csv", "root": str(self.data / "table.csv"), "image_size": 8,
            "columns": {"path": "file", "label": "label", "group": "patient", "split": "split"},
        })  # fmt: skip
        (self.data / "recipe.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
        self.files = ("recipe.yaml", "recipe.yaml", "table.csv", "images+3.png", "images+11.png")

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        name = self.files[int(rng.integers(len(self.files)))]
        return f"{name}__{number}", spoil(rng, (self.data / name.replace("+", "/")).read_bytes())

    def play(self, file: Path) -> None:
        """See `Target`."""
        run, spoiled = self.folder / "run", self.data / file.name.rpartition("__")[0].replace("+", "/")
        whole = spoiled.read_bytes()
        shutil.rmtree(run, ignore_errors=True)
        spoiled.write_bytes(file.read_bytes())
        try:
            code = self._select(run)
        finally:
            spoiled.write_bytes(whole)
        if code == 1:
            raise RuntimeError("exit code 1")
        if code and run.exists() and self._select(run):
            raise Silent(f"half a run directory: {sorted(path.name for path in run.rglob('*'))[:9]}")
        if code:
            raise InputError(spoiled, "a whole project", f"exit code {code}")

    def _select(self, run: Path) -> int:
        return call("select", self.data / "recipe.yaml", "--run-dir", run, "--quiet")


FORMATS: dict[str, Callable[[Path], Target]] = {
    **{kind.name: kind for kind in (Recipes, Settings, Archives, RunFiles, Answers, Weights, Projects, Flips)},
    **READABLE,
    **EXCHANGED,
}
