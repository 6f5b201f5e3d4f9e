"""Metrics by domain (`domain/<name>/<split>/<metric>`), and of source and target: their names, and the rows of each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from ..core.manifest import Manifest
from ..core.types import BoolArray, IntArray

Parts = Mapping[str, BoolArray]
"""Prefix of the names of metrics -> its rows (N,)."""
_NAME = re.compile(r"(?:domain/(?P<domain>.+)|source|target)/(?P<plain>(?:val|test)/.*)", re.DOTALL)


def parts_of(manifest: Manifest, sources: Collection[str]) -> Parts:
    """The rows of each domain, and where there is a source those of it and of the target; empty without domains."""
    parts = {f"domain/{name}": manifest.of_domains([name]) for name in sorted(set(manifest.domains))}
    if sources:
        source = manifest.of_domains(sources)
        parts |= {"source": source, "target": ~source}
    return parts


def parted(metric: str) -> tuple[str | None, str]:
    """The domain that the name of a metric is of, None where it is of none or of several, and the name without it."""
    match = _NAME.fullmatch(metric)
    return (match["domain"], match["plain"]) if match else (None, metric)


def rows_by_part(rows_K: IntArray, parts: Parts) -> Iterator[tuple[str, BoolArray]]:
    """Prefix, and which of some samples (K,) are of the part, for each part that has some of them."""
    for prefix, of_part in parts.items():
        if (here := of_part[rows_K]).any():
            yield prefix, here
