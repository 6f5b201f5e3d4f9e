"""Names that a run hides (`data.ids: hashed`): ids, paths and groups as salted hashes; the salt lies elsewhere."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..errors import InputError, reading
from .files import home
from .manifest import Manifest

VARIABLE = "HYBRID_AL_SALT_FILE"
LEAST = 16  # bytes of a salt
HASHED = "hashed"
"""The value of `data.ids` that hides names."""
LETTERS = {"id": "s", "group": "g", "path": "f"}
"""What a hash begins with: no spreadsheet takes it for a number."""


PATHS = ("root", "table", "images", "masks")
"""Keys of `data` whose values a run keeps as they are, as it needs them to go on."""


def in_clear(params: Mapping[str, object]) -> list[str]:
    """A line on the paths of a recipe's `data` that a run with hashed names keeps as they are."""
    paths = ", ".join(f"data.{key}: {params[key]}" for key in PATHS if params.get(key))
    return [f"  ids are hashed, but the run keeps {paths}: no person's name should stand there"]


def salt_file() -> Path:
    """Where the salt is: `HYBRID_AL_SALT_FILE`, or `~/.config/hybrid-al/salt`."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else home(VARIABLE) / ".config" / "hybrid-al" / "salt"


@dataclass(frozen=True)
class Hider:
    """Hashes names: blake2b keyed with a salt, 12 hex digits behind a letter for the kind of name."""

    salt: bytes = field(repr=False)

    @classmethod
    def load(cls, run: Path) -> Hider:
        """That of the salt on this machine; a new salt is made (mode 600) for a run that has not begun, and said.

        InputError: a run that has begun and no salt, a salt that is too short, or one in the run directory.
        """
        file = salt_file()
        if file.resolve().is_relative_to(run.resolve()):
            raise InputError(VARIABLE, f"a file outside the run directory {run}", str(file))
        if not file.exists():
            if (run / "run.json").is_file():
                raise InputError(file, f"the salt that the ids of {run} were hashed with ({VARIABLE})", "no such file")
            _make(file)
        with reading(file, f"a salt of {LEAST} bytes or more"):
            salt = file.read_bytes().strip()
        if len(salt) < LEAST:
            raise InputError(file, f"a salt of {LEAST} bytes or more", f"{len(salt)}")
        return cls(salt)

    @property
    def mark(self) -> str:
        """What tells this salt from another, and says nothing of it."""
        return self._hash("mark", "")

    def id(self, name: str) -> str:
        """The id in the place of a plain one."""
        return self.name("id", name)

    def name(self, kind: Literal["id", "group", "path"], name: str) -> str:
        """A name of a kind, hashed."""
        return LETTERS[kind] + self._hash(kind, name)

    def hide(self, manifest: Manifest) -> Manifest:
        """The same samples under hashed names; `find` takes plain ids too."""
        return replace(
            manifest,
            ids=tuple(self.name("id", name) for name in manifest.ids),
            paths=tuple(self.name("path", name) for name in manifest.paths),
            groups=tuple(self.name("group", name) for name in manifest.groups),
            alias=self.id,
        )

    def _hash(self, kind: str, name: str) -> str:
        key = hashlib.blake2b(self.salt).digest()
        return hashlib.blake2b(name.encode(), key=key, person=kind.encode(), digest_size=6).hexdigest()


def _make(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise InputError(file, f"a file for the salt ({VARIABLE} names another)", str(error.strerror)) from error
    with os.fdopen(handle, "wb") as out:
        out.write(secrets.token_hex(32).encode())
    print(f"{file}: a new salt for hashed ids; who has it and the data can name the samples: keep it", file=sys.stderr)
