"""Semi-supervised objectives by name; adding one = one file, one line here."""

from __future__ import annotations

from .adversarial_twin import AdversarialTwin
from .anchors import Anchors
from .base import Objective
from .boostmis import BoostMIS
from .dann import DANN
from .debiased import Debiased
from .distinctive_margin import DistinctiveMargin
from .divide import Divide
from .energy import Energy
from .evidential import Evidential
from .fixmatch import FixMatch
from .flexmatch import FlexMatch
from .freematch import FreeMatch
from .mean_teacher import MeanTeacher
from .mixmatch import MixMatch
from .mme import MME
from .pi_model import PiModel
from .pseudo_label import PseudoLabel
from .shot import SHOT
from .softmatch import SoftMatch
from .supervised import Supervised
from .tod import TOD
from .uda import UDA
from .waal import WAAL

OBJECTIVES: dict[str, type[Objective]] = {
    "supervised": Supervised,
    "pseudo_label": PseudoLabel,
    "pi_model": PiModel,
    "mean_teacher": MeanTeacher,
    "mixmatch": MixMatch,
    "uda": UDA,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "softmatch": SoftMatch,
    "debiased": Debiased,
    "boostmis": BoostMIS,
    "tod": TOD,
    "adversarial_twin": AdversarialTwin,
    "evidential": Evidential,
    "energy": Energy,
    "distinctive_margin": DistinctiveMargin,
    "mme": MME,
    "dann": DANN,
    "waal": WAAL,
    "shot": SHOT,
    "anchors": Anchors,
    "divide": Divide,
}
