"""What people and their programs hand in: exports of annotation tools, ledgers, uploads, segmenters, encoders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load, save

from hybrid_al.api import query
from hybrid_al.api.answers import take
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import AnnotationKind
from hybrid_al.errors import InputError
from hybrid_al.models.encoder import build_encoder
from hybrid_al.models.promptable import Prompt, Promptable
from hybrid_al.oracles.formats.intake import draw
from hybrid_al.oracles.inbox import inbox, lists_of
from hybrid_al.oracles.ledger import LEDGER, Entry, Ledger, collect
from hybrid_al.serve import asap, forms
from hybrid_al.serve.labels import LabelFile, label_file
from tests.fuzz.mutations import EDGES, Rng, Silent, spoil
from tests.fuzz.readable import WAYS
from tests.helpers.exchange import RECIPES, dicom_recipe, opened, truths
from tests.helpers.label_page import open_run
from tests.helpers.monai_client import MonaiClient
from tests.helpers.players import PLAYERS
from tests.helpers.tiny_onnx import write_pair

EXPORTED: dict[AnnotationKind, tuple[str, ...]] = {
    "class": ("label_studio", "cvat"),
    "point": ("label_studio", "cvat"),
    "box": ("label_studio", "coco", "cvat", "geojson"),
    "mask": ("label_studio", "coco", "cvat", "geojson", "nifti", "seg_nrrd", "dicom_seg"),
}


def spoiled(rng: Rng, name: str, data: bytes, other: bytes = b"") -> bytes:
    """The content of a file, spoiled in what it says or in its bytes."""
    ending = next((end for end in WAYS if name.endswith(end)), None)
    if ending is not None and rng.random() < 0.6:
        return WAYS[ending](rng, data)
    return spoil(rng, data, other)


class Exports:
    """Exports of every tool for runs that wait for people: taken whole, or nothing of them."""

    name = "exports"

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, dict[str, Path]()
        for kind, names in EXPORTED.items():
            for name in names:
                of_run = "dicom" if name == "dicom_seg" else kind
                plain = dicom_recipe(folder / "images") if of_run == "dicom" else RECIPES[kind]
                if of_run not in self.runs:
                    truth, oracle, picks = opened(folder / of_run / "truth", kind, "simulated", plain)
                    answers = truths(truth, oracle.annotate(picks, 0))
                    people, _, _ = opened(folder / of_run / "people", kind, "worklist", plain)
                    self.runs[of_run] = people.run.path
                out = folder / "out" / f"{of_run}+{name}"
                query.write(self.runs[of_run], format=name, out=out)
                given = PLAYERS[name](out, answers, kind)
                given.rename(folder / f"{of_run}+{name}{given.suffix}")
        self.files = sorted(f for of_run in self.runs for f in folder.glob(f"{of_run}+*/*"))
        self.files += sorted(f for of_run in self.runs for f in folder.glob(f"{of_run}+*") if f.is_file())

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        chosen, other = (self.files[int(rng.integers(len(self.files)))] for _ in range(2))
        name = chosen.relative_to(self.folder).as_posix().replace("/", "!")
        return f"{name}__{number}", spoiled(rng, chosen.name, chosen.read_bytes(), other.read_bytes())

    def play(self, file: Path) -> None:
        """See `Target`."""
        name = file.name.rpartition("__")[0].replace("!", "/")
        top = name.partition("/")[0]
        copy, given = self.folder / f"copy-{file.stem}", self.folder / f"given-{file.stem}"
        shutil.copytree(self.runs[top.partition("+")[0]], copy)
        if "/" in name:
            shutil.copytree(self.folder / top, given)
            (given / name.partition("/")[2]).write_bytes(file.read_bytes())
        else:
            given = given.with_suffix("".join(Path(name).suffixes))
            given.write_bytes(file.read_bytes())
        try:
            self._take(RunDir(copy), given)
        finally:
            shutil.rmtree(copy)
            shutil.rmtree(given) if given.is_dir() else given.unlink()

    @staticmethod
    def _take(run: RunDir, given: Path) -> None:
        try:
            taken, missing = take(run.path, given, "me", empty=True)
        except Exception:
            if list(run.path.glob("rounds/*/answers/*")):
                raise Silent("an answer was written, and then an error said") from None
            raise
        lists: Any = lists_of(inbox(run))
        if taken + missing < 4 or not {lists.manifest.ids[i] for i in lists.latest(0)} <= set(run.query_ids(0) or ()):
            raise Silent(f"{taken} taken and {missing} missing of 4")


class Ledgers:
    """The ledger of a run: damage is said, or no answer is another; what a killed process left of a line is none."""

    name = "ledgers"

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, open_run(folder / "run")
        entries = [
            Entry(
                f"answer-{k}", 0, f"scan{2 + k % 2}", "class", ("normal", "pneumonia")[k % 2], "änna", f"2026-01-0{k}"
            )
            for k in range(1, 6)
        ]
        ledger = Ledger(self.run)
        with ledger.turn():
            ledger.append(*entries)
        self.whole, self.entries = (self.run.path / LEDGER).read_bytes(), ledger.entries()

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        if rng.random() < 0.5:
            return f"{number}.jsonl", spoil(rng, self.whole)
        lines = self.whole.splitlines()
        k = int(rng.integers(len(lines)))
        plain = json.loads(lines[k])
        plain[list(plain)[int(rng.integers(len(plain)))]] = EDGES[int(rng.integers(len(EDGES)))]
        lines[k] = json.dumps(plain, default=str).encode("utf-8", "surrogatepass")
        return f"{number}.jsonl", b"\n".join([*lines, b""])

    def play(self, file: Path) -> None:
        """See `Target`."""
        copy, data = self.folder / f"copy-{file.stem}", file.read_bytes()
        shutil.copytree(self.run.path, copy)
        try:
            (copy / LEDGER).write_bytes(data)
            run = RunDir(copy)
            entries = Ledger(run).entries()
            collect(run)
            # a line without its end is one that a killed process left; that lines at the end are gone, no file tells
            ends = data.endswith(b"\n") and data.rstrip(b"\n").endswith(b"}")
            is_short = not ends or self.whole.startswith(data)
            if entries != self.entries[: len(entries)] or (len(entries) < len(self.entries) and not is_short):
                raise Silent(f"{len(entries)} answers of {len(self.entries)}, or others")
        finally:
            shutil.rmtree(copy)


class Uploads:
    """Labels that clients of MONAI Label send, and the forms that they come in."""

    name = "uploads"
    labels, classes, size = ("nucleus", "wall", "ignore"), ("background", "nucleus", "wall"), (5, 8)

    def __init__(self, folder: Path) -> None:
        values = np.zeros(self.size, dtype=np.uint8)
        values[1:3, 2:6], values[3, 0], values[4, 7] = 1, 2, 3
        areas = [(name, values == value) for value, name in enumerate(self.labels, 1)]
        square = [[2, 1], [6, 1], [6, 3], [2, 3], [2, 1]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [square]},
            "properties": {"classification": {"name": "wall"}},
        }
        info = [{"name": "wall", "idx": 1}, {"name": "nucleus", "idx": 2}, {"name": "ignore", "idx": 3}]
        names, texts = ("a.nrrd", "a.nii.gz", "a.bin", "a.xml", "a.geojson", "a.json"), {"label": "none", "seconds": 2}
        datas = (
            label_file(values, ".nrrd")[0],
            label_file(values, ".nii.gz")[0],
            values.tobytes(),
            asap.write(areas),
            json.dumps({"type": "FeatureCollection", "features": [feature]}).encode(),
            json.dumps(texts).encode(),
        )
        self.files = list(zip(names, datas, ({}, {"label_info": info}, {}, {}, {}, {}), strict=True))

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        name, data, params = self.files[int(rng.integers(len(self.files)))]
        if rng.random() < 0.6:
            data = spoiled(rng, name, data)
        client = MonaiClient("http://none")
        body, kind = client.form({"params": json.dumps(params)}, {"label": (name, data)})
        if rng.random() < 0.5:
            body = spoil(rng, body)
        return f"{number}.form", kind.encode() + b"\n" + body

    def play(self, file: Path) -> None:
        """See `Target`."""
        kind, _, body = file.read_bytes().partition(b"\n")
        form = forms.read(kind.decode("latin-1"), body)
        part = form.file("label")
        with suppress(InputError):
            self._answer(part, form.params(), "class")
        self._answer(part, form.params(), "mask")

    def _answer(self, part: forms.Part, params: dict[str, Any], kind: AnnotationKind) -> None:
        plain, marks = LabelFile(part, params, self.size, self.labels).answer(kind, self.classes)
        if kind == "mask" and plain["kind"] == "answer":
            try:
                drawn = draw(marks, self.size, kind, self.classes)
            except ValueError as error:  # as the shelf of images does
                raise InputError("label", "areas on the image", str(error)) from None
            if drawn.shape != self.size or not set(np.unique(drawn)) <= {0, 1, 2, 255}:
                raise Silent(f"a label map {np.unique(drawn)} of shape {drawn.shape}")


class Segmenters:
    """A promptable segmenter in ONNX, one of whose files is spoiled."""

    name = "segmenters"

    def __init__(self, folder: Path) -> None:
        import onnxruntime  # noqa: F401  (once, in the parent of all children)

        folder.mkdir(parents=True)
        self.folder, self.pair = folder, write_pair(folder)

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        k = int(rng.integers(2))
        data = spoil(rng, self.pair[k].read_bytes(), self.pair[1 - k].read_bytes())
        return f"{('encoder', 'decoder')[k]}__{number}", data

    def play(self, file: Path) -> None:
        """See `Target`."""
        pair = {path.stem: path for path in self.pair}
        pair[file.name.partition("__")[0]] = file
        segmenter = Promptable(pair["encoder"], pair["decoder"])
        image = segmenter.embed(np.zeros((20, 30, 1), dtype=np.uint8))
        mask = segmenter.mask(image, Prompt(box=(2.0, 3.0, 9.0, 9.0)))
        if mask.shape != (20, 30) or mask.dtype != np.bool_:
            raise Silent(f"a mask {mask.dtype} of shape {mask.shape}")


class Encoders:
    """Weights of an encoder: the tensors of the network, or one line."""

    name = "encoders"

    def __init__(self, folder: Path) -> None:
        encoder = build_encoder("test_resnet", channels=1, image_size=16, seed=0)
        own = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
        released = {name.removeprefix("backbone."): tensor for name, tensor in own.items() if "backbone." in name}
        self.whole = save(own), save(released)

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """See `Target`."""
        data = self.whole[int(rng.integers(2))]
        if rng.random() < 0.5:
            return f"{number}.safetensors", spoil(rng, data)
        tensors = load(data)
        for _ in range(int(rng.integers(1, 3))):
            key = list(tensors)[int(rng.integers(len(tensors)))]
            value = tensors.pop(key)
            how = int(rng.integers(5))
            if how == 0:
                tensors[f"module.{key}"] = value
            elif how < 4:
                tensors[key] = (value.flatten(), value.double() * float("nan"), value[None])[how - 1]
        return f"{number}.safetensors", save(tensors)

    def play(self, file: Path) -> None:
        """See `Target`."""
        build_encoder("test_resnet", channels=1, image_size=16, seed=0, weights=file)


EXCHANGED: dict[str, Callable[[Path], Any]] = {
    kind.name: kind for kind in (Exports, Ledgers, Uploads, Segmenters, Encoders)
}
