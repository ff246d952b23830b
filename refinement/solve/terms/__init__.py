"""Loss terms: what pulls on a scene, each a small frozen config that can be called."""

from pose_priors.refinement.solve.terms.base import Term
from pose_priors.refinement.solve.terms.data import KeypointReprojection, StayNearPose, StayNearRoot
from pose_priors.refinement.solve.terms.depth import DepthConsistency
from pose_priors.refinement.solve.terms.ground import ContactHeight, FootSkating, Penetration, SceneFloor
from pose_priors.refinement.solve.terms.hands import HandPrior
from pose_priors.refinement.solve.terms.motion import MotionLikelihood, MotionScale
from pose_priors.refinement.solve.terms.priors import PosePrior, ShapePrior
from pose_priors.refinement.solve.terms.smoothness import MultiPersonScale, Smoothness

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
