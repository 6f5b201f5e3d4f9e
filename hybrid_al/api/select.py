"""`select`: from images of a person to the picks to label first, without recipe, classes or run directory."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.embeddings import unit_rows
from ..core.files import replacement, write_atomic
from ..core.progress import Progress
from ..core.temporary import scratch_folder
from ..core.types import FloatArray, IntArray, Need
from ..data.answers import to_png
from ..data.base import Dataset
from ..data.display import colour_picture
from ..data.paths import regular
from ..errors import HybridALError, InputError
from ..oracles.worklist import csv_rows
from .contact_sheet import contact_sheet
from .encoding import encode
from .outputs import check_new, check_outside, file_names, new_folder, write_table
from .picks import pick
from .pixels_only import Place, place_of
from .strategies import StrategyLike, strategy_within

FEEDS: frozenset[Need] = frozenset({"embeddings"})
COLUMNS = ("rank", "id", "path", "group", "reason")
BLOCK = 4096
AMONG = "among"
LISTED = 20  # unreadable images that are named


@dataclass(frozen=True)
class Selection:
    """The folder of picks, their ids in order of preference, and (path, reason) of each image that was skipped."""

    folder: Path
    ids: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def default_folder(data: Path) -> Path:
    """Where picks go that are given no place: beside the data."""
    data = data.resolve()
    return data.parent / f"{data.name.partition('.')[0] or 'images'}-picks"


def select(
    data: Path | str,
    k: int,
    *,
    out: Path | str | None = None,
    strategy: StrategyLike = "stratified",
    embeddings: Path | str | None = None,
    already: Path | str | None = None,
    copy: bool = False,
    seed: int = 0,
    device: str = "cpu",
    overrides: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Selection:
    """Write the k images to label next into a new folder; the same call gives the same picks.

    data        a folder of images or volumes, a CSV that names files, an NPZ, or one file; no labels are read
    out         a folder that is not there yet; without it `<data>-picks` beside the data
    strategy    any that needs embeddings at most, as in `pick`
    embeddings  a .npy (N, D), rows in the order of the sorted ids of the N images, or an .npz of `ids` and
                `embeddings`; without it an encoder is chosen by what is installed and by the number of images
    already     a CSV with a column `id` of images that have a label: picks go elsewhere
    copy        copy the picked images too
    overrides   `key.path=value` of the recipe's sections data, encoder and pretrain
    say         gets a line about what was found and what takes time

    The folder holds `picks.csv`, `contact_sheet.png` and `embeddings.npz`, which a later call can take. Where patients
    or volumes have several images, about twice an even share of the picks falls to one of them at most.
    Errors, one line each: nothing there, more picks than images, a folder that exists, ids that no image has.
    """
    data, folder = Path(data), default_folder(Path(data)) if out is None else Path(out)
    check_new(folder)
    check_outside(folder, data)
    if k < 1:
        raise InputError("-k", "1 or more images to pick", str(k))
    name, _ = strategy_within("--strategy", strategy, FEEDS)
    with scratch_folder() as scratch:
        place = place_of(data, Path(scratch))
        dataset = place.load(overrides)
        window = [f"data.window={place.data['window']}, what the images use"] if "window" in place.data else []
        for line in (*_found(dataset), *window, *(f"not among them: {line}" for line in place.left)):
            say(line)
        _labeled_rows(already, dataset, k)
        if embeddings is not None:
            vectors = read_embeddings(Path(embeddings), dataset.manifest.ids)
        else:
            dataset, vectors = encode(
                place, dataset, Path(scratch), overrides=overrides, seed=seed, device=device, say=say, progress=progress
            )
        for line in _skipped(dataset):
            say(line)
        rows, labeled = _labeled_rows(already, dataset, k)
        groups = [dataset.manifest.groups[i] for i in rows.tolist()]
        picks = pick(
            vectors[rows],
            k,
            _few_per_group(strategy, groups, k),
            labeled=np.searchsorted(rows, labeled),
            groups=groups,
            seed=seed,
        )
        chosen = rows[picks.indices]
        counts, reasons = _reasons(
            vectors, rows, chosen, labeled, ["" if r in (name, AMONG) else r for r in picks.reasons]
        )
        with new_folder(folder) as new:
            _write(new, dataset, place, chosen, counts, reasons, copy)
            order = np.argsort(np.asarray(dataset.manifest.ids))
            ids = np.asarray(dataset.manifest.ids)[order]
            with replacement(new / "embeddings.npz") as file:
                np.savez(file, ids=ids, embeddings=vectors[order])
        return Selection(folder, tuple(dataset.manifest.ids[i] for i in chosen.tolist()), dataset.skipped)


def read_embeddings(file: Path, ids: Sequence[str]) -> FloatArray:
    """Vectors (N, D) in the order of `ids`, from a .npy in the order of the sorted ids, or an .npz with ids of its own.

    Errors: no such file, pickled arrays, another number of rows, an id without a row, values that are not finite.
    """
    expected = "a .npy (N, D), or an .npz of ids (N,) and embeddings (N, D)"
    try:
        regular(file)
        content = np.load(file, allow_pickle=False)
        arrays = {"embeddings": content} if isinstance(content, np.ndarray) else dict(_arrays(content))
    except HybridALError:
        raise
    except Exception:  # noqa: BLE001 (libraries raise whatever they like, see `errors.reading`)
        came = "a folder" if file.is_dir() else "another kind of file" if file.exists() else "nothing there"
        raise InputError(file, expected, came) from None
    vectors, named = arrays.get("embeddings"), arrays.get("ids", np.asarray(sorted(ids)))
    if vectors is None or vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or named.ndim != 1:
        came = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        raise InputError(file, expected, came or "no array")
    names = named.astype(str).tolist()
    if len(vectors) != len(names):
        order = "of its ids" if "ids" in arrays else "image in the order of the sorted ids"
        raise InputError(file, f"{len(names)} rows, one for each {order}", str(len(vectors)))
    if len(set(names)) < len(names):
        raise InputError(file, "each id once", f"{Counter(names).most_common(1)[0][0]!r} more than once")
    row_of = {name: row for row, name in enumerate(names)}
    for sample in ids:
        if sample not in row_of:
            raise InputError(file, "a row for each image", f"none for {sample!r}")
    with np.errstate(over="ignore"):
        ordered: FloatArray = vectors[[row_of[sample] for sample in ids]].astype(np.float32)
    for row in np.flatnonzero(~np.isfinite(ordered).all(axis=1))[:1].tolist():
        raise InputError(f"{file}: {ids[row]}", "finite numbers", "nan or inf")
    return ordered


def _arrays(archive: np.lib.npyio.NpzFile) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    with archive:
        for name in archive.files:
            yield name, archive[name]


def _labeled_rows(already: Path | str | None, dataset: Dataset, k: int) -> tuple[IntArray, IntArray]:
    """The images of the pool, and those of them that are labeled already; refuses more picks than are left.

    A label of a copy is one of its original.
    """
    manifest, labeled = dataset.manifest, set[int]()
    rows = manifest.indices("pool")
    for line, row in csv_rows(Path(already), ("id",)) if already is not None else ():
        if (i := manifest.find(row["id"])) is None:
            raise InputError(f"{already} line {line}", "the id of an image", repr(row["id"]))
        labeled.add(int(manifest.originals[i]))
    known = np.asarray(sorted(labeled & set(rows.tolist())), dtype=np.int64)
    if not (left := len(rows) - len(known)):
        raise InputError(str(already), "images without a label left to pick from", f"all {len(rows)} images")
    what = f"the images without a label{f' ({len(known)} of {len(rows)} have one)' if len(known) else ''}"
    if k > left:
        raise InputError("-k", f"1 to {left}, {what}", str(k))
    return rows, known


def _found(dataset: Dataset) -> Iterator[str]:
    """What is picked from, in lines."""
    manifest, pool = dataset.manifest, dataset.manifest.indices("pool")
    groups = len({manifest.groups[i] for i in pool.tolist()})
    patients = f" of {groups} patients or volumes" if groups < len(pool) else ""
    yield f"{len(pool)} images{patients}"
    held_out = len(manifest) - manifest.splits.count("pool")
    for count, what in ((held_out, "of val and test"), (len(manifest) - held_out - len(pool), "that are copies")):
        if count:
            yield f"{count} images {what} are not picked"


def _skipped(dataset: Dataset) -> Iterator[str]:
    for path, why in dataset.skipped[:LISTED]:
        yield f"skipped {path}: {why}"
    if len(dataset.skipped) > LISTED:
        yield f"skipped {len(dataset.skipped) - LISTED} more"


def _few_per_group(strategy: StrategyLike, groups: Sequence[str], k: int) -> StrategyLike:
    """The strategy, held to about twice an even share of the picks in a group, where groups have several images."""
    count = len(set(groups))
    if count == len(groups) or not isinstance(strategy, str):
        return strategy
    return {"name": AMONG, "strategy": strategy, "tissue": 0.0, "most": max(1, round(2 * k / count))}


def _reasons(
    vectors: FloatArray, rows: IntArray, picks: IntArray, labeled: IntArray, texts: Sequence[str]
) -> tuple[IntArray, list[str]]:
    """How many images each pick stands for (k,), itself among them, and why it was picked, in words.

    An image is stood for by the pick, or labeled image, to which it is nearest by cosine distance.
    """
    unit = unit_rows(vectors)
    centres = unit[np.concatenate([picks, labeled])]
    nearest = [(unit[rows[i : i + BLOCK]] @ centres.T).argmax(axis=1) for i in range(0, len(rows), BLOCK)]
    counts = np.bincount(np.concatenate(nearest), minlength=len(centres))[: len(picks)].clip(1)
    similarity = unit[picks] @ unit[picks].T
    np.fill_diagonal(similarity, -np.inf)
    reasons = []
    for i, (count, text) in enumerate(zip(counts.tolist(), texts, strict=True)):
        words = [f"stands for {count} images that look most like it" if count > 1 else "looks like no other image"]
        if len(picks) > 1:
            near = int(similarity[i].argmax())
            words.append(f"nearest pick is {near + 1} at distance {max(0.0, 1 - float(similarity[i, near])):.2f}")
        reasons.append("; ".join([*words, text] if text else words))
    return counts, reasons


def _write(
    folder: Path,
    dataset: Dataset,
    place: Place,
    picks: IntArray,
    counts: IntArray,
    reasons: Sequence[str],
    copy: bool,
) -> None:
    manifest = dataset.manifest
    table = [
        (rank, manifest.ids[i], manifest.paths[i], manifest.groups[i], reason)
        for rank, (i, reason) in enumerate(zip(picks.tolist(), reasons, strict=True), start=1)
    ]
    write_table(folder / "picks.csv", COLUMNS, table)

    def tiles() -> Iterator[tuple[npt.NDArray[np.uint8] | None, str]]:
        for rank, (i, count) in enumerate(zip(picks.tolist(), counts.tolist(), strict=True), start=1):
            try:
                pixels = colour_picture(dataset, i)
            except (OSError, ValueError):
                pixels = None
            yield pixels, f"{rank}  (for {count})"

    write_atomic(folder / "contact_sheet.png", contact_sheet(tiles(), len(picks)))
    if copy:
        copy_images(folder / "images", dataset, place.files, picks)


def copy_images(folder: Path, dataset: Dataset, files: Path | None, picks: IntArray) -> None:
    """Copy the picked files as they are, rows of arrays and slices of volumes as PNG, each with its rank in front.

    files  the folder that their paths are relative to; None where they lie in an array
    """
    manifest = dataset.manifest
    folder.mkdir()
    png = file_names([Path(manifest.ids[i]).name for i in picks.tolist()], ".png")
    for rank, (i, name) in enumerate(zip(picks.tolist(), png, strict=True), start=1):
        file = None if files is None or manifest.z[i] >= 0 else files / manifest.paths[i]
        if file is None:
            write_atomic(folder / f"{rank:03d}_{Path(name).name}", to_png(_grey(colour_picture(dataset, i))))
        else:
            shutil.copyfile(file, folder / f"{rank:03d}_{file.name}")


def _grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W) where an image (H, W, 3) has no colour."""
    return pixels[:, :, 0] if (pixels == pixels[:, :, :1]).all() else pixels
