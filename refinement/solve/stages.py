"""The sub-stages: which terms pull, which variables may move, for how long."""

from __future__ import annotations

from dataclasses import dataclass

from pose_priors.priors.base import Prior
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.motion_states import MotionSight
from pose_priors.refinement.solve.noise import NoiseLevels
from pose_priors.refinement.solve.terms import (
    ContactHeight,
    DepthConsistency,
    FootSkating,
    HandPrior,
    KeypointReprojection,
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
    Term,
)

# Terms are in nats per person and frame, so that their natural weight is about one. The public lambdas keep the reference's defaults, which
# belong to other units; these factors carry one to the other. A pose prior weighs less than one, since poses of neighbouring frames are
# nearly the same and it would count them as if each were drawn anew.
_BETA, _POSE, _SKATE, _CONTACT, _MULTI_SCALE, _SMOOTH = 100.0, 1.5, 0.01, 0.1, 0.2, 250.0
_CVAE, _MOTION_SCALE = 30.0, 0.1
# An error of stage 3 that shows as 1 % of a body's height in the image: 0.06 rad in every joint, 2.5 % of the depth, 1 % across the view.
_BIAS_RAD, _BIAS_DEPTH, _BIAS_LATERAL = 6.0, 2.5, 1.0

_ROOT = ("global_orient", "pelvis")
_BODY = (*_ROOT, "body_pose", "shape")


@dataclass(frozen=True)
class SubStage:
    """One sub-stage.

    Attributes:
        name: as in `total_loss_history`.
        terms: each with its weight.
        free: names of the variables that move.
        iterations: of L-BFGS, at most.
        find_contacts: whether contacts are detected anew before it.
    """

    name: str
    terms: tuple[tuple[Term, float], ...]
    free: tuple[str, ...]
    iterations: int
    find_contacts: bool = False


def make_stages(
    config: RefinementConfig,
    noise: NoiseLevels,
    body_prior: Prior | None = None,
    hand_prior: Prior | None = None,
    motion: MotionSight | None = None,
) -> list[SubStage]:
    """The sub-stages that are enabled and have iterations, in order.

    Args:
        motion: a motion prior, and how it sees the problem; without it smoothness takes its place.
    """
    data = (
        (KeypointReprojection(sigma_px=noise.keypoint_px), config.lambda_data),
        (StayNearRoot(depth=_BIAS_DEPTH * noise.bias, lateral=_BIAS_LATERAL * noise.bias), config.lambda_data),
        (
            StayNearPose(noise_rad=noise.rotation_rad, hand_noise_rad=noise.hand_rotation_rad, bias_rad=_BIAS_RAD * noise.bias),
            config.lambda_data,
        ),
        (DepthConsistency(sigma_ratio=noise.depth_ratio), config.lambda_depth),
    )
    body = (
        (ShapePrior(), config.lambda_beta * _BETA),
        (PosePrior(prior=body_prior), config.lambda_pose * _POSE),
        *([(HandPrior(prior=hand_prior), config.lambda_pose * _POSE)] if hand_prior is not None else []),
    )
    smooth = ((Smoothness(), config.lambda_smooth * _SMOOTH),)
    chunk = config.motion_prior_chunk_size
    moving = (
        smooth
        if motion is None
        else (*smooth, (MotionLikelihood(prior=motion.prior, view=motion.view, chunk=chunk), config.lambda_cvae * _CVAE))
    )
    ground = (
        (FootSkating(), config.lambda_skate * _SKATE),
        (ContactHeight(), config.lambda_contact * _CONTACT),
        (Penetration(), config.lambda_contact * _CONTACT),
        (SceneFloor(), config.lambda_contact * _CONTACT),
    )
    if motion is None:
        scale: tuple[tuple[Term, float], ...] = ((MultiPersonScale(), config.lambda_multi_scale * _MULTI_SCALE),)
    elif motion.sees_scale:
        scale = ((MotionScale(prior=motion.prior, view=motion.view, chunk=chunk), config.lambda_multi_scale * _MOTION_SCALE),)
    else:
        scale = ()
    floor = ("plane",) if config.optimize_ground_plane else ()
    alpha = ("scale",) if config.optimize_delta_alpha else ()
    environment = config.enable_environmental_constraints
    known_ground = ground if environment else ()
    with_scale = scale if config.enable_scale_optimization else ()
    late = (*data, *body, *moving, *known_ground, *with_scale)
    late_free = (*_BODY, *(floor if environment else ()), *(alpha if config.enable_scale_optimization else ()))
    stages = [
        (config.enable_root_fitting, SubStage("root", (*data, *smooth), _ROOT, config.root_fitting_iterations)),
        (config.enable_smpl_fitting, SubStage("smpl", (*data, *body, *smooth), _BODY, config.smpl_fitting_iterations)),
        (config.enable_motion_prior, SubStage("motion", (*data, *body, *moving), _BODY, config.motion_prior_iterations)),
        (
            environment,
            SubStage("environmental", (*data, *body, *moving, *ground), (*_BODY, *floor), config.environmental_iterations, True),
        ),
        (config.enable_scale_optimization, SubStage("scale", late, late_free, config.scale_iterations, environment)),
        (config.enable_final_refinement, SubStage("final", late, late_free, config.final_iterations, environment)),
    ]
    return [
        SubStage(s.name, tuple((term, weight) for term, weight in s.terms if weight > 0), s.free, s.iterations, s.find_contacts)
        for enabled, s in stages
        if enabled and s.iterations > 0
    ]
