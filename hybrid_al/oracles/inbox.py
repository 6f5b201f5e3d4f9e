"""Which worklist a run has: what gives its queries out to people and takes their answers in."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import yaml

from ..core.rundir import RunDir
from ..core.types import IGNORE
from ..data.answers import answer_table
from ..data.readers.masks import value_table
from .boxes import BoxWorklist
from .masks import MaskWorklist, Picture, wording
from .worklist import WorklistOracle, worklist


def mask_worklist(run: RunDir, lists: WorklistOracle, picture: Picture | None = None) -> MaskWorklist | BoxWorklist:
    """That of a segmentation, whose `recipe.yaml` says what the answers are and what the values in mask files mean."""
    recipe = yaml.safe_load((run.path / "recipe.yaml").read_text(encoding="utf-8"))
    size, answer = int(recipe["data"]["image_size"]), str(recipe["oracle"].get("answer", "mask"))
    lists = replace(lists, wording=wording(answer))
    if answer == "boxes":
        return BoxWorklist(lists, size, picture)
    values = {int(value): str(name) for value, name in (recipe["data"].get("mask_values") or {}).items()}
    table = value_table(values, lists.classes) if values else answer_table(len(lists.classes))
    return MaskWorklist(lists, {IGNORE: IGNORE, **table}, size, picture)


def inbox(run: RunDir) -> WorklistOracle | MaskWorklist | BoxWorklist:
    """What takes answers in for a run, from what the run directory says."""
    facts = run.facts()
    if facts["task"] != "segmentation":
        return worklist(run)
    return mask_worklist(run, WorklistOracle(run, run.manifest(), tuple(cast(list[str], facts["classes"]))))
