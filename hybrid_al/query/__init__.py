"""Query strategies by name; adding one = one file, one line here."""

from .base import QueryState, QueryStrategy
from .hybrid import Hybrid
from .kcenter import KCenter
from .kmeans import KMeans
from .random import Random, RandomPerGroup
from .typiclust import TypiClust
from .uncertainty import Entropy, LeastConfidence, Margin

__all__ = [
    "STRATEGIES",
    "Entropy",
    "Hybrid",
    "KCenter",
    "KMeans",
    "LeastConfidence",
    "Margin",
    "QueryState",
    "QueryStrategy",
    "Random",
    "RandomPerGroup",
    "TypiClust",
]

STRATEGIES: dict[str, type[QueryStrategy]] = {
    "random": Random,
    "random_per_group": RandomPerGroup,
    "typiclust": TypiClust,
    "kcenter": KCenter,
    "kmeans": KMeans,
    "entropy": Entropy,
    "margin": Margin,
    "least_confidence": LeastConfidence,
    "hybrid": Hybrid,
}
