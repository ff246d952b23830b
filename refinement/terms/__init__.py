"""Loss terms: what pulls on a scene, each a small frozen config that can be called."""

from refinement.terms.base import Term
from refinement.terms.data import KeypointReprojection, StayNearPose, StayNearRoot
from refinement.terms.depth import DepthConsistency
from refinement.terms.ground import ContactHeight, FootSkating, Penetration, SceneFloor
from refinement.terms.hands import HandPrior
from refinement.terms.motion import MotionLikelihood, MotionScale
from refinement.terms.priors import PosePrior, ShapePrior
from refinement.terms.smoothness import MultiPersonScale, Smoothness

__all__ = [
    "ContactHeight",
    "DepthConsistency",
    "FootSkating",
    "HandPrior",
    "KeypointReprojection",
    "MotionLikelihood",
    "MotionScale",
    "MultiPersonScale",
    "Penetration",
    "PosePrior",
    "SceneFloor",
    "ShapePrior",
    "Smoothness",
    "StayNearPose",
    "StayNearRoot",
    "Term",
]
