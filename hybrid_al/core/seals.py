"""Seals: what a commit notes of the files that it stands on; a file of a run is checked against it when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import HybridALError, InputError, reading

ROUND, STAGE0, QUERY = "round.json", "seal.json", "query.json"
"""Files with the digests of a round, of stage 0, and of the query of a round."""
COST = "cost.json"
"""What the query of a round cost the machine: no two runs have the same."""
OWN = "digest"
"""Key of the digest of all other keys of a JSON file."""
UNSEALED = ("images", "query.html", "drawn", ".lock", ROUND, COST)
"""What is no part of a round: what is given out to people and made again (of what they draw the ledger has digests),
and what differs from one playing of it to another."""
DERIVED = (
    *("model.safetensors", "consistency.npz", "calibration.npz"),
    *("reliability.npz", "holdout.npz", "stop.npz", "picks.npz", "boxes.npz"),
)
"""Files that playing a round again makes again, from its query and its answers."""
COPY = "a copy of the run may have it"

_hashes: dict[tuple[str, int, int, int], str] = {}


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, read in parts; once a process while the file does not change."""
    with path.open("rb") as file:
        state = path.stat()
        key = (str(path), state.st_ino, state.st_size, state.st_mtime_ns)
        if key not in _hashes:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]


def own_digest(plain: Mapping[str, object]) -> str:
    """Hash of the values of a JSON file, however it is laid out."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """Digest of every file of a round, by its path in the folder."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return {name: sha256_of(folder / name) for name in names if _is_part(name)}


def _is_part(name: str) -> bool:
    parts = name.split("/")
    return parts[0] not in UNSEALED and not parts[-1].startswith(".")


def read_json(file: Path, *, own: bool = False) -> dict[str, Any]:
    """The mapping in a JSON file of a run; InputError where it is cut, or changed since its own digest was made.

    own  it surely had a digest of its own
    """
    with whole(file):
        plain = dict(json.loads(file.read_text(encoding="utf-8")))
        sealed_by = plain.pop(OWN, None)
        if (own or sealed_by is not None) and sealed_by != own_digest(plain):
            raise ValueError("other values")
    return plain


@contextmanager
def whole(file: Path, way: str = COPY) -> Iterator[None]:
    """InputError where a block cannot read a file of a run: it is gone, cut or changed."""
    try:
        with reading(file, ""):
            yield
    except InputError as error:
        if not error.expected:
            came = "nothing there" if not file.exists() else f"one that is cut or changed ({error.came})"
            raise InputError(file, f"the file as hybrid-al wrote it; {way}", came) from error
        raise


def sealed(file: Path) -> Path:
    """A file of a run, after a look at the seal of its round or of its stage 0; most are read right after it.

    InputError: the file is gone or changed, or came into a round after its commit, with the way out. Files of rounds
    that are not committed, of runs without seals and of no run at all pass.
    """
    for folder in file.absolute().parents[:3]:
        for name in (ROUND, STAGE0):
            if (folder / name).is_file():
                check(folder, file.absolute().relative_to(folder).as_posix(), seals_of(folder / name))
                return file
    return file


def seals_of(file: Path) -> dict[str, str]:
    """Digests of files by their path beside a commit; empty in runs of versions that made none."""
    plain = read_json(file)
    digests = plain.get("digests", {})
    return {name: digest for name, digest in digests.items() if "." in name}


def check(folder: Path, name: str, seals: Mapping[str, str]) -> None:
    """Refuse a file of a folder that is not as its seal says."""
    file, seal = folder / name, seals.get(name)
    if not seals or not _is_part(name) or (seal is None and not ((folder / ROUND).is_file() and file.is_file())):
        return
    if file.is_file() and seal == sha256_of(file):
        return
    if not seal:
        raise InputError(file, "no such file in a round that is committed; move it away", "one that came later")
    came = "one that was changed" if file.is_file() else "nothing there"
    raise InputError(file, f"the file as hybrid-al wrote it; {way_out(folder, name)}", came)


def way_out(folder: Path, name: str) -> str:
    """What to do about a damaged file of a round or of stage 0."""
    if name == "scores.npz":
        return f"{COPY}, or remove it: the query stands, and reports go without its scores"
    if (folder / STAGE0).is_file():
        return f"{COPY}, or remove {folder} and call hybrid-al run, which makes stage 0 again"
    if name in DERIVED and (folder / ROUND).is_file():
        again = f"remove {folder / ROUND} and call hybrid-al run, which plays the round again from its answers"
        return f"{COPY}, or {again}"
    return f"{COPY}, and nothing else has it" if name.startswith(("answers", "labels")) else COPY


def damage(folder: Path, commit: str) -> tuple[int, list[str]]:
    """How many files the commit of a folder seals, and a line for each that is damaged."""
    try:
        seals = seals_of(folder / commit)
    except HybridALError as error:
        return 1, [str(error)]
    names = sorted({*seals, *(digests_of(folder) if seals and commit == ROUND else ())})
    lines = []
    for name in names:
        try:
            check(folder, name, seals)
        except InputError as error:
            lines.append(str(error))
    return len(names), lines
