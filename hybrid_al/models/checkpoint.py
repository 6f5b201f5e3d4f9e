"""Weights on disk: written as safetensors, atomically; read as tensors alone, and checked key by key."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from timm.models import clean_state_dict
from torch import Tensor, nn

from ..core.files import write_atomic
from ..core.seals import sealed
from ..errors import InputError, reading

PICKLES = frozenset({".pth", ".pt", ".bin", ".ckpt", ".tar"})
# keys of a file, and prefixes of names, under which releases keep an encoder
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher", "student", "target_encoder", "encoder")
PREFIXES = ("backbone", "momentum_encoder", "base_encoder")


def save_weights(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> None:
    """Write named tensors, with a note of strings in the header."""
    data = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_atomic(path, save(data, metadata=dict(note or {})))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file, or a .pth, .pt, .bin, .ckpt or .tar file of torch.

    Of torch's files only tensors are read; a file that holds code is refused, and the code is not run. Weights are also
    found under the keys (`model`, `state_dict`, `teacher`, ...) and prefixes (`module.`, `backbone.`) of releases.
    """
    with reading(path, "a weights file"):
        is_file = path.is_file()
    if not is_file:
        raise InputError(path, "a weights file", "no such file")
    with reading(sealed(path), "a file of torch" if path.suffix in PICKLES else "a safetensors file"):
        tensors = _state_dict(path, _unpickle(path)) if path.suffix in PICKLES else load_file(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {name}", "finite numbers", "nan or inf among its weights")
    return tensors


def _unpickle(path: Path) -> object:
    try:
        # published files often hold the arguments of their training, which are plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        calls = _globals(path)
        came = f"a pickle that calls {', '.join(calls[:3])}" if calls else "no file of torch"
        raise InputError(path, "tensors and nothing else (code in a weights file is never run)", came) from error


def _globals(path: Path) -> list[str]:
    """Names of what a pickle would import and call; torch lists them for its newer files only."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 (a damaged pickle; what it is was said before)
        return []


def _state_dict(path: Path, content: object) -> dict[str, Tensor]:
    """The named tensors of a published file."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise InputError(path, "named tensors", type(content).__name__)
    if unnamed := [key for key in content if not isinstance(key, str)]:
        raise InputError(path, "named tensors", f"the key {unnamed[0]!r}")
    tensors = {key: value for key, value in clean_state_dict(dict(content)).items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        tensors = without_prefix(prefix, tensors) or tensors
    if not tensors:
        raise InputError(path, "named tensors", f"the keys {', '.join(map(str, list(content)[:5])) or '(none)'}")
    return tensors


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: object) -> None:
    """Copy tensors into a module with exactly the same keys and shapes; an error names those that differ."""
    expected = module.state_dict()
    shared = [key for key in expected if key in tensors]
    differ = {
        "missing": [key for key in expected if key not in tensors],
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} for {tuple(expected[key].shape)}"
            for key in shared
            if expected[key].shape != tensors[key].shape
        ],
        "extra": [key for key in tensors if key not in expected],
    }
    if any(differ.values()):
        came = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in differ.items() if keys)
        raise InputError(where, f"the {len(expected)} tensors of {type(module).__name__}", came)
    module.load_state_dict(dict(tensors))


def _first(keys: list[str], count: int = 3) -> str:
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")


def digest_of(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers, names and bytes, and of `identity` where it has one."""
    digest = hashlib.sha256(str(getattr(module, "identity", "")).encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix.key`."""
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.`, with the prefix taken off."""
    return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{prefix}.")}


def seed_of(weight: Tensor) -> int:
    """A seed for random passes: another one after every fit, the same for a network that was saved and loaded."""
    return zlib.crc32(weight.detach().cpu().contiguous().numpy().tobytes())


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)
