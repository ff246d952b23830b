"""Loss terms: what pulls on a scene, each a small frozen config that can be called."""

from pose_priors.refinement.solve.terms.base import Term
from pose_priors.refinement.solve.terms.data import KeypointReprojection, StayNearPose, StayNearRoot, StayNearScale
from pose_priors.refinement.solve.terms.depth import DepthConsistency
from pose_priors.refinement.solve.terms.gaps import GapEnergy
from pose_priors.refinement.solve.terms.ground import ContactHeight, FootSkating, LevelFloor, Penetration, SceneFloor
from pose_priors.refinement.solve.terms.hands import HandPrior
from pose_priors.refinement.solve.terms.motion import MotionLikelihood, MotionScale
from pose_priors.refinement.solve.terms.priors import PosePrior, ShapePrior
from pose_priors.refinement.solve.terms.smoothness import MultiPersonScale, Smoothness
from pose_priors.refinement.solve.terms.untracked import UntrackedSurface

_NAMED = (
    KeypointReprojection,
    StayNearPose,
    StayNearRoot,
    StayNearScale,
    DepthConsistency,
    ShapePrior,
    PosePrior,
    Smoothness,
    MultiPersonScale,
    FootSkating,
    ContactHeight,
    Penetration,
    SceneFloor,
    LevelFloor,
)

NAMED: dict[str, type[Term]] = {term.name: term for term in _NAMED}
"""Terms that a configuration can add to a sub-stage by the names that they are logged under: those whose fields are numbers alone."""

__all__ = [
    "NAMED",
    "ContactHeight",
    "DepthConsistency",
    "FootSkating",
    "GapEnergy",
    "HandPrior",
    "KeypointReprojection",
    "LevelFloor",
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
    "StayNearScale",
    "Term",
    "UntrackedSurface",
]
