"""Domains (site, device, stain) of samples: whose labels are given, what is asked about, and what is odd about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from ..core.manifest import Manifest, first_of
from ..core.types import BoolArray, IntArray
from ..errors import InputError, UnknownName
from .base import Dataset

LISTED = 6  # domains that are named one by one


def asked(manifest: Manifest, sources: Collection[str]) -> IntArray:
    """Positions (P,) of the pool's samples that may be asked about: those of the target."""
    pool = manifest.indices("pool")
    return pool[~manifest.of_domains(sources)[pool]]


def given(manifest: Manifest, sources: Collection[str]) -> IntArray:
    """Positions of the pool's samples of the source, whose labels are given where the data has them."""
    pool = manifest.indices("pool")
    return pool[manifest.of_domains(sources)[pool]]


def check(dataset: Dataset, sources: Sequence[str], answered: BoolArray) -> None:
    """Refuse one domain alone, and a source that does not exist, leaves nothing to ask, or has no label.

    answered  whether the data has an answer about a sample (N,)
    """
    manifest = dataset.manifest
    names = sorted(set(manifest.domains))
    if len(names) == 1:
        raise InputError("data.domain", "two domains at least", f"{names[0]!r} for all {len(manifest)} samples")
    if not sources:
        return
    if not names:
        raise InputError("domains.source", "a domain of each sample (data.domain)", "data without domains")
    for name in sources:
        if name not in names:
            raise UnknownName("domains.source", name, names)
    if len(set(sources)) < len(sources):
        raise InputError("domains.source", "each domain once", ", ".join(sources))
    if not len(asked(manifest, sources)):
        raise InputError("domains.source", "a domain that is left to ask about in the pool", "all of the pool's")
    if not answered[given(manifest, sources)].any():
        raise InputError("domains.source", "labels of the source in the pool, which are given", "none in the data")


def notes(dataset: Dataset, sources: Sequence[str]) -> list[str]:
    """Remarks for the person: sizes, domains of one sample, groups in several, classes that the source lacks."""
    manifest = dataset.manifest
    counts = Counter(manifest.domains)
    if not counts:
        return []
    sizes = [f"{name} {count}{' (source)' if name in sources else ''}" for name, count in sorted(counts.items())]
    more = f" and {len(sizes) - LISTED} more" if len(sizes) > LISTED else ""
    lines = [f"{len(counts)} domains: {', '.join(sizes[:LISTED])}{more}"]
    if single := [name for name, count in sorted(counts.items()) if count == 1]:
        lines.append(f"domains of one sample: {first_of(single)}; no metric of such a domain says anything")
    domains_of: dict[str, set[str]] = defaultdict(set)
    for group, domain in zip(manifest.groups, manifest.domains, strict=True):
        domains_of[group].add(domain)
    if straddling := [group for group, names in domains_of.items() if len(names) > 1]:
        both = [group for group in straddling if sources and len(domains_of[group] & set(sources)) > 0]
        both = [group for group in both if domains_of[group] - set(sources)]
        known = f", {len(both)} of them in source and target: given labels are of the patients asked about" * bool(both)
        lines.append(f"{len(straddling)} groups are in several domains ({first_of(straddling)}){known}")
    return [*lines, *_lacking(dataset, sources)]


def _lacking(dataset: Dataset, sources: Sequence[str]) -> list[str]:
    """The classes or labels of the target that no given label shows; nothing where they are not known."""
    manifest = dataset.manifest
    rows, target = given(manifest, sources), asked(manifest, sources)
    if not sources or dataset.masks is not None:
        return []
    if dataset.labels is not None:
        seen, there = ((dataset.labels[of] == 1).any(axis=0) for of in (rows, target))
    else:
        seen, there = (np.isin(np.arange(len(dataset.classes)), dataset.truth[of]) for of in (rows, target))
    missing = [dataset.classes[c] for c in np.flatnonzero(there & ~seen).tolist()]
    return [f"classes of the target that the source lacks: {', '.join(missing)}; answers alone teach them"] * bool(
        missing
    )
