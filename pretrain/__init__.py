"""Stage 0: self-supervised methods by name; adding one = one file, one line here."""

from __future__ import annotations

from .base import Method
from .simclr import SimCLR

METHODS: dict[str, type[Method]] = {
    "simclr": SimCLR,
}
NONE = "none"  # no pretraining: the encoder stays as it was built or loaded
