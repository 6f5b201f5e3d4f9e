"""What the page shows of images: their pixels, thumbnails, slices beside them, similar labeled cases, proposals."""

from __future__ import annotations

import csv
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.embeddings import PLAIN, Embeddings
from ..core.types import FloatArray, IntArray
from ..data.answers import file_name, to_png
from ..data.bags import Bags
from ..data.own_size import own_labels
from ..data.pixels import image_box, to_uint8
from ..errors import InputError
from ..oracles.masks import ASKED
from ..report.overlay import thumbnail
from ..scores.samples import entropy as pixel_entropy

if TYPE_CHECKING:
    from ..api.deployed import Deployed
    from ..assemble import Project

SIMILAR = 6
THUMBNAIL = 128  # pixels
DEEP = 65535  # the level of 1.0 in an image of more than 8 bits


class Pictures(Protocol):
    """The images of a run by position."""

    def image(self, index: int) -> bytes:
        """A PNG of its own pixels; of more than 8 bits the high byte is in red, the low one in green."""
        ...

    def thumbnail(self, index: int) -> bytes:
        """A small JPEG."""
        ...

    def about(self, index: int) -> dict[str, Any]:
        """Height, width, depth, the values that its levels stand for; the slices beside it, or the rows of its bag.

        bag     the name of that, "" where samples are no bags
        looked  those of its rows that the last model looked at most, where a reader may know
        """
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in its own pixels."""
        ...

    def similar(self, index: int, labels: Mapping[int, str]) -> list[dict[str, Any]]:
        """Those of labeled images, position -> label, that are most like it, nearest first."""
        ...

    def shown(self, index: int) -> npt.NDArray[np.uint8]:
        """The image (H, W, 1 or 3) in its own pixels as it is first seen: a deep one in its window."""
        ...

    def proposal(self, index: int) -> bytes | None:
        """A PNG of the class numbers that the last model gives its pixels; None without a model."""
        ...

    def doubt(self, index: int) -> bytes | None:
        """A PNG of how little the last model is sure of each pixel, 0 to 255; None without a model."""
        ...

    def asked(self, index: int, round: int) -> bytes | None:
        """A PNG that is white where the image is asked about; None where that is everywhere."""
        ...


class ProjectPictures:
    """The images of a project; `proposes`: whether its last model draws first."""

    def __init__(self, project: Project, *, proposes: bool) -> None:
        self._project, self._store, self._dataset = project, project.store(), project.dataset
        self._may_propose, self._proposes = proposes, proposes and project.task.drawable
        self._bags = Bags.of(self._dataset) if self._dataset.bags else None
        self._lock = threading.Lock()
        self._model: tuple[int, Deployed] | None = None

    def image(self, index: int) -> bytes:
        """See `Pictures.image`."""
        pixels = self._pixels(index)
        if pixels.dtype == np.uint8:
            return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        if pixels.shape[2] == 3:
            return to_png(to_uint8(pixels))
        levels = np.rint(pixels[:, :, 0] * DEEP).astype(np.uint16)
        return to_png(np.stack([levels >> 8, levels & 255, np.zeros_like(levels)], axis=2).astype(np.uint8))

    def thumbnail(self, index: int) -> bytes:
        """See `Pictures.thumbnail`."""
        return thumbnail(self._store.picture(index), THUMBNAIL)

    def about(self, index: int) -> dict[str, Any]:
        """See `Pictures.about`."""
        pixels = self._pixels(index)
        height, width, channels = pixels.shape
        deep = pixels.dtype != np.uint8 and channels == 1
        low, high = _window(pixels) if deep else (0.0, 1.0)
        return {
            "height": height,
            "width": width,
            "deep": deep,
            "span": list(self._dataset.span) if deep and self._dataset.span else [],
            "window": [low, high],
            "slices": self._slices(index),
            "bag": self._dataset.bags[index] if self._bags else "",
            "looked": self._looked(index) if self._bags and self._may_propose else [],
        }

    def shown(self, index: int) -> npt.NDArray[np.uint8]:
        """See `Pictures.shown`."""
        pixels = self._pixels(index)
        if pixels.dtype != np.uint8 and pixels.shape[2] == 1:
            low, high = _window(pixels)
            pixels = np.clip((pixels - low) / (high - low), 0, 1)
        return to_uint8(pixels)

    def size(self, index: int) -> tuple[int, int]:
        """See `Pictures.size`."""
        self._check(index)
        masks = self._dataset.masks
        height, width = self._pixels(index).shape[:2] if masks is None else masks.sizes[index].tolist()
        return height, width

    def similar(self, index: int, labels: Mapping[int, str]) -> list[dict[str, Any]]:
        """See `Pictures.similar`: by the cosine of the embeddings of stage 0."""
        rows = np.asarray([i for i in labels if i != index], dtype=np.int64)
        if not len(rows):
            return []
        closeness = self._embeddings.take(rows, "cosine") @ self._embeddings.take(_one(index), "cosine")[0]
        nearest = rows[np.argsort(-closeness, kind="stable")[:SIMILAR]].tolist()
        return [{"index": i, "id": self._dataset.manifest.ids[i], "label": labels[i]} for i in nearest]

    def proposal(self, index: int) -> bytes | None:
        """See `Pictures.proposal`."""
        probs = self.outputs(index) if self._proposes else None
        return None if probs is None else to_png(own_labels(probs, *self.size(index)))

    def doubt(self, index: int) -> bytes | None:
        """See `Pictures.doubt`: the entropy of the pixels."""
        probs = self.outputs(index) if self._proposes else None
        return None if probs is None else to_png(doubts(probs, *self.size(index)))

    def outputs(self, index: int) -> FloatArray | None:
        """What the last model says of an image: probabilities (K,), or (K, S, S) of pixels; None without a model."""
        rounds = len(self._project.run.rounds())
        if not rounds:
            return None
        with self._lock:  # one network, one answer at a time
            if self._model is None or self._model[0] != rounds:
                from ..api.deployed import model_of_run

                self._model = rounds, model_of_run(self._project.run.path, str(self._project.device))
            ((_, probs),) = self._model[1].of_store(self._store, _one(index))
        return np.asarray(probs[0])

    def asked(self, index: int, round: int) -> bytes | None:
        """See `Pictures.asked`."""
        file = self._project.run.round_path(round) / ASKED / file_name(index)
        return file.read_bytes() if file.is_file() else None

    @cached_property
    def _embeddings(self) -> Embeddings:
        loaded = Embeddings.load(self._project.embeddings(PLAIN), manifest=self._dataset.manifest.fingerprint)
        return loaded if self._bags is None else self._bags.pooled(loaded)

    @cached_property
    def _volumes(self) -> dict[str, list[int]]:
        """Path of a volume, or the series of slices in several files -> positions of its slices in their order."""
        manifest, volumes = self._dataset.manifest, dict[str, list[int]]()
        for i, z in enumerate(manifest.z):
            if z >= 0 or self._series(i):
                volumes.setdefault(self._series(i) or manifest.paths[i], []).append(i)
        return {
            name: rows if self._series(rows[0]) else sorted(rows, key=lambda i: manifest.z[i])
            for name, rows in volumes.items()
        }

    def _series(self, index: int) -> str:
        return self._dataset.series[index] if self._dataset.series else ""

    def _slices(self, index: int) -> list[int]:
        if self._bags is not None:
            rows: list[int] = self._bags.rows(index).tolist()
            return rows
        return self._volumes.get(self._series(index) or self._dataset.manifest.paths[index], [index])

    def _looked(self, index: int) -> list[int]:
        """The rows of most attention of a bag of the open query, as `tiles.csv` beside it has them."""
        run, manifest = self._project.run, self._dataset.manifest
        file = run.round_path(len(run.rounds())) / "tiles.csv"
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.DictReader(lines) if row["bag"] == manifest.ids[index]]
        return [manifest.position[row["id"]] for row in rows]

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self._dataset.manifest):
            raise InputError("image", f"a position below {len(self._dataset.manifest)}", str(index))

    def _pixels(self, index: int) -> npt.NDArray[Any]:
        self._check(index)
        pixels, middle = self._dataset.read(index), self._dataset.stack // 2
        return pixels[:, :, middle : middle + 1] if self._dataset.stack > 1 else pixels


def doubts(probs_CSS: FloatArray, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Entropy of the pixels of an image in its own size (H, W), 255 where all classes are as likely."""
    box = image_box(height, width, probs_CSS.shape[1])
    entropy = pixel_entropy(probs_CSS[None, None])[0][box.rows, box.columns]
    resized = Image.fromarray(entropy.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(np.asarray(resized), 0, 1) * 255).astype(np.uint8)
    return levels


def _window(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """The levels of a deep image between which it is first seen."""
    low, high = (float(np.percentile(pixels, q)) for q in (0.5, 99.5))
    return (low, high) if high > low else (0.0, 1.0)


def _one(index: int) -> IntArray:
    return np.asarray([index], dtype=np.int64)
