"""Drafts of `init`: their text, what is said beside them, and the project that they open."""

from __future__ import annotations

from pathlib import Path

from hybrid_al.assemble import Project, open_project
from hybrid_al.data.describe import Description
from hybrid_al.data.describe.draft import draft
from hybrid_al.data.describe.names import MODALITIES
from hybrid_al.recipe import load


def draft_of(about: Description, name: str = "x") -> str:
    """The recipe of a description, as the command writes it."""
    return draft(
        name,
        about.sections(),
        modality=about.modality,
        modalities=MODALITIES,
        simulated=about.labeled,
        comments=about.comments,
    )


def opened(about: Description, folder: Path) -> Project:
    """The project of a draft, with budgets that its pool can meet."""
    file = folder / "recipe.yaml"
    file.write_text(draft_of(about), encoding="utf-8")
    project = open_project(load(file), run_dir=folder / "run")
    manifest = project.dataset.manifest
    pool = manifest.indices("pool")
    answered = project.task.answered(project.dataset)[pool].sum() or len(pool)
    assert sum(about.budgets) <= max(1, answered // 2)
    for split in about.data.get("holdout", {}):
        assert len(manifest.indices(split))
    return project


def said(about: Description) -> str:
    return "\n".join(about.lines())
