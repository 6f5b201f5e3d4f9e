"""Source of synthetic images: stained cells of several kinds under a microscope, with their masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...core.manifest import Split
from ...core.rng import derive, derive_seed
from ...core.types import BoolArray, FloatArray, IntArray
from ...errors import InputError
from ..base import Dataset, Masks, Pixels
from ..index import FileIndex
from ..samples import Sample, content_digest, make_dataset


class Kind(NamedTuple):
    """The typical cell of a class, around which single cells vary. Lengths: half the image is 1."""

    name: str
    radius: float
    stretch: float  # long axis over short axis
    ruffle: float  # amplitude of the waves of the outline, of the radius
    nucleus: float  # radius of the nucleus, of the cell's
    lobes: int  # parts of the nucleus
    grain: float  # strength of the granules in the cytoplasm
    chromatin: float  # strength of the texture in the nucleus


KINDS = (
    Kind("lobed", 0.52, 1.10, 0.03, 0.50, 3, 0.25, 0.20),
    Kind("round", 0.42, 1.05, 0.02, 0.78, 1, 0.05, 0.20),
    Kind("kidney", 0.60, 1.20, 0.07, 0.58, 2, 0.12, 0.25),
    Kind("granular", 0.54, 1.10, 0.03, 0.50, 2, 0.70, 0.20),
    Kind("blast", 0.58, 1.12, 0.05, 0.80, 1, 0.05, 0.60),
    Kind("plasma", 0.52, 1.55, 0.03, 0.45, 1, 0.10, 0.45),
)
TRAITS = {"large": (0, 0.52), "elongated": (1, 1.2), "lobed nucleus": (4, 1.5), "granular": (5, 0.2)}
"""Labels of a cell in multilabel tasks: column of the numbers of `Kind` (without the name), and the limit above which
the label is 1."""
TAIL = 0.65  # each class is this much rarer than the one before it
PER_PATIENT = 20  # images of a patient, on average
NEAR_DUPLICATES = 0.15  # share of the images that show the cell of another image, if there is one to repeat
CHUNK = 256  # images drawn at a time
CYTOPLASM = (0.25, 0.35, 0.10)  # optical densities of red, green and blue
NUCLEUS = (0.85, 1.05, 0.45)
NEIGHBOUR = (0.10, 0.35, 0.30)


@dataclass(frozen=True)
class Phantom:
    """A synthetic, seeded set for trials: no patient's data, no download, a second or two to make.

    Each image shows one cell near its middle and up to three paler ones around it. The classes differ in size,
    outline, nucleus and texture, overlap, and have a long tail. Patients, disjoint between the splits, have a stain,
    light and focus of their own; some images are near-duplicates of another of the same patient.
    The parameters were fixed before any strategy was tried on them, and must not be tuned on one.

    n_pool, n_val, n_test  images of each split (val and test may be 0); size in pixels; classes 2 to 6
    multilabel  the classes are labels of a cell, each 0 or 1 (`TRAITS`), not its kind
    masks  the classes are those of the pixels, background and cell (the one near the middle), not the kinds of cells
    """

    n_pool: int = 1000
    n_val: int = 150
    n_test: int = 300
    size: int = 32
    classes: int = 5
    seed: int = 0
    masks: bool = False
    multilabel: bool = False

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Draw the images, RGB uint8; the same settings give the same images."""
        if self.masks and self.multilabel:
            raise InputError("data", "masks or multilabel: a recipe has one task", "both")
        content = _draw(self)
        samples = [
            Sample(
                id=f"{split}/{i:05d}",
                path=f"phantom#{i}",
                group=f"patient{content.patients[i]:04d}",
                split=split,
                label=-1 if self.masks or self.multilabel else int(content.labels[i]),
                digest=content_digest(content.images[i].tobytes()),
                labels=tuple(content.traits[i].tolist()) if self.multilabel else (),
            )
            for i, split in enumerate(content.splits)
        ]
        names = ["background", "cell"] if self.masks else [kind.name for kind in KINDS[: self.classes]]
        names = list(TRAITS) if self.multilabel else names
        masks = self._masks(content.masks) if self.masks else None
        read = partial(_read, self)
        return make_dataset(samples, read, classes=names, channels=3, holdout={}, seed=self.seed, masks=masks)

    def _masks(self, masks: BoolArray) -> Masks:
        n = len(masks)
        return Masks(
            labeled=np.ones(n, dtype=np.bool_),
            read=lambda i: self.mask(i).astype(np.uint8),
            keys=tuple(content_digest(mask.tobytes()) for mask in masks),
            sizes=np.full((n, 2), self.size, dtype=np.int64),
            spacing=np.full((n, 3), np.nan),
        )

    def mask(self, index: int) -> BoolArray:
        """Mask of the cell near the middle of an image (size, size)."""
        mask: BoolArray = _draw(self).masks[index].copy()
        return mask


@dataclass(frozen=True)
class _Content:
    """All of a phantom: images (N, S, S, 3), masks (N, S, S), labels and patients (N,), traits (N, L)."""

    images: npt.NDArray[np.uint8]
    masks: BoolArray
    labels: IntArray
    patients: IntArray
    splits: tuple[Split, ...]
    traits: IntArray


@dataclass(frozen=True)
class _Cells:
    """Parameters of the cells: one row per image, (N,) or (N, K)."""

    kind: FloatArray  # (N, 7): the numbers of Kind, this cell's own
    angle: FloatArray
    centre: FloatArray  # (N, 2)
    waves: FloatArray  # (N, 3) phases of the outline
    nucleus: FloatArray  # (N, 2) where in the cell, and its angle
    around: FloatArray  # (N, 3, 3) neighbours: angle, distance, radius
    stain: FloatArray  # (N, 2, 3) factors on the densities of cytoplasm and nucleus
    light: FloatArray  # (N, 5): red, green, blue, slope to the right, slope down
    focus: FloatArray  # blur in pixels at 32 pixels
    texture: IntArray  # seed of the granules

    def rows(self, index: IntArray | slice) -> _Cells:
        return _Cells(**{name: values[index] for name, values in vars(self).items()})


def _read(settings: Phantom, index: int) -> Pixels:
    image: Pixels = _draw(settings).images[index]
    return image


def _draw(settings: Phantom) -> _Content:
    return _content(replace(settings, masks=False, multilabel=False))


@lru_cache(maxsize=2)
def _content(settings: Phantom) -> _Content:
    _check(settings)
    rng = derive(settings.seed, "phantom")
    labels, patients, splits = _people(settings, rng)
    cells = _cells(labels, patients, rng, settings.seed)
    images, masks = [], []
    for start in range(0, len(labels), CHUNK):
        image, mask = _render(cells.rows(slice(start, start + CHUNK)), settings.size, rng)
        images.append(image)
        masks.append(mask)
    traits = np.stack([cells.kind[:, column] > limit for column, limit in TRAITS.values()], axis=1).astype(np.int64)
    return _Content(np.concatenate(images), np.concatenate(masks), labels, patients, splits, traits)


def _check(settings: Phantom) -> None:
    if not 2 <= settings.classes <= len(KINDS):
        raise InputError("data.classes", f"2 to {len(KINDS)}", str(settings.classes))
    if not 16 <= settings.size <= 512:
        raise InputError("data.size", "16 to 512 pixels", str(settings.size))
    for name in ("n_pool", "n_val", "n_test"):
        n = getattr(settings, name)
        if n < settings.classes and not (n == 0 and name != "n_pool"):
            raise InputError(f"data.{name}", f"at least one image of each of the {settings.classes} classes", str(n))


def _people(settings: Phantom, rng: np.random.Generator) -> tuple[IntArray, IntArray, tuple[Split, ...]]:
    """Class and patient of every image; every split has the same long tail, and at least one image of each class."""
    share = TAIL ** np.arange(settings.classes)
    labels, patients, splits = [], [], []
    first = 0
    sizes: tuple[tuple[Split, int], ...] = (
        ("pool", settings.n_pool),
        ("val", settings.n_val),
        ("test", settings.n_test),
    )
    for split, n in sizes:
        counts = 1 + np.floor((n - settings.classes) * share / share.sum()).astype(np.int64) if n else share * 0
        counts[0] += n - counts.sum()
        labels.append(rng.permutation(np.repeat(np.arange(settings.classes), counts.astype(np.int64))))
        people = max(1, n // PER_PATIENT)
        patients.append(first + rng.integers(people, size=n))
        splits += [split] * n
        first += people
    return np.concatenate(labels), np.concatenate(patients), tuple(splits)


def _cells(labels: IntArray, patients: IntArray, rng: np.random.Generator, seed: int) -> _Cells:
    """Parameters of every cell; near-duplicates get those of another cell of the same patient and class, with noise."""
    n, people = len(labels), int(patients.max()) + 1
    kind = np.asarray([tuple(KINDS[label])[1:] for label in labels], dtype=np.float64)
    spread = np.asarray([0.10, 0.08, 0.5, 0.10, 0.0, 0.35, 0.25])
    stain = np.exp(rng.normal(0.0, 0.22, (people, 2, 1)) + rng.normal(0.0, 0.12, (people, 2, 3)))
    light = np.concatenate([rng.uniform(0.84, 0.98, (people, 3)), rng.normal(0.0, 0.08, (people, 2))], axis=1)
    cells = _Cells(
        kind=kind * np.exp(rng.normal(size=kind.shape) * spread),
        angle=rng.uniform(0.0, 2 * np.pi, n),
        centre=rng.normal(0.0, 0.07, (n, 2)),
        waves=rng.uniform(0.0, 2 * np.pi, (n, 3)),
        nucleus=np.stack([rng.uniform(0.0, 0.3, n), rng.uniform(0.0, 2 * np.pi, n)], axis=1),
        around=rng.uniform([0.0, 0.95, 0.0], [2 * np.pi, 1.35, 0.45], (n, 3, 3)),
        stain=stain[patients] * np.exp(rng.normal(0.0, 0.06, (n, 2, 1))),
        light=light[patients],
        focus=rng.uniform(0.3, 0.9, people)[patients],
        texture=np.arange(n) + derive_seed(seed, "phantom texture") % 2**40,
    )
    copies = cells.rows(_sources(labels, patients, rng))
    return replace(
        copies,
        centre=copies.centre + rng.normal(0.0, 0.02, (n, 2)),
        angle=copies.angle + rng.normal(0.0, 0.05, n),
        light=copies.light * np.exp(rng.normal(0.0, 0.03, (n, 1)) * [1, 1, 1, 0, 0]),
    )


def _sources(labels: IntArray, patients: IntArray, rng: np.random.Generator) -> IntArray:
    """Image whose cell each image shows (N,): itself, or for near-duplicates one of the same patient and class."""
    source = np.arange(len(labels))
    again = rng.random(len(labels)) < NEAR_DUPLICATES
    first: dict[tuple[int, int], int] = {}
    for i, key in enumerate(zip(patients.tolist(), labels.tolist(), strict=True)):
        if again[i] and key in first:
            source[i] = first[key]
        else:
            first[key] = i
    return source


def _render(cells: _Cells, size: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], BoolArray]:
    """Images (B, S, S, 3) and masks (B, S, S): the light that passes through the optical densities of the cells."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius, stretch, ruffle, nucleus, lobes, grain, chromatin = cells.kind.T[:, :, None, None]
    cos, sin = np.cos(cells.angle)[:, None, None], np.sin(cells.angle)[:, None, None]
    dx, dy = x - cells.centre[:, 0, None, None], y - cells.centre[:, 1, None, None]
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    turn = np.arctan2(v, u)
    waves = sum(np.cos((k + 2) * turn + cells.waves[:, k, None, None]) for k in range(3))
    edge = radius * (1 + ruffle * waves) - np.hypot(u / np.sqrt(stretch), v * np.sqrt(stretch))
    body = _soft(edge, size)
    core = _nucleus(u, v, radius * nucleus, lobes, cells.nucleus, size) * body
    granules, clumps = _textures(cells.texture, size)
    others = np.zeros_like(body)
    for angle, distance, reach in cells.around.transpose(1, 2, 0)[:, :, :, None, None]:
        gap = np.hypot(x - distance * np.cos(angle), y - distance * np.sin(angle))
        others = np.maximum(others, _soft(reach - gap, size) * (0.6 + 0.4 * np.minimum(gap / (reach + 1e-9), 1.0)))
    density = (body * (1 - core) * np.maximum(1 + grain * granules, 0.1))[..., None] * _tint(cells, 0, CYTOPLASM)
    density += (core * np.maximum(1 + chromatin * 0.5 * clumps, 0.2))[..., None] * _tint(cells, 1, NUCLEUS)
    density += (others * (1 - body))[..., None] * _tint(cells, 0, NEIGHBOUR)
    slope = 1 + cells.light[:, 3, None, None] * x + cells.light[:, 4, None, None] * y
    light = cells.light[:, None, None, :3] * slope[..., None]
    picture = _blur(np.moveaxis(light * np.exp(-density), 3, 1), cells.focus[:, None] * size / 32)
    pixels = np.moveaxis(picture, 1, 3) + rng.normal(0.0, 0.02, density.shape)
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8), edge > 0


def _nucleus(
    u: FloatArray, v: FloatArray, radius: FloatArray, lobes: FloatArray, place: FloatArray, size: int
) -> FloatArray:
    """The nucleus (B, S, S), 0 to 1: one disc, or overlapping lobes on an arc."""
    shift, turn = place[:, 0, None, None] * radius, place[:, 1, None, None]
    inside = np.zeros_like(u)
    is_lobed = lobes > 1.5
    for k in range(3):
        angle = turn + 1.9 * (k - 0.5)
        away = np.where(is_lobed, 0.75 * radius, shift)
        reach = np.where(is_lobed, 0.68 * radius, radius)
        lobe = _soft(reach - np.hypot(u - away * np.cos(angle), v - away * np.sin(angle)), size)
        inside = np.where(k < lobes - 0.5, np.maximum(inside, lobe), inside)
    return inside


def _textures(seeds: IntArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Fine granules and coarse clumps (B, S, S), of mean 0 and variance about 1, the same for the same seed."""
    noise = np.stack([np.random.default_rng(int(seed)).standard_normal((2, size, size)) for seed in seeds])
    blurred = _blur(noise, np.asarray([[0.7, 1.1]]) * size / 32)
    blurred /= blurred.std(axis=(2, 3), keepdims=True)
    return blurred[:, 0], blurred[:, 1]


def _blur(fields: FloatArray, sigma: FloatArray) -> FloatArray:
    """Gaussian blur of fields (B, K, S, S) by sigma pixels (B or 1, 1 or K); the borders wrap around."""
    size = fields.shape[-1]
    squared = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None, :] ** 2
    transfer = np.exp(-2 * np.pi**2 * sigma[:, :, None, None] ** 2 * squared)
    blurred: FloatArray = np.fft.irfft2(np.fft.rfft2(fields) * transfer, s=fields.shape[-2:])
    return blurred


def _soft(edge: FloatArray, size: int) -> FloatArray:
    """0 outside to 1 inside, over about a pixel: `edge` is the distance inwards, in half images."""
    soft: FloatArray = np.clip(0.5 + edge * size / 4, 0.0, 1.0)
    return soft


def _tint(cells: _Cells, layer: int, density: tuple[float, float, float]) -> FloatArray:
    tint: FloatArray = cells.stain[:, layer, None, None, :] * np.asarray(density)
    return tint
