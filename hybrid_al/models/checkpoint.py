"""Weights on disk: safetensors only, written atomically, checked key by key on the way in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..errors import InputError
from ..rundir import write_atomic


def save_weights(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> None:
    """Write named tensors, with a note of strings in the header."""
    data = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_atomic(path, save(data, metadata=dict(note or {})))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors; anything but safetensors is refused, as a pickle could hold code."""
    if not path.is_file():
        raise InputError(path, "a weights file", "no such file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(path, "a safetensors file", str(error)) from error


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: object) -> None:
    """Copy tensors into a module whose keys and shapes must be exactly theirs."""
    own = module.state_dict()
    wrong = [key for key in own if key not in tensors or own[key].shape != tensors[key].shape]
    extra = [key for key in tensors if key not in own]
    if wrong or extra:
        names = ", ".join([*wrong, *extra][:3])
        raise InputError(
            where,
            f"the weights of {type(module).__name__}",
            f"{len(wrong)} missing or misshapen, {len(extra)} extra: {names}",
        )
    module.load_state_dict(dict(tensors))


def digest_of(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers, names and bytes."""
    digest = hashlib.sha256()
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


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)
