"""Objectives of segmentation by name; adding one = one file, one line here."""

from __future__ import annotations

from .anchors import DenseAnchors
from .base import DenseObjective
from .cps import CrossPseudoSupervision
from .deep_supervision import DeepSupervision
from .fixmatch import DenseFixMatch
from .mean_teacher import DenseMeanTeacher
from .pld import PseudoLabelDivergence
from .ripu import RIPU
from .supervised import DenseSupervised
from .svgd import SteinCommittee
from .ua_mt import UncertaintyAwareMeanTeacher
from .unimatch import UniMatch

DENSE_OBJECTIVES: dict[str, type[DenseObjective]] = {
    "supervised": DenseSupervised,
    "deep_supervision": DeepSupervision,
    "mean_teacher": DenseMeanTeacher,
    "ua_mt": UncertaintyAwareMeanTeacher,
    "fixmatch": DenseFixMatch,
    "cps": CrossPseudoSupervision,
    "unimatch": UniMatch,
    "pld": PseudoLabelDivergence,
    "svgd": SteinCommittee,
    "ripu": RIPU,
    "anchors": DenseAnchors,
}
