"""How much each loss term weighs: one line a term.

Terms are in nats per person and frame (those of a motion prior, and transition), so that a likelihood of what is new on every frame has a
natural weight of about one. The public lambdas keep the defaults of the reference, whose terms are in other units, so each term has a
factor that carries its lambda over: a term weighs its lambda times its factor. Weights were tuned on the scenes of `docs/results.md`, the
same for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.terms import (
    ContactHeight,
    DepthConsistency,
    FootSkating,
    GapEnergy,
    HandPrior,
    KeypointReprojection,
    LevelFloor,
    MotionLikelihood,
    MotionScale,
    MultiPersonScale,
    Penetration,
    PosePrior,
    SceneFloor,
    ShapePrior,
    Smoothness,
    StayNearPose,
    StayNearRoot,
    StayNearScale,
    Term,
    UntrackedSurface,
)


@dataclass(frozen=True)
class Weight:
    """What a term weighs.

    Attributes:
        multiplier: the field of `RefinementConfig` that it is multiplied by.
        factor: weight for a unit of that.
    """

    multiplier: str
    factor: float


NATURAL_WEIGHTS: Mapping[type[Term], Weight] = {
    # what was seen, in units of its own noise: 1 by default
    KeypointReprojection: Weight("lambda_data", 1.0),
    StayNearRoot: Weight("lambda_data", 1.0),
    StayNearPose: Weight("lambda_data", 1.0),
    DepthConsistency: Weight("lambda_depth", 1.0),
    # the scale once, as often as smoothness counts the way of all joints: 28 by default, of which a seventh for each of two points of 23
    # joints, a tenth for each joint, and all of it three times, since accelerations last for about three frames
    StayNearScale: Weight("lambda_data", 28.0),
    # shape: 1 by default
    ShapePrior: Weight("lambda_beta", 100.0),
    # poses: 0.15 by default; those of neighbouring frames are nearly the same, and a weight of 1 would count them as if drawn anew
    PosePrior: Weight("lambda_pose", 1.5),
    HandPrior: Weight("lambda_pose", 1.5),
    # motion: 0.15 and 3 by default
    Smoothness: Weight("lambda_smooth", 150.0),
    MotionLikelihood: Weight("lambda_cvae", 30.0),
    # what nobody tracked, and depth maps show
    UntrackedSurface: Weight("lambda_depth", 1.0),
    # what nobody saw: 1 by default
    GapEnergy: Weight("lambda_cvae", 10.0),
    # the floor: 1 by default
    FootSkating: Weight("lambda_skate", 0.01),
    ContactHeight: Weight("lambda_contact", 0.1),
    Penetration: Weight("lambda_contact", 0.1),
    SceneFloor: Weight("lambda_contact", 0.1),
    LevelFloor: Weight("lambda_contact", 0.1),
    # the scale: 0.1 and 0.05 by default
    MultiPersonScale: Weight("lambda_multi_scale", 0.2),
    MotionScale: Weight("lambda_multi_scale", 0.1),
}
"""Every term has a line here."""


def weighted(terms: Iterable[Term], config: RefinementConfig) -> tuple[tuple[Term, float], ...]:
    """Terms each with its weight, in their order, without those that weigh nothing."""
    natural = [(term, NATURAL_WEIGHTS[type(term)]) for term in terms]
    weights = [(term, float(getattr(config, weight.multiplier)) * weight.factor) for term, weight in natural]
    return tuple((term, weight) for term, weight in weights if weight > 0)
