"""Weights on disk: written as safetensors, atomically; read as tensors alone, and checked key by key."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from timm.models import clean_state_dict
from torch import Tensor, nn

from ..core.rundir import write_atomic
from ..errors import InputError

PICKLES = frozenset({".pth", ".pt", ".bin", ".ckpt", ".tar"})
# where releases keep an encoder: under which key of the file, and behind which prefix
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher", "student", "target_encoder", "encoder")
PREFIXES = ("backbone", "momentum_encoder", "base_encoder")


def save_weights(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> None:
    """Write named tensors, with a note of strings in the header."""
    data = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_atomic(path, save(data, metadata=dict(note or {})))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file, or a .pth, .pt, .bin, .ckpt or .tar file of torch.

    Of torch's files only tensors are taken; one that holds code is refused, and the code is not run. Where a release
    keeps its weights under a key (`model`, `state_dict`, `teacher`, ...) or a prefix (`module.`, `backbone.`), they are
    looked for there.
    """
    if not path.is_file():
        raise InputError(path, "a weights file", "no such file")
    if path.suffix in PICKLES:
        return _state_dict(path, _unpickled(path))
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(path, "a safetensors file", str(error)) from error


def _unpickled(path: Path) -> object:
    try:
        # published files often hold the arguments of their training, which are plain data
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = _globals(path)
        found = f"a pickle that calls {', '.join(wanted[:3])}" if wanted else "no file of torch"
        raise InputError(path, "tensors and nothing else (code in a weights file is never run)", found) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(
            path, "a whole file of torch", str(error).partition("\n")[0] or type(error).__name__
        ) from error


def _globals(path: Path) -> list[str]:
    """What a pickle would import and call, by name; torch can tell of its newer files only."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        return []


def _state_dict(path: Path, found: object) -> dict[str, Tensor]:
    """The named tensors of a published file."""
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise InputError(path, "named tensors", type(found).__name__)
    tensors = {key: value for key, value in clean_state_dict(dict(found)).items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        tensors = without_prefix(prefix, tensors) or tensors
    if not tensors:
        raise InputError(path, "named tensors", f"the keys {', '.join(map(str, list(found)[:5])) or '(none)'}")
    return tensors


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: object) -> None:
    """Copy tensors into a module whose keys and shapes must be exactly theirs; an error says which differ."""
    own = module.state_dict()
    shared = [key for key in own if key in tensors]
    differ = {
        "missing": [key for key in own if key not in tensors],
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
            for key in shared
            if own[key].shape != tensors[key].shape
        ],
        "extra": [key for key in tensors if key not in own],
    }
    if any(differ.values()):
        came = "; ".join(f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in differ.items() if keys)
        raise InputError(where, f"the {len(own)} tensors of {type(module).__name__}", came)
    module.load_state_dict(dict(tensors))


def _some(keys: list[str], shown: int = 3) -> str:
    return ", ".join(keys[:shown]) + (", ..." if len(keys) > shown else "")


def digest_of(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers, names and bytes, and of `made_as` where it has one."""
    digest = hashlib.sha256(str(getattr(module, "made_as", "")).encode())
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
    """A seed that every fit changes and that a network read back from disk has again: random passes of its own."""
    return zlib.crc32(weight.detach().cpu().contiguous().numpy().tobytes())


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)
