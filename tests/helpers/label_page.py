"""The page of a run of made-up images, and a client that has passed its gate."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from httpx import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Query
from hybrid_al.data.answers import to_png
from hybrid_al.models.promptable import Promptable
from hybrid_al.oracles.inbox import Boxes, InboxSettings, Masks, Words, spec_of
from hybrid_al.page.app import Page, create_app
from hybrid_al.page.desk import Desk
from hybrid_al.page.gate import Gate
from hybrid_al.page.proposing import Proposing
from hybrid_al.page.training import Training

PORT = 8999
SIZE = (6, 8)
CLASSES = ("normal", "pneumonia", "<script>alert(1)</script>")
KINDS: dict[str, InboxSettings] = {
    "class": Words("class"),
    "classes": Words("classes"),
    "mask": Masks("mask", 4, {0: 0, 1: 1, 2: 2, 255: 255}),
    "box": Boxes(4),
}


class MadeUp:
    """Pictures of nothing."""

    def image(self, index: int) -> bytes:
        return to_png(np.full(SIZE, index % 256, dtype=np.uint8))

    thumbnail = image

    def about(self, index: int) -> dict[str, Any]:
        return {"height": SIZE[0], "width": SIZE[1], "deep": False, "span": [], "window": [0, 1], "slices": [index],
                "bag": "", "looked": []}  # fmt: skip

    def size(self, index: int) -> tuple[int, int]:
        return SIZE

    def similar(self, index: int, labels: Mapping[int, str]) -> list[dict[str, Any]]:
        return [{"index": i, "id": str(i), "label": label} for i, label in labels.items()]

    def shown(self, index: int) -> np.ndarray:
        return np.full((*SIZE, 1), 200, dtype=np.uint8)

    def proposal(self, index: int) -> bytes | None:
        return None

    doubt = proposal

    def asked(self, index: int, round: int) -> bytes | None:
        return None


def open_run(path: Path, kind: str = "class", *, n: int = 12, asked: int = 4) -> RunDir:
    """A run whose first query asks about the first samples."""
    run = RunDir(path)
    ids = tuple(f"scan{i}" if i != 1 else "<img src=x onerror=alert(1)>" for i in range(n))
    splits: tuple[Split, ...] = tuple("pool" for _ in range(n))
    manifest = Manifest(ids, ids, ids, splits, tuple(f"{i:064x}" for i in range(n)))
    recipe = {
        "name": "tiny",
        "data": {"source": "folder"},
        "loop": {"budgets": [asked, 2]},
        "oracle": {"name": "worklist"},
    }
    facts: dict[str, object] = {
        "name": "tiny", "seed": 0, "task": kind, "classes": list(CLASSES), "recipe": recipe,
        "manifest": manifest.fingerprint, "versions": {}, "inbox": spec_of(KINDS[kind]),
    }  # fmt: skip
    run.claim(facts, yaml.safe_dump(recipe), manifest)
    reasons = tuple(f"reason {i}" for i in range(asked))
    run.commit_query(0, Query(np.arange(asked, dtype=np.int64), reasons=reasons), manifest)
    for i in range(0 if kind.startswith("class") else asked):
        file = run.round_path(0) / "images" / f"{i:06d}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(MadeUp().image(i))
    return run


@asynccontextmanager
async def light_client_of(run: RunDir) -> AsyncIterator[AsyncClient]:
    """As `client_of`, in the event loop of the caller: a third of the time a request."""
    desk, gate = Desk(run, reader=None, size=MadeUp().size), Gate(PORT)
    app: Any = create_app(Page(desk, MadeUp(), Training(run), trains=False), gate)
    async with AsyncClient(transport=ASGITransport(app), base_url=f"http://127.0.0.1:{PORT}") as client:
        await client.get(gate.link)
        yield client


@contextmanager
def client_of(run: RunDir, reader: str | None = None, *, segmenter: Promptable | None = None) -> Iterator[TestClient]:
    """A browser that has opened the link of a server."""
    desk, gate = Desk(run, reader=reader, size=MadeUp().size), Gate(PORT)
    proposing = None if segmenter is None else Proposing(segmenter, MadeUp().shown)
    page = Page(desk, MadeUp(), Training(run), trains=False, proposing=proposing)
    with TestClient(create_app(page, gate), base_url=f"http://127.0.0.1:{PORT}") as client:
        client.get(gate.link)
        yield client


def submission(name: str, sample: str = "scan0", **changes: Any) -> dict[str, Any]:
    """An answer as the page sends it."""
    answer = {"id": f"answer-{name}", "round": 0, "sample": sample, "kind": "answer", "reader": "anna", "seconds": 2.0}
    return {**answer, "classes": ["normal"], **changes}


def mask_of(labels: np.ndarray) -> dict[str, Any]:
    """A label map as the page sends it."""
    pixels = base64.b64encode(labels.astype(np.uint8).tobytes()).decode()
    return {"height": labels.shape[0], "width": labels.shape[1], "pixels": pixels}
