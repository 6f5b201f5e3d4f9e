"""Views by a pipeline of albumentations that a recipe brings: the only file that imports the package."""

from __future__ import annotations

import hashlib
import json
import os
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...core.types import IGNORE
from ...errors import InputError, UnknownName
from .draws import number
from .policies import check

Node = Mapping[str, Any]
Images = npt.NDArray[np.uint8]

NAME, BELOW, STILL = "__class_fullname__", "transforms", "NoOp"
PACKAGE = "albumentations"
FILLED = 2**16 - 1  # of the row and column of a pixel that no pixel of the image lies behind
TRIES = 8
MODULES = {  # of transforms, and whether they move pixels; those of others want more than an image, or give none
    "blur": False,
    "pixel": False,
    "crops": True,
    "geometric": True,
    "dropout": False,
    "other": False,
}
COLOUR = (
    *("ChannelDropout", "ChannelShuffle", "ChromaticAberration", "FancyPCA", "HEStain", "HueSaturationValue"),
    *("ISONoise", "PlanckianJitter", "RGBShift", "RandomFog", "RandomGravel", "RandomRain", "RandomSnow"),
    *("RandomSunFlare", "Spatter", "ToGray", "ToRGB", "ToSepia"),
)
WANT_MORE = (
    *("AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "ConstrainedCoarseDropout", "CropNonEmptyMaskIfExists"),
    *("MaskDropout", "RandomCropNearBBox", "RandomSizedBBoxSafeCrop"),
    "Morphological",  # changes the shape of a structure, and in a mask with numbers for classes the class
)
REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, Warning)


def load(where: str) -> ModuleType:
    """The package, which may not ask the network for a newer version of itself; InputError where it is missing."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    try:
        import albumentations
        import cv2
    except ImportError:
        raise InputError(where, f"{PACKAGE} (pip install hybrid-al[{PACKAGE}])", "none") from None
    cv2.setNumThreads(0)  # an image is too small to share
    module: ModuleType = albumentations
    return module


@dataclass(frozen=True)
class Pipeline:
    """A `View` by a serialized pipeline: what `albumentations.to_dict` gives, as canonical JSON.

    Each image is viewed alone, as uint8, with a generator of its own. Its seed comes from one number of the caller's
    generator and from the pixels, so that the view does not depend on the place in the batch or on the other images;
    only of images that are alike to the pixel, each in turn gets another.

    where  the key of the recipe, for messages
    """

    content: str
    where: str = field(default="views", compare=False)

    @classmethod
    def of(cls, plain: Node, where: str) -> Pipeline:
        """The pipeline of plain values, built once.

        Raises InputError where the package is missing, a class is none of its own or wants more than an image, or a
        setting is unknown or out of range.
        """
        load(where)
        try:
            content = json.dumps(_short(plain["transform"]), sort_keys=True, allow_nan=False)
        except (KeyError, TypeError, ValueError):
            expected = "what albumentations.to_dict gives, with a key `transform`"
            raise InputError(where, expected, " ".join(str(plain).split())[:80]) from None
        pipeline = cls(content, where)
        pipeline._compose  # noqa: B018 (builds it)
        return pipeline

    def __repr__(self) -> str:
        """Version and content, which cache keys take."""
        return f"albumentations {metadata.version(PACKAGE)} {self.content}"

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """See `View.__call__`; the images are rounded to 256 levels."""
        pixels = _to_pixels(images)
        seeds = _seeds(pixels, generator)
        views = [self._view(image, seed)["image"] for image, seed in zip(pixels, seeds, strict=True)]
        return _to_images(views, images.device)

    def with_maps(
        self, images: Tensor, maps: Tensor, generator: torch.Generator, filled: int = IGNORE
    ) -> tuple[Tensor, Tensor]:
        """See `View.with_maps`; erased pixels count as filled, whatever `fill_mask` says."""
        pixels = _to_pixels(images)
        b, h, w = pixels.shape[:3]
        rows, columns = np.indices((h, w), dtype=np.uint16) + np.uint16(1)  # some transforms leave holes of 0
        results = [
            self._view(image, seed, mask=rows, columns=columns)
            for image, seed in zip(pixels, _seeds(pixels, generator), strict=True)
        ]
        row, column = (
            torch.from_numpy(np.stack([r[key] for r in results]).astype(np.int64)).to(maps.device)
            for key in ("mask", "columns")
        )
        blank = (row < 1) | (row > h) | (column < 1) | (column > w)
        place = ((row - 1) * w + column - 1).masked_fill(blank, 0)
        values = maps.flatten(1).gather(1, place.flatten(1)).view(b, h, w)
        values = values.masked_fill(blank, False if maps.dtype == torch.bool else filled)
        return _to_images([r["image"] for r in results], images.device), values

    def geometry(self) -> Pipeline:
        """See `View.geometry`."""
        return self._keep(moves=True, colours=False)

    def in_place(self) -> Pipeline:
        """See `View.in_place`; refused where nothing is left of the pipeline."""
        return self._keep(moves=False, colours=True)

    def check_on(self, images: Tensor) -> None:
        """Try every transform and the whole on images (B, C, H, W); InputError where a view is no such image."""
        plain = json.loads(self.content)
        if images.shape[1] == 1:
            for place, node in _leaves(plain, self.where):
                if node[NAME] in COLOUR:
                    raise InputError(place, "transforms that grey images have", f"{node[NAME]}, which is of colours")
        for i, forced in enumerate(_forced(plain)):
            Pipeline(json.dumps(forced), self.where)(images, torch.Generator().manual_seed(i))
        for i in range(TRIES):
            self(images, torch.Generator().manual_seed(i))

    def _keep(self, *, moves: bool, colours: bool) -> Pipeline:
        classes, kept = _classes(load(self.where)), 0

        def walk(node: Node) -> Node:
            nonlocal kept
            if BELOW in node:
                return {**node, BELOW: [walk(child) for child in node[BELOW]]}
            module = classes[node[NAME]].__module__.split(".")[2]
            moving, erasing = MODULES.get(module, False), module == "dropout"
            if (moves and moving) or (colours and not moving and not erasing):
                kept += 1
                return node
            return {NAME: STILL, "p": 1.0}

        content = json.dumps(walk(json.loads(self.content)), sort_keys=True)
        if not kept:
            rest = "moves pixels" if moves else "neither moves nor erases pixels, for masks"
            raise InputError(self.where, f"a transform that {rest}", "none")
        return Pipeline(content, self.where)

    @cached_property
    def _compose(self) -> Any:
        module = load(self.where)
        compose = _build(module, json.loads(self.content), f"{self.where}.transform")
        if not isinstance(compose, module.BaseCompose):
            compose = module.Compose([compose])
        compose.add_targets({"columns": "mask"})
        _of_maps(compose)
        return compose

    def _view(self, image: Images, seed: int, **maps: npt.NDArray[np.uint16]) -> dict[str, Any]:
        """One image (H, W, C) and its maps under the generator of a seed."""
        import cv2

        # a compose with a seed gives it to all its transforms, whose draws are then the same: all flips at once
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        cv2.setRNGSeed(seed % 2**31)
        try:
            result: dict[str, Any] = self._compose(image=image, **maps)
        except (*REFUSALS, cv2.error) as error:
            raise InputError(self.where, f"a pipeline for images of shape {image.shape}", _line(error)) from None
        originals: dict[str, npt.NDArray[Any]] = {"image": image, **maps}
        for key, before in originals.items():
            view = result[key]
            if not isinstance(view, np.ndarray) or (view.shape, view.dtype) != (before.shape, before.dtype):
                came = f"{view.dtype} of shape {tuple(view.shape)}"
                raise InputError(self.where, f"a pipeline that leaves {before.dtype} of shape {before.shape}", came)
        return result


def _seeds(pixels: Images, generator: torch.Generator) -> Iterator[int]:
    key, times = number(generator).to_bytes(8, "big"), Counter[int]()
    for image in pixels:
        seed = int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8, key=key).digest(), "big")
        yield seed + times[seed]
        times[seed] += 1


def _to_pixels(images: Tensor) -> Images:
    check(images)
    pixels: Images = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def _to_images(views: Sequence[Images], device: torch.device) -> Tensor:
    pixels = torch.from_numpy(np.stack(views)).to(device)
    return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)


def _classes(module: ModuleType) -> dict[str, Any]:
    """The package's own classes that can be serialized and take an image, by name."""
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY as REGISTRY

    kinds = (module.BasicTransform, module.BaseCompose)
    own = {n: c for n, c in REGISTRY.items() if c.__module__.startswith(f"{PACKAGE}.") and issubclass(c, kinds)}
    return {n: c for n, c in own.items() if n in vars(module) and not issubclass(c, module.Transform3D)}


def _short(node: Any) -> Any:
    """The node with the package's classes by their last name."""
    if not isinstance(node, Mapping):
        return node
    short = dict(node)
    if isinstance(name := node.get(NAME), str) and name.startswith(f"{PACKAGE}."):
        short[NAME] = name.rpartition(".")[2]
    if isinstance(below := node.get(BELOW), list):
        short[BELOW] = [_short(child) for child in below]
    return short


def _build(module: ModuleType, node: Any, where: str) -> Any:
    """The object of a node; no other classes than the package's own."""
    classes = _classes(module)
    if not isinstance(node, Mapping) or not isinstance(node.get(NAME), str):
        raise InputError(where, f"a mapping with the key {NAME}", " ".join(str(node).split())[:80])
    name, settings = node[NAME], {key: value for key, value in node.items() if key != NAME}
    if name == "Lambda":
        raise InputError(where, "a transform without code", name)
    if name not in classes:
        raise UnknownName(where, name, classes)
    if issubclass(classes[name], module.BaseCompose):
        nodes = settings.get(BELOW)
        if not isinstance(nodes, list):
            raise InputError(f"{where}.{BELOW}", "a list of transforms", " ".join(str(nodes).split())[:80])
        settings[BELOW] = [_build(module, child, f"{where}.{BELOW}[{i}]") for i, child in enumerate(nodes)]
    elif name != STILL and (name in WANT_MORE or classes[name].__module__.split(".")[2] not in MODULES):
        raise InputError(where, "a transform of an image alone that keeps its kind", name)
    if "p" not in settings and name != "Compose":
        raise InputError(f"{where} ({name})", "a probability p", "none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transform = classes[name](**settings)
    except REFUSALS as error:
        raise InputError(f"{where} ({name})", "settings of this transform", _line(error)) from None
    if isinstance(transform, module.BasicTransform):  # which only warns of what it does not know
        keys = {"p", *transform.get_transform_init_args_names()}
        for key in settings:
            if key not in keys:
                raise UnknownName(f"{where} ({name})", str(key), keys)
    return transform


def _of_maps(compose: Any) -> None:
    """Let maps move by nearest pixel, with `FILLED` wherever the image is filled."""
    for transform in compose.transforms:
        if hasattr(transform, BELOW):
            _of_maps(transform)
        for key, value in (("mask_interpolation", 0), ("fill_mask", FILLED), ("mask_drop_value", None)):
            if hasattr(transform, key):
                setattr(transform, key, value)


def _leaves(node: Node, where: str) -> Iterator[tuple[str, Node]]:
    if BELOW not in node:
        yield where, node
    for child in node.get(BELOW, ()):
        yield from _leaves(child, where)


def _forced(node: Node) -> list[Node]:
    """The pipeline with every probability at 1, several times where it chooses: each transform is in one of them."""
    if BELOW not in node:
        return [{**node, "p": 1.0}]
    below = [_forced(child) for child in node[BELOW]]
    if node[NAME] in ("OneOf", "OneOrOther", "SomeOf", "RandomOrder"):
        return [variant for variants in below for variant in variants]
    count = max(map(len, below), default=1)
    return [{**node, "p": 1.0, BELOW: [variants[i % len(variants)] for variants in below]} for i in range(count)]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
