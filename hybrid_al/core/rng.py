"""Random generators derived from (run seed, purpose, round): nothing in the toolkit touches global random state."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, purpose: str, round: int = 0) -> int:
    """A 63-bit seed for one purpose of one round; unlike purposes and rounds get unrelated streams."""
    text = f"{seed}/{purpose}/{round}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def derive(seed: int, purpose: str, round: int = 0) -> np.random.Generator:
    """A NumPy generator for one purpose of one round."""
    return np.random.default_rng(derive_seed(seed, purpose, round))
