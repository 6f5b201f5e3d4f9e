"""Stage 0: self-supervised methods by name; adding one = one file, one line here."""

from __future__ import annotations

from .base import Method
from .byol import BYOL
from .densecl import DenseCL
from .dino import DINO
from .mae import MAE
from .moco_v3 import MoCoV3
from .rotation import Rotation
from .simclr import SimCLR

METHODS: dict[str, type[Method]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "moco_v3": MoCoV3,
    "dino": DINO,
    "mae": MAE,
    "densecl": DenseCL,
    "rotation": Rotation,
}
NONE = "none"  # no pretraining: the encoder keeps its random or loaded weights
