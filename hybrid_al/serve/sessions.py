"""Images that clients lend for a while, to see what the model says of them; they are no part of the run."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..core.temporary import scratch_folder
from ..core.types import FloatArray, LabelMap
from ..errors import InputError, reading
from .forms import Part
from .shelf import Missing

if TYPE_CHECKING:
    from ..api.deployed import Deployed

EXPIRY = 3600.0  # seconds without use
MOST = 16  # images at once
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm")


class Sessions:
    """Lent images by session; those that nobody used for `EXPIRY` seconds are gone.

    model  the last of the run; `said` makes of its outputs, height and width what clients get
    """

    def __init__(
        self,
        model: Callable[[], Deployed],
        said: Callable[[FloatArray, int, int], LabelMap | dict[str, float]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model, self._said, self._clock = model, said, clock
        self._folder = scratch_folder()
        self._files: dict[str, tuple[Path, float]] = {}
        self._lock = threading.Lock()

    def open(self, part: Part) -> dict[str, Any]:
        """Keep an image."""
        suffix = PurePosixPath(part.file or "").suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError("files", f"an image ending in {', '.join(SUFFIXES)}", repr(part.file))
        with self._lock:
            self._forget()
            if len(self._files) >= MOST:
                raise InputError("session", f"at most {MOST} of them (DELETE /session/ID)", "one more")
            name = str(uuid.uuid4())
            file = Path(self._folder.name) / f"{name}{suffix}"
            file.write_bytes(part.data)
            self._files[name] = file, self._clock()
        return {"session_id": name, "session_info": self.about(name)}

    def about(self, name: str) -> dict[str, Any]:
        """What a client is told of a session; Missing where it is over."""
        file, used = self._find(name)
        return {"name": name, "image": file.name, "last_access_ts": int(used), "expiry": int(EXPIRY)}

    def close(self, name: str) -> dict[str, Any]:
        """Forget an image."""
        about = self.about(name)
        with self._lock:
            self._drop(name)
        return about

    def said(self, name: str) -> LabelMap | dict[str, float]:
        """What the model says of a lent image."""
        from ..data.readers import choose

        file, _ = self._find(name)
        with reading("session", "an image that the data of this run could have"):
            header = choose().of(file).probe(file)
            probs = self._model().predict([file])[0]
        return self._said(probs, header.height, header.width)

    def _find(self, name: str) -> tuple[Path, float]:
        with self._lock:
            self._forget()
            if name not in self._files:
                raise Missing(
                    "session", "one that is open (PUT /session/)", f"{name[:64]!r}, which is over or never was"
                )
            file, _ = self._files[name]
            self._files[name] = file, self._clock()
            return self._files[name]

    def _forget(self) -> None:
        for name, (_, used) in list(self._files.items()):
            if self._clock() - used > EXPIRY:
                self._drop(name)

    def _drop(self, name: str) -> None:
        file, _ = self._files.pop(name)
        file.unlink(missing_ok=True)
