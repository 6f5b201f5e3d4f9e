"""Query strategies by name; adding one = one file, one line here."""

from ..base import QueryStrategy
from .aada import AADA
from .activeft import ActiveFT
from .aift import AIFT
from .alfamix import AlfaMix
from .among import Among
from .badge import Badge
from .bait import BAIT
from .batchbald import BatchBald
from .bsq import BSQ
from .cdal import ContextualDiversity
from .cereals import CEREALS
from .class_balanced import ClassBalanced
from .clue import CLUE
from .crf_entropy import CRFEntropy
from .csval import CSVAL
from .d2ada import D2ADA
from .density_peaks import DensityPeaks
from .dfal import BIM, DeepFool
from .diana import DiaNA
from .dice_per_outline import DicePerOutline
from .disagreement import MeanSTD, TTAEntropy, TTAJensenShannon, TTAVariance, VariationRatio, VoteEntropy
from .discriminative import Discriminative
from .dropquery import DropQuery
from .dsal import DSAL
from .eada import EADA
from .edgeal import EdgeAL
from .egl import ExpectedGradientLength
from .evidential import DUC, Evidential
from .facility import FacilityLocation, MaxHerding, Wasserstein
from .feal import FEAL
from .fisher_information import FisherInformation
from .foreground import ForegroundRandom
from .freesel import FreeSel
from .gcn import GCN
from .gradnorm import GradNorm
from .hybrid import Hybrid
from .isal import ISAL
from .isda import ISDA
from .kcenter import KCenter
from .kmeans import KMeans
from .kmedoids import KMedoids
from .lamda import LAMDA
from .learning_loss import LearningLoss
from .mmd import MMD
from .open_set import LfOSA, OpenAL
from .pld import PLD
from .policy import Policy
from .probcover import ProbCover
from .progressive import ProgressiveDiversity
from .proxy import ProxyUncertainty, Surprisal
from .pt4al import PT4AL, PT4ALStart
from .quality import Quality
from .random import Random, RandomPerGroup
from .representative import RepresentativeAnnotation
from .s3vaada import S3VAADA
from .sangal import GradientWalk
from .schedule import Schedule
from .sdm import SDM
from .smi import SubmodularMutualInformation
from .source_anchors import MADA, STDR
from .stratified import Stratified
from .tod import TOD
from .tqs import TQS
from .two_level import TwoLevel
from .typiclust import TypiClust
from .uncertainty import Bald, Entropy, ExpectedDice, LeastConfidence, Margin, MCDropoutEntropy, Ratio, Ripu
from .usl import USL
from .uslt import USLT
from .vaal import VAAL
from .vat import VirtualAdversarial
from .waal import WAAL

__all__ = [
    "AADA",
    "AIFT",
    "BAIT",
    "BIM",
    "BSQ",
    "CEREALS",
    "CLUE",
    "CSVAL",
    "D2ADA",
    "DSAL",
    "DUC",
    "EADA",
    "FEAL",
    "GCN",
    "ISAL",
    "ISDA",
    "LAMDA",
    "MADA",
    "MMD",
    "PLD",
    "PT4AL",
    "S3VAADA",
    "SDM",
    "STDR",
    "STRATEGIES",
    "TOD",
    "TQS",
    "USL",
    "USLT",
    "VAAL",
    "WAAL",
    "ActiveFT",
    "AlfaMix",
    "Among",
    "Badge",
    "Bald",
    "BatchBald",
    "CRFEntropy",
    "ClassBalanced",
    "ContextualDiversity",
    "DeepFool",
    "DensityPeaks",
    "DiaNA",
    "DicePerOutline",
    "Discriminative",
    "DropQuery",
    "EdgeAL",
    "Entropy",
    "Evidential",
    "ExpectedDice",
    "ExpectedGradientLength",
    "FacilityLocation",
    "FisherInformation",
    "ForegroundRandom",
    "FreeSel",
    "GradNorm",
    "GradientWalk",
    "Hybrid",
    "KCenter",
    "KMeans",
    "KMedoids",
    "LearningLoss",
    "LeastConfidence",
    "LfOSA",
    "MCDropoutEntropy",
    "Margin",
    "MaxHerding",
    "MeanSTD",
    "OpenAL",
    "PT4ALStart",
    "Policy",
    "ProbCover",
    "ProgressiveDiversity",
    "ProxyUncertainty",
    "Quality",
    "Random",
    "RandomPerGroup",
    "Ratio",
    "RepresentativeAnnotation",
    "Ripu",
    "Schedule",
    "Stratified",
    "SubmodularMutualInformation",
    "Surprisal",
    "TTAEntropy",
    "TTAJensenShannon",
    "TTAVariance",
    "TwoLevel",
    "TypiClust",
    "VariationRatio",
    "VirtualAdversarial",
    "VoteEntropy",
    "Wasserstein",
]

STRATEGIES: dict[str, type[QueryStrategy]] = {
    "random": Random,
    "random_per_group": RandomPerGroup,
    "foreground_random": ForegroundRandom,
    "typiclust": TypiClust,
    "stratified": Stratified,
    "kcenter": KCenter,
    "kmeans": KMeans,
    "kmedoids": KMedoids,
    "two_level": TwoLevel,
    "probcover": ProbCover,
    "facility_location": FacilityLocation,
    "maxherding": MaxHerding,
    "representative": RepresentativeAnnotation,
    "mmd": MMD,
    "wasserstein": Wasserstein,
    "density_peaks": DensityPeaks,
    "usl": USL,
    "uslt": USLT,
    "activeft": ActiveFT,
    "smi": SubmodularMutualInformation,
    "discriminative": Discriminative,
    "vaal": VAAL,
    "waal": WAAL,
    "gcn": GCN,
    "csval": CSVAL,
    "freesel": FreeSel,
    "proxy": ProxyUncertainty,
    "alps": Surprisal,
    "pt4al_start": PT4ALStart,
    "pt4al": PT4AL,
    "entropy": Entropy,
    "margin": Margin,
    "least_confidence": LeastConfidence,
    "mc_dropout_entropy": MCDropoutEntropy,
    "bald": Bald,
    "batchbald": BatchBald,
    "badge": Badge,
    "bait": BAIT,
    "fisher_information": FisherInformation,
    "clue": CLUE,
    "egl": ExpectedGradientLength,
    "gradnorm": GradNorm,
    "isal": ISAL,
    "isda": ISDA,
    "sangal": GradientWalk,
    "alfamix": AlfaMix,
    "dropquery": DropQuery,
    "vat": VirtualAdversarial,
    "dfal": DeepFool,
    "bim": BIM,
    "aift": AIFT,
    "bsq": BSQ,
    "policy": Policy,
    "lfosa": LfOSA,
    "openal": OpenAL,
    "learning_loss": LearningLoss,
    "evidential": Evidential,
    "duc": DUC,
    "feal": FEAL,
    "progressive": ProgressiveDiversity,
    "expected_dice": ExpectedDice,
    "ripu": Ripu,
    "edgeal": EdgeAL,
    "dice_per_outline": DicePerOutline,
    "crf_entropy": CRFEntropy,
    "cereals": CEREALS,
    "dsal": DSAL,
    "pld": PLD,
    "quality": Quality,
    "balanced_ratio": ClassBalanced,
    "cdal": ContextualDiversity,
    "ratio": Ratio,
    "variation_ratio": VariationRatio,
    "mean_std": MeanSTD,
    "vote_entropy": VoteEntropy,
    "tta_entropy": TTAEntropy,
    "tta_variance": TTAVariance,
    "tta_jsd": TTAJensenShannon,
    "tod": TOD,
    "aada": AADA,
    "tqs": TQS,
    "eada": EADA,
    "sdm": SDM,
    "lamda": LAMDA,
    "s3vaada": S3VAADA,
    "diana": DiaNA,
    "mada": MADA,
    "stdr": STDR,
    "d2ada": D2ADA,
    "hybrid": Hybrid,
    "schedule": Schedule,
    "among": Among,
}
