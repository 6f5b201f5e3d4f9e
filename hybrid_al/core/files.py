"""Files written whole or not at all, and sealed where others stand on them."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import HybridALError, InputError
from .seals import OWN, own_digest, sealed, sha256_of, way_out, whole
from .temporary import temporary_name
from .types import FloatArray, IntArray


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the block: temporary file, fsync, rename.

    After an error in the block `path` is as it was, and the temporary file is gone. A full disk is a HybridALError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            if path.is_file():  # its permissions stay
                temporary.chmod(path.stat().st_mode & 0o777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise HybridALError(f"{path}: could not be written ({error.strerror}); what was there is unchanged") from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def memory_mapped(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """A new .npy file of an array to write into, its space on the disk taken before: a full disk is a HybridALError.

    (Without that, the first write into a page that has no room on the disk kills the process.)
    """
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, max(path.stat().st_size, 1))
    except OSError as error:
        path.unlink(missing_ok=True)
        size = math.prod(shape) * np.dtype(dtype).itemsize / 2**30
        raise HybridALError(f"{path}: {size:.2f} GiB could not be written ({error.strerror})") from error
    return array


def home(where: str) -> Path:
    """The home directory; InputError, which names what to give in its place, of an account without one.

    As where a container runs under a number that nobody has.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise InputError(where, "a path, as this account has no home directory", "nothing") from error


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing."""
    with replacement(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def seal(path: Path, **facts: object) -> None:
    """Write a JSON beside a finished file with the hash of its bytes, and further facts about it."""
    write_atomic(path.with_suffix(".json"), json.dumps({"sha256": sha256_of(path), **facts}))


def read_seal(path: Path) -> dict[str, Any] | None:
    """Facts that `seal` wrote about a file; None where its bytes have changed, or where either file is missing."""
    try:
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return facts if facts["sha256"] == sha256_of(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, value: Mapping[str, object], *, own: bool = False) -> None:
    """Commit a JSON file; `own`: with a digest of its values, see `read_json`."""
    plain = {**value, OWN: own_digest(json.loads(json.dumps(value)))} if own else value
    write_atomic(path, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, IntArray | FloatArray]) -> None:
    """Commit an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file of a run by name, after a look at its seal; InputError where it is damaged."""
    way = way_out(path.parent, path.name)
    with whole(sealed(path), way), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
