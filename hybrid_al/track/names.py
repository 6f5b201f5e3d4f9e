"""Every name that something is logged under: what it means, along which axis it goes, and where a dashboard has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

Axis = Literal["labels", "round", "train/step", "stage0/step", "once"]
Kind = Literal["number", "table", "histogram", "images"]
Section = Literal["Stage 0", "Training", "Rounds", "Picks", "Consistency", "Calibration", "Cost"]
SECTIONS: tuple[Section, ...] = ("Stage 0", "Training", "Rounds", "Picks", "Consistency", "Calibration", "Cost")


@dataclass(frozen=True)
class Name:
    """What stands under a name.

    axis     labels and round: one value a round, drawn against the labels or the number of the round; train/step goes
             on through all rounds; once: one value a run
    section  of the dashboards
    optional only some recipes log it, so a run may lack it
    """

    meaning: str
    stage: str
    axis: Axis
    section: Section
    optional: bool = False
    kind: Kind = "number"


def _stage0(meaning: str, axis: Axis = "once", *, optional: bool = False) -> Name:
    return Name(meaning, "stage0", axis, "Stage 0", optional)


def _fit(meaning: str, axis: Axis = "train/step", section: Section = "Training", *, optional: bool = False) -> Name:
    return Name(meaning, "train", axis, section, optional)


def _query(meaning: str, section: Section = "Picks", *, optional: bool = False) -> Name:
    return Name(meaning, "query", "round", section, optional)


def _measured(meaning: str, section: Section = "Rounds", *, optional: bool = False) -> Name:
    return Name(meaning, "evaluate", "labels", section, optional)


def _shown(meaning: str, section: Section, kind: Kind, *, optional: bool = False) -> Name:
    return Name(meaning, "evaluate", "round", section, optional, kind)


# The names are fixed, so that seeds, strategies and objectives can be put side by side; docs/tracking.md lists them.
NAMES: Mapping[str, Name] = {
    "labels": _measured("samples with a label", "Cost"),
    "stage0/loss": _stage0("self-supervised loss, mean over an epoch", "stage0/step"),
    "stage0/images_per_second": _stage0("images of all processes a second, over an epoch", "stage0/step"),
    "stage0/data_share": _stage0("share of an epoch that went into waiting for images, in [0, 1]", "stage0/step"),
    "stage0/<split>/knn_auroc": _stage0("kNN probe of the encoder on val or test", optional=True),
    "stage0/<split>/linear_auroc": _stage0("linear probe of the encoder on val or test", optional=True),
    "stage0/set/<set>": _stage0(
        "cross-validated linear probe of an embedding set, or of all side by side (`a+b`), where labels choose"
        " (`embeddings.use: probe`)",
        optional=True,
    ),
    "stage0/alignment": _stage0("squared distance of the unit embeddings of two weak views of an image, 0 to 4"),
    "stage0/uniformity": _stage0(
        "log of the mean of exp(-2 d²) over pairs of unit embeddings, 0 (one point) to about -4 (everywhere)"
    ),
    "stage0/effective_rank": _stage0("exp of the entropy of the singular values of the embeddings, 1 to their size"),
    "stage0/spread": _stage0("0 where all embeddings point the same way, 1 where they point everywhere alike"),
    "stage0/neighbour_stability": _stage0(
        "share of an image's 20 nearest neighbours that two weak views agree on, in [0, 1]"
    ),
    "train/loss": _fit("the whole objective"),
    "train/loss_labeled": _fit("its supervised term", optional=True),
    "train/loss_unlabeled": _fit("its unsupervised term, before its weight", optional=True),
    "train/loss_<term>": _fit("a further term of the objective, before its weight", optional=True),
    "train/mask_rate": _fit(
        "share of the unlabeled samples that took part, or their mean weight, in [0, 1], of objectives that choose; a"
        " round's (`round.json`, report) is the mean over its fit",
        optional=True,
    ),
    "train/<term>": _fit("a further number of the objective or the network", optional=True),
    "train/seconds": _fit("seconds that the fit took", "round", "Cost"),
    "train/steps_per_second": _fit("speed of the fit", "round", "Cost", optional=True),
    "train/images_per_second": _fit(
        "labeled and unlabeled samples a second, each counted once a step", "round", "Cost", optional=True
    ),
    "train/data_share": _fit(
        "share of the fit that it waited for batches, views included, in [0, 1]", "round", "Cost", optional=True
    ),
    "train/top_up_passes": _fit(
        "samples that were looked at once more for their consistency", "round", "Consistency", optional=True
    ),
    "train/strength": _fit("penalty of a head that is solved (`frozen`)", "round", optional=True),
    "train/classes_seen": _fit("classes that the labels of a round hold (segmentation)", "round", optional=True),
    "pseudo/accuracy": _measured(
        "share of pseudo-labels that are right, in [0, 1]; simulated runs only", "Consistency", optional=True
    ),
    "pseudo/accuracy/<class>": _measured(
        "the same among the samples whose pseudo-label is that class", "Consistency", optional=True
    ),
    "query/seconds": _query("seconds that the selection took", "Cost"),
    "query/passes": _query("samples that went through the model for it, as often as they did", "Cost", optional=True),
    "query/memory": _query("MiB at its peak beyond those held before; on Linux", "Cost", optional=True),
    "query/mean_rank": _measured(
        "mean rank of the picks in the query's score, in (0, 1): 0.5 as if picked at random, near 1 where the"
        " best-scored were; where the strategy wrote scores",
        "Picks",
        optional=True,
    ),
    "query/distance_to_labeled": _measured(
        "mean distance of the picks to the nearest labeled sample of the rounds before, between unit embeddings,"
        " divided by that of all candidates (a sample of 1000): 1 as if picked at random, below 1 near what is labeled",
        "Picks",
        optional=True,
    ),
    "picks/share/<class>": _query("share of a round's picks with that class, in [0, 1]", optional=True),
    "people/accepted": _query(
        "share of proposals, by model or segmenter, that people accepted as they were, in [0, 1]; answers of the page",
        optional=True,
    ),
    "people/edited": _query("share of them that they changed", optional=True),
    "people/discarded": _query("share of them that they threw away", optional=True),
    "people/seconds": _query("median of the seconds that people took for an answer", "Cost", optional=True),
    "people/double": _query(
        "samples that several readers gave a label by then, where they share a run (`oracle.readers`)",
        optional=True,
    ),
    "people/differ": _query(
        "share of them about which they differ, in [0, 1]",
        optional=True,
    ),
    "people/kappa": _query(
        "Cohen's kappa between readers by then, the mean over their pairs; of several labels the mean of them",
        optional=True,
    ),
    "people/kappa/<class>": _query(
        "the same of a class against all others, or of one of several labels",
        optional=True,
    ),
    "people/dice": _query(
        "Dice between the masks of readers by then, the mean of the images and of the classes",
        optional=True,
    ),
    "people/dice/<class>": _query(
        "the same of a class",
        optional=True,
    ),
    "people/model_kappa": _query(
        "kappa between the last model and each reader on the picks of a round, which it had not learned yet",
        optional=True,
    ),
    "people/model_kappa/<class>": _query(
        "the same of a class or label",
        optional=True,
    ),
    "people/model_dice": _query(
        "Dice between the last model and each reader on the picks of a round",
        optional=True,
    ),
    "people/model_dice/<class>": _query(
        "the same of a class",
        optional=True,
    ),
    "test/<metric>": _measured("metric of the teacher's last weights on the test split", optional=True),
    "val/<metric>": _measured("the same on val", optional=True),
    "test/<metric>_calibrated": _measured(
        "`nll`, `ece`, `classwise_ece` or `brier` of calibrated probabilities (`calibration`); `val/...` too, unless"
        " the calibration was fitted there",
        "Calibration",
        optional=True,
    ),
    "test/<metric>/<label>": _measured(
        "of one of several labels a sample: `auroc`, `average_precision`, and with `calibration` also `ece`, `brier`,"
        " `ece_calibrated`, `brier_calibrated`; of one structure of masks: `dice`, `hd95`",
        optional=True,
    ),
    "<part>/<split>/<metric>": _measured(
        "the same of the samples of one domain alone (`domain/<name>/...`), of the source or of the target"
        " (`data.domain`, `domains.source`)",
        optional=True,
    ),
    "<part>/<split>/<metric>/<label>": _measured("of those one structure of masks", optional=True),
    "curve/<metric>": _measured("the test metric once more, without its prefix", optional=True),
    "curve/<metric>/<label>": _measured("the same of one label or structure", optional=True),
    "stop/agreement": _measured(
        "Cohen's kappa of this round's model and the last one's on a sample of at most 2000 of the pool, at most 1",
        optional=True,
    ),
    "stop/expected_gain": _measured("accuracy that the next batch is expected to add, in [0, 1]", optional=True),
    "cost/<unit>": _measured(
        "cost of all labels so far: images, pixels, foreground, boundary, clicks (segmentation), bits (yes or no)",
        "Cost",
        optional=True,
    ),
    "table/picks": _shown(
        "the picks: round, rank, sample (its row in the manifest), score, reason, predicted (the pseudo-label before it"
        " was asked about) with confidence, label, predicted_after with confidence_after (what the new model says,"
        " where a sample has one class); with `log_images: true` also id and thumbnail",
        "Picks",
        "table",
    ),
    "table/reliability_<split>": _shown(
        "reliability diagram: round, bin, samples, confidence, accuracy", "Calibration", "table", optional=True
    ),
    "table/confusion_<split>": _shown(
        "confusion matrix: round, true and predicted class, samples, of masks pixels; of several labels a sample each"
        " that is there, from 0.5 on, or is not (`no <label>`)",
        "Rounds", "table", optional=True
    ),
    "table/embedding": _shown(
        "two principal components of the unit embeddings of at most 2000 samples, and whether each is pool, labeled or"
        " picked",
        "Picks",
        "table",
    ),
    "histogram/score": _shown("the query's score of all candidates", "Picks", "histogram", optional=True),
    "histogram/consistency": _shown(
        "inconsistency of the pseudo-labels that a fit recorded, 0 = steady", "Consistency", "histogram", optional=True
    ),
    "histogram/flips": _shown(
        "share of visits at which a pseudo-label changed", "Consistency", "histogram", optional=True
    ),
    "images/picks": _shown(
        "thumbnails of the first 400 picks, with the masks that were drawn; `log_images: true` only", "Picks", "images",
        optional=True,
    ),
}  # fmt: skip

BENCH: Mapping[str, str] = {
    "<variant>/<arm>/aubc": "mean AUBC over the seeds of the arm",
    "<variant>/<arm>/aubc_minus_random": "mean paired difference to random under the same objective and learner",
    "<variant>/<arm>/aubc_minus_random_linear": "of random picks: mean paired difference to the linear baseline",
    "curves": "table: variant, arm, labels, mean, and the limits of the 95 % interval (empty with one seed)",
    "tables/<title>": "each table of the bench, as text",
}
"""What the summary of a bench has in W&B."""

_PLACEHOLDERS = {"split": "(val|test)(_calibrated)?", "class": ".+", "label": ".+", "set": ".+"}
_PLACEHOLDERS["part"] = "(?:domain/.+|source|target)"


@cache
def name_of(name: str) -> str | None:
    """The entry of `NAMES` that a logged name falls under, the most exact one; None where there is none."""
    entries = [entry for entry, pattern in _patterns().items() if pattern.fullmatch(name)]
    return min(entries, key=lambda entry: (entry.count("<"), -len(re.sub("<.*?>", "", entry))), default=None)


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """What may stand for each entry; test/ is val/ too."""
    patterns = {}
    for entry in NAMES:
        literal = entry.replace("test/<metric>_", "<split>/<metric>_").replace("test/<metric>/", "<split>/<metric>/")
        parts = re.split("<(.*?)>", literal)
        texts = [re.escape(p) if k % 2 == 0 else _PLACEHOLDERS.get(p, "[^/]+") for k, p in enumerate(parts)]
        patterns[entry] = re.compile("".join(texts), re.DOTALL)
    return patterns


def axis_of(name: str, stage: str, step: int | None) -> Axis:
    """The axis of a logged name; of one that has no entry, by where it was logged."""
    if (entry := name_of(name)) is not None:
        return NAMES[entry].axis
    if step is None:
        return "once" if stage == "stage0" else "round"
    return "stage0/step" if stage == "stage0" else "train/step"


def table() -> str:
    """The names as a Markdown table, as docs/tracking.md has it."""
    rows = ["| name | what it is | stage | axis | section |", "|---|---|---|---|---|"]
    rows += [f"| `{n}` | {e.meaning} | {e.stage} | {e.axis} | {e.section} |" for n, e in NAMES.items()]
    return "\n".join(rows)
