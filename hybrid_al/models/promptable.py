"""A promptable segmenter: a box or points of an image in, a mask out, by an ONNX pair of SAM's encoder and decoder.

Kirillov et al., Segment Anything (2023); the files are as its repository and samexporter write them. onnxruntime is
imported here alone (extra `segmenter`).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.types import BoolArray, FloatArray
from ..errors import InputError, reading

SIDE = 1024  # of what an encoder sees, where its file does not say it
MEAN = np.asarray((123.675, 116.28, 103.53), dtype=np.float32)  # of SAM's training images
SPREAD = np.asarray((58.395, 57.12, 57.375), dtype=np.float32)
TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 2.0, 3.0, -1.0  # SAM's labels of points beside 0 (outside) and 1 (inside)
FEEDS = ("image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
RANKS = (4, 3, 2, 4, 1, 1)
MOST_POINTS = 64


@dataclass(frozen=True)
class Prompt:
    """What a person says of a structure, in pixels of the image from its upper left corner.

    box     left, top, right, bottom
    points  (x, y, whether it lies in the structure)
    """

    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float, bool], ...] = ()

    def check(self, height: int, width: int) -> None:
        """InputError for a prompt that says nothing, or is no part of an image of this size."""
        if self.box is None and not self.points:
            raise InputError("prompt", "a box, or a point", "neither")
        if len(self.points) > MOST_POINTS:
            raise InputError("prompt.points", f"{MOST_POINTS} at most", str(len(self.points)))
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                came = ", ".join(f"{edge:g}" for edge in self.box)
                raise InputError("prompt.box", f"0 <= left < right <= {width} and 0 <= top < bottom <= {height}", came)
        for x, y, _ in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError("prompt.points", f"0 <= x <= {width} and 0 <= y <= {height}", f"{x:g}, {y:g}")


@dataclass(frozen=True)
class Embedded:
    """What the encoder makes of an image of `height` x `width` pixels."""

    values: FloatArray
    height: int
    width: int


class Promptable:
    """A pair of files, loaded.

    InputError: onnxruntime is missing; a file is no ONNX; its inputs and outputs are not those of the encoder or the
    decoder of a segmenter; the two do not belong together.
    """

    def __init__(self, encoder: Path, decoder: Path) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            expected = "the package onnxruntime: pip install 'hybrid-al[segmenter]'"
            raise InputError("label.segmenter", expected, "none")
        self._encoder, self._decoder = _session(encoder, "encoder"), _session(decoder, "decoder")
        self._side = _check_encoder(encoder, self._encoder)
        _check_decoder(decoder, self._decoder)
        self._check_pair(encoder, decoder)

    def try_out(self) -> str:
        """Draw from a box on a blank image; what the encoder sees, in words. InputError where no mask comes out."""
        blank = self.embed(np.zeros((48, 64, 3), dtype=np.uint8))
        self.mask(blank, Prompt(box=(8, 8, 40, 40)))
        return f"an encoder of {self._side} x {self._side} pixels and its decoder"

    def embed(self, image: npt.NDArray[np.uint8]) -> Embedded:
        """The embedding of an image (H, W, 1 or 3); all that takes long."""
        height, width = image.shape[:2]
        rows, columns = scaled(height, width, self._side)
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
        pixels = np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR), dtype=np.float32)
        entry = self._encoder.get_inputs()[0]
        if len(entry.shape) == 4:  # else the graph itself does what follows
            canvas = np.zeros((self._side, self._side, 3), dtype=np.float32)
            canvas[:rows, :columns] = (pixels - MEAN) / SPREAD
            pixels = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])
        return Embedded(_run(self._encoder, None, {entry.name: pixels})[0], height, width)

    def mask(self, image: Embedded, prompt: Prompt) -> BoolArray:
        """The structure of a prompt (H, W), in pixels of the image; nothing of it lies outside the box."""
        prompt.check(image.height, image.width)
        longer = max(image.height, image.width)
        size = scaled(image.height, image.width, min(self._side, longer))  # in more pixels a mask has no more detail
        points, labels = _marks(prompt)
        values = (
            image.values,
            points[None] * np.float32(self._side / longer),
            labels[None],
            np.zeros((1, 1, *(4 * n for n in image.values.shape[2:])), dtype=np.float32),
            np.zeros(1, dtype=np.float32),
            np.asarray(size, dtype=np.float32),
        )
        masks, quality = _run(self._decoder, ["masks", "iou_predictions"], dict(zip(FEEDS, values, strict=True)))
        if masks.ndim != 4 or masks.shape[2:] != size:
            expected = f"a decoder that draws masks (1, M, {size[0]}, {size[1]}), as orig_im_size asks"
            raise InputError("label.segmenter", expected, _text(masks.shape))
        best: BoolArray = masks[0, int(np.argmax(quality[0]))] > 0
        if size != (image.height, image.width):
            large = Image.fromarray(best).resize((image.width, image.height), Image.Resampling.NEAREST)
            best = np.asarray(large, dtype=np.bool_)
        return best if prompt.box is None else _within(best, prompt.box)

    def _check_pair(self, encoder: Path, decoder: Path) -> None:
        made, taken = self._encoder.get_outputs()[0].shape, self._decoder.get_inputs()
        wanted = next(entry.shape for entry in taken if entry.name == FEEDS[0])
        if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(made, wanted, strict=True)):
            raise InputError(decoder, f"the decoder of {encoder}, which makes {_text(made)}", f"one of {_text(wanted)}")


def scaled(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of an image of which the longer one is made `side`, as SAM rounds them."""
    factor = side / max(height, width)
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def _marks(prompt: Prompt) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The points (n, 2) of a prompt as SAM takes them, x first, with their labels (n,)."""
    points = [(x, y) for x, y, _ in prompt.points]
    labels = [float(is_inside) for _, _, is_inside in prompt.points]
    if prompt.box is None:
        points, labels = [*points, (0.0, 0.0)], [*labels, NO_POINT]
    else:
        points, labels = [*points, prompt.box[:2], prompt.box[2:]], [*labels, TOP_LEFT, BOTTOM_RIGHT]
    return np.asarray(points, dtype=np.float32), np.asarray(labels, dtype=np.float32)


def _within(mask: BoolArray, box: tuple[float, float, float, float]) -> BoolArray:
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    kept = np.zeros_like(mask)
    kept[top:bottom, left:right] = mask[top:bottom, left:right]
    return kept


def _session(file: Path, what: str) -> Any:
    import onnxruntime

    if not file.is_file():
        came = "a folder" if file.is_dir() else "no such file"
        raise InputError(f"label.segmenter.{what}: {file}", "an ONNX file", came)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # half the time where cores are shared
    with reading(file, "an ONNX file"):
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _run(session: Any, names: Sequence[str] | None, feed: dict[str, Any]) -> list[Any]:
    with reading("label.segmenter", "a network that takes what its file says"):
        made: list[Any] = session.run(names, feed)
        return made


def _check_encoder(file: Path, session: Any) -> int:
    """The side of what the encoder of a segmenter sees, in pixels."""
    shapes = [entry.shape for entry in session.get_inputs()]
    made = session.get_outputs()[0].shape
    is_plain = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] == 3 and len(set(shapes[0][2:])) == 1
    is_whole = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][2] == 3
    if not (is_plain or is_whole) or len(made) != 4:
        expected = "the encoder of a segmenter: an image (1, 3, S, S) or (H, W, 3) in, an embedding (1, C, h, w) out"
        raise InputError(file, expected, _signature(session))
    side = shapes[0][2] if is_plain else SIDE
    return side if isinstance(side, int) else SIDE


def _check_decoder(file: Path, session: Any) -> None:
    ranks = {entry.name: len(entry.shape) for entry in session.get_inputs()}
    made = {entry.name for entry in session.get_outputs()}
    if ranks != dict(zip(FEEDS, RANKS, strict=True)) or not made >= {"masks", "iou_predictions"}:
        expected = f"the decoder of a segmenter: {', '.join(FEEDS)} in, masks and iou_predictions out"
        raise InputError(file, expected, _signature(session))


def _signature(session: Any) -> str:
    """Names and shapes of what a graph takes and makes."""
    sides = (session.get_inputs(), session.get_outputs())
    return " in, ".join(", ".join(f"{entry.name} {_text(entry.shape)}" for entry in side) for side in sides) + " out"


def _text(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join(str(n) for n in shape)})"
