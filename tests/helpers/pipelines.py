"""Serialized pipelines of albumentations, as a recipe has them."""

from __future__ import annotations

from typing import Any

NEAREST = 0


def transform(kind: str, p: float = 1.0, /, **settings: Any) -> dict[str, Any]:
    return {"__class_fullname__": kind, "p": p, **settings}


def pipeline(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"__version__": "2.0.8", "transform": transform("Compose", transforms=list(transforms))}


FLIPS = pipeline(transform("HorizontalFlip", 0.5), transform("VerticalFlip", 0.5))
STRONG = pipeline(
    transform("Affine", rotate=[-20, 20], scale=[0.7, 1.2], interpolation=NEAREST, border_mode=0, fill=0),
    transform("OneOf", 0.8, transforms=[transform("GaussianBlur"), transform("GaussNoise")]),
    transform("RandomBrightnessContrast"),
    transform("CoarseDropout", 0.5, fill=0),
)
MOVING = pipeline(
    transform("HorizontalFlip", 0.5),
    transform("Affine", rotate=[-30, 30], scale=[0.6, 1.2], interpolation=NEAREST, border_mode=0, fill=255),
    transform("GridElasticDeform", num_grid_xy=[3, 3], magnitude=2, interpolation=NEAREST),
    transform("ElasticTransform", alpha=30, sigma=5, interpolation=NEAREST, border_mode=0, fill=255),
    transform("CoarseDropout", fill=255),
)
