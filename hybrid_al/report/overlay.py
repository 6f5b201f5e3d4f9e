"""Pictures of the report: prediction and truth drawn on an image, and thumbnails."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.types import IGNORE, LabelMap
from ..experiment import Example
from ..scores.samples import outlines

if TYPE_CHECKING:
    from ..data.stores.images import ImageStore

MISSED, WRONG, RIGHT = (0, 220, 90), (255, 60, 200), (255, 220, 0)
SIDE = 288  # pixels of the drawn picture at least
BRIGHTNESS = 0.8  # of the image's light, so that outlines stand out from what is white
TINT = 0.55
ANSWER_SIDE = 96  # pixels of a picked image with its answer, at least
BEYOND = 0.45  # of the light where nothing was asked
DARK = 128  # of 255: images whose brightest percent is darker are brightened


@dataclass(frozen=True)
class Overlay:
    """One drawn image: JPEG file, the sample's id, and a note such as its Dice."""

    jpeg: bytes
    id: str
    note: str

    @property
    def base64(self) -> str:
        """The file as text for a page."""
        return base64.b64encode(self.jpeg).decode()


def draw(pixels: npt.NDArray[np.uint8], truth: LabelMap, prediction: LabelMap) -> bytes:
    """JPEG of an image (S, S, C): what was missed is tinted green, what is wrong magenta, outlines of both yellow.

    Missed is a structure where the background was predicted, wrong any other structure than is there. Drawn on the
    enlarged image, so that an outline is thinner than a pixel of the network; the outlines of the truth alone are
    green, those of the prediction alone magenta. Dark and pale images are stretched to the full range. Nothing is
    drawn where the truth is unknown.
    """
    scale = max(1, -(-SIDE // max(truth.shape)))
    height, width = truth.shape
    large = _image(_stretch(pixels)).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    picture = BRIGHTNESS * np.asarray(large.convert("RGB"), dtype=np.float32)
    visible = np.where(truth == IGNORE, IGNORE, prediction)
    truth_map, labels = (np.repeat(np.repeat(m, scale, axis=0), scale, axis=1) for m in (truth, visible))
    differ = truth_map != labels
    for where, colour in ((differ & (labels == 0), MISSED), (differ & (labels > 0), WRONG)):
        picture[where] = (1 - TINT) * picture[where] + TINT * np.asarray(colour)
    true_lines, predicted_lines = outlines(truth_map), outlines(labels)
    for where, colour in ((true_lines, MISSED), (predicted_lines, WRONG), (true_lines & predicted_lines, RIGHT)):
        picture[where] = colour
    return _jpeg(Image.fromarray(picture.round().astype(np.uint8)))


def thumbnail(pixels: npt.NDArray[np.uint8], side: int = 64) -> bytes:
    """JPEG of an image (H, W, C), at most `side` pixels wide and high; a dark one is stretched to the full range."""
    dark = np.percentile(pixels, 99) < DARK
    image = _image(_stretch(pixels) if dark else pixels)
    image.thumbnail((side, side))
    return _jpeg(image)


def answer_thumbnail(pixels: npt.NDArray[np.uint8], labels: LabelMap) -> bytes:
    """JPEG of an image (S, S, C) with the outlines of an answer's structures in green.

    Where only a part of the image was asked about, what is beyond it is darker. An answer of another size than the
    image is brought to it.
    """
    if labels.shape != pixels.shape[:2]:
        labels = np.asarray(Image.fromarray(labels).resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
    scale = max(1, -(-ANSWER_SIDE // max(labels.shape)))
    height, width = labels.shape
    large = _image(_stretch(pixels)).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    picture = BRIGHTNESS * np.asarray(large.convert("RGB"), dtype=np.float32)
    enlarged = np.repeat(np.repeat(labels, scale, axis=0), scale, axis=1)
    beyond = enlarged == IGNORE
    if not beyond.all():
        picture[beyond] *= BEYOND
    picture[outlines(np.where(beyond, 0, enlarged).astype(np.uint8))] = MISSED
    image = Image.fromarray(picture.round().astype(np.uint8))
    image.thumbnail((2 * ANSWER_SIDE, 2 * ANSWER_SIDE))
    return _jpeg(image)


def _image(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=85, subsampling=0)  # a thin line keeps its colour
    return out.getvalue()


def _stretch(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The pixels with their percentiles 1 and 99 at 0 and 255; as they are where these are one."""
    low, high = np.percentile(pixels, (1, 99))
    if high <= low:
        return pixels
    levels: npt.NDArray[np.uint8] = ((pixels - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    return levels


def overlays(examples: Iterable[Example], store: ImageStore, ids: Sequence[str]) -> list[Overlay]:
    """Predictions drawn on held-out images."""
    return [Overlay(draw(store.picture(e.index), e.truth, e.prediction), ids[e.index], e.note) for e in examples]
