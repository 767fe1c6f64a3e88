"""What is explained: from a network's output to one score per target.

Scores of classes are in `target_class`, of places in an output in `target_region`, of functions and of other targets
in `target_mixture`; `choose` makes them of words.
"""

from saliscope.core.target_class import ContrastTarget, LogitTarget, ProbabilityTarget
from saliscope.core.target_contract import Cropping, Holding, Indexed, OutputKind, Target
from saliscope.core.target_mixture import AnchoredTarget, CallableTarget, Opposite, PerImage, Together
from saliscope.core.target_region import ComponentTarget, PointTarget, RegionTarget
from saliscope.core.target_words import GRAMMAR, choose

__all__ = [
    "GRAMMAR",
    "AnchoredTarget",
    "CallableTarget",
    "ComponentTarget",
    "ContrastTarget",
    "Cropping",
    "Holding",
    "Indexed",
    "LogitTarget",
    "Opposite",
    "OutputKind",
    "PerImage",
    "PointTarget",
    "ProbabilityTarget",
    "RegionTarget",
    "Target",
    "Together",
    "choose",
]
