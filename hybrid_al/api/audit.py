"""`audit`: the ledger of a run as a table, and what people said as DICOM SR or SEG where the images are DICOM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..core.types import Annotation
from ..data.answers import read_answer
from ..errors import InputError
from ..oracles.audit import COLUMNS, Audit
from ..oracles.formats.base import Instance, Item, Proposal, Sheet, image_name
from .answers import dicom_of, recipe_of
from .outputs import check_outside, new_folder, write_table
from .pixels_only import files_of

TABLE = "ledger.csv"


def write(audit: Audit, out: Path, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """Write the ledger into a new folder, as `ledger.csv`; the labels of DICOM images as `sr/` or `seg/` beside it.

    InputError: a folder that is there, or lies among the images. `say` hears what a person should know of the DICOM.
    """
    files = _files(audit)
    if files is not None:
        check_outside(out, files)
    instances = _instances(audit, files)
    with new_folder(out) as folder:
        write_table(folder / TABLE, COLUMNS, audit.table())
        if instances:
            try:
                _write_dicom(audit, instances, folder)
            except ImportError:
                say("no DICOM: highdicom is not installed (pip install 'hybrid-al[dicomseg]')")
            else:
                say("the DICOM files hold what identifies patients, as the images that they are about do")
    return out / TABLE


def _files(audit: Audit) -> Path | None:
    """Where the images lie; None where they are no files, or those of the caller of a `hal.Loop`."""
    try:
        return files_of(recipe_of(audit.run).data)
    except InputError:
        return None


def _instances(audit: Audit, files: Path | None) -> dict[int, tuple[Annotation, Instance]]:
    """The labels about DICOM images by sample; none where the paths of the run are hashed."""
    labels = {i: a for i, a in audit.labels().items() if a.kind in ("class", "classes", "mask")}
    found = {i: dicom_of(audit.lists.manifest, i, files) for i in labels}
    return {i: (labels[i], instance) for i, instance in found.items() if instance is not None}


def _write_dicom(audit: Audit, instances: dict[int, tuple[Annotation, Instance]], folder: Path) -> None:
    from ..oracles.formats.dicom_seg import write_segs
    from ..oracles.formats.dicom_sr import write_sr

    lists, facts = audit.lists, audit.run.facts()
    series: dict[str, list[Item]] = {}
    for i, (a, instance) in instances.items():
        name = image_name(lists.manifest, i)
        if a.kind != "mask":
            numbers = a.target if isinstance(a.target, tuple) else (a.target,)
            findings = [lists.classes[c] for c in numbers if isinstance(c, int)]
            write_sr(instance, findings, a.annotator, a.time, folder / "sr" / f"{name}.dcm")
        elif a.region is None:
            labels = read_answer(audit.run.path / str(a.target))
            height, width = labels.shape
            item = Item(i, lists.manifest.ids[i], name, (height, width), bytes, instance=instance,
                        proposal=Proposal(labels=labels))  # fmt: skip
            series.setdefault(instance.series, []).append(item)
    for number, items in enumerate(series.values(), 1):
        run = f"{facts['name']}-s{facts['seed']}"
        sheet = Sheet(run, len(audit.run.rounds()), "mask", lists.classes, tuple(items))
        write_segs(sheet, items, number, folder / "seg", by_hand=True)
