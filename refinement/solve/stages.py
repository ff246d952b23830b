"""The sub-stages: which terms pull, which variables may move, for how long.

A new term joins one of the groups of terms below, and gets its line in `refinement.solve.weights`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.extra import ExtraTerm
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.motion_states import ClipMotionPrior
from pose_priors.refinement.solve.noise import NoiseLevels
from pose_priors.refinement.solve.rates import USUAL_FPS, beyond_usual
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
from pose_priors.refinement.solve.weights import weighted

# What an error of stage 3 that shows as a share of a body's height in the image is in its other units, per unit of that share: 1 % in the
# image are 0.06 rad in every joint, 2.5 % of the depth, and 1 % of it across the view.
_BIAS_RAD, _BIAS_DEPTH, _BIAS_LATERAL = 6.0, 2.5, 1.0
# How often stage 3's slow error counts on a frame on which keypoints of white noise tell the turn. By its drift it would be once in 140
# frames at 30 a second; keypoints and depth maps, which count on each, err slowly too by what is never told.
_ANEW = 0.2

POSED = ("global_orient", "pelvis", "body_pose")
"""Variables that are a person's alone, frame by frame."""
ROOT = ("global_orient", "pelvis", "depth_bias")
"""Variables that move a person as a whole, and what its depth maps are off by."""
BODY = (*ROOT, "body_pose", "shape")
"""All variables of a person."""


@dataclass(frozen=True)
class SubStage:
    """One sub-stage.

    Attributes:
        name: as in `total_loss_history`.
        terms: each with its weight.
        free: names of the variables that move.
        iterations: of L-BFGS, at most.
        find_contacts: whether contacts are detected anew before it.
        exact: whether it goes on to the minimum: in double precision where no trained prior is asked, in coordinates of its curvature
            (`solve.curvature`), and with contacts detected anew on the way.
        fill_gaps: whether frames on which nobody was seen are filled before it.
    """

    name: str
    terms: tuple[tuple[Term, float], ...]
    free: tuple[str, ...]
    iterations: int
    find_contacts: bool = False
    exact: bool = False
    fill_gaps: bool = False

    def terms_on_floor(self, told: bool) -> tuple[tuple[Term, float], ...]:
        """Its terms; without those that hold feet to the floor's height where nothing tells that."""
        return tuple(entry for entry in self.terms if told or not isinstance(entry[0], ContactHeight | Penetration))


@dataclass
class StageReport:
    """What became of one sub-stage.

    Attributes:
        losses: for each term, and `total`, the value at the start of each iteration and at the end; terms unweighted, `total` weighted; of
            the people and frames around the gaps alone where nothing else moves.
        converged: whether it ended by `convergence_threshold`.
        failures: how often the loss was not finite.
        seconds: wall time.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    iterations: int = 0
    converged: bool = False
    failures: int = 0
    seconds: float = 0.0


def make_stages(
    config: RefinementConfig,
    noise: NoiseLevels,
    body_prior: Prior | None = None,
    hand_prior: Prior | None = None,
    motion: ClipMotionPrior | None = None,
    fps: float = USUAL_FPS,
    gaps: ExpectedInGaps | None = None,
    *,
    scale_width: float = math.inf,
    floor_tilt: float = math.inf,
) -> list[SubStage]:
    """The sub-stages that are enabled and have iterations, in order.

    Args:
        motion: a motion prior on the problem's clip; without it smoothness takes its place.
        fps: frames a second; at high rates the first sub-stages take wider accelerations for granted, as wide as noise makes them there.
        gaps: what a prior of whole clips expects, and depth maps show, where nobody was seen; there is a last sub-stage of it then.
        scale_width: how far the scale may be from its start, as `Problem.scale_width`; 0 keeps it.
        floor_tilt: how far the floor may be from level, as `Problem.floor_tilt`.
    """
    on_floor, to_scale = config.enable_environmental_constraints, config.enable_scale_optimization
    data, smooth = data_terms(noise), (Smoothness(),)
    rough = (Smoothness(acceleration=Smoothness().acceleration * beyond_usual(fps)),)
    body = (ShapePrior(), *pose_terms(body_prior, hand_prior))
    moving = (*smooth, *motion_terms(config, motion))
    level = (LevelFloor(sigma=floor_tilt),) if floor_tilt < math.inf else ()
    ground = (FootSkating(), ContactHeight(), Penetration(), SceneFloor(), *level) if on_floor else ()
    scale = (*scale_terms(config, motion), *prior_of_scale(scale_width)) if to_scale else ()
    plane = ("plane",) if on_floor and config.optimize_ground_plane else ()
    alpha = ("scale",) if to_scale and scale_width > 0 else ()
    everything, all_variables = (*data, *body, *moving, *ground, *scale), (*BODY, *plane, *alpha)
    iterations = iterations_of(config)

    def stage(name: str, terms: Sequence[Term], free: tuple[str, ...], find_contacts: bool = False, exact: bool = False) -> SubStage:
        return SubStage(name, weighted(terms, config), free, iterations[name], find_contacts, exact)

    stages: tuple[SubStage, ...] = (
        stage("root", (*data, *rough), ROOT),
        stage("smpl", (*data, *body, *rough), BODY),
        stage("motion", (*data, *body, *moving), BODY),
        stage("environmental", (*data, *body, *moving, *ground), (*BODY, *plane), find_contacts=on_floor),
        stage("scale", everything, all_variables, find_contacts=on_floor),
        stage("final", everything, all_variables, find_contacts=on_floor, exact=True),
    )
    if gaps is not None and config.enable_motion_prior:
        # what nobody saw has no say in sizes, floor and scale
        shown = (UntrackedSurface(expected=gaps, sigma_ratio=noise.depth_ratio),) if gaps.follows else ()
        terms = weighted((*everything, *shown, GapEnergy(expected=gaps)), config)
        filled = SubStage(
            "gaps", terms, POSED, iterations["final" if gaps.follows else "motion"], on_floor, exact=gaps.follows, fill_gaps=True
        )
        stages = (*stages, filled)
    return [stage for stage in stages if stage.iterations > 0]


def with_extra_terms(stages: Sequence[SubStage], extra: Sequence[ExtraTerm]) -> list[SubStage]:
    """The sub-stages with what a configuration adds to them. Raises `UserError` if two terms of one would be logged under one name."""
    found = []
    for stage in stages:
        added = [(entry.term, entry.weight) for entry in extra if entry.pulls_in(stage.name)]
        terms = (*stage.terms, *added)
        names = [term.name for term, _ in terms]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(
                f"refinement.extra_terms: {twice.pop()} would be in sub-stage {stage.name} twice: leave the sub-stage out of the entry's "
                "stages, or set the lambda of the term that is there to 0"
            )
        found.append(replace(stage, terms=terms))
    return found


def with_keypoint_noise(terms: Sequence[tuple[Term, float]], given: NoiseLevels, now: NoiseLevels) -> list[tuple[Term, float]]:
    """Terms with their weights: keypoints at least as far off as is known now, and stage 3, in terms that were made of the levels that were
    given, as far as is known now."""
    renewed = list(zip(data_terms(given), data_terms(now), strict=True))
    found = []
    for term, weight in terms:
        if isinstance(term, KeypointReprojection):
            term = term.model_copy(update={"sigma_px": max(term.sigma_px, now.keypoint_px)})
        else:
            term = next((new for old, new in renewed if term == old), term)
        if isinstance(term, StayNearPose) and now.keypoints_decide:
            term = term.model_copy(update={"anew": _ANEW})
        found.append((term, weight))
    return found


def iterations_of(config: RefinementConfig) -> dict[str, int]:
    """Iterations of each sub-stage at most, 0 where it is switched off."""
    return {
        "root": config.root_fitting_iterations if config.enable_root_fitting else 0,
        "smpl": config.smpl_fitting_iterations if config.enable_smpl_fitting else 0,
        "motion": config.motion_prior_iterations if config.enable_motion_prior else 0,
        "environmental": config.environmental_iterations if config.enable_environmental_constraints else 0,
        "scale": config.scale_iterations if config.enable_scale_optimization else 0,
        "final": config.final_iterations if config.enable_final_refinement else 0,
    }


def rotation_width(noise: NoiseLevels) -> float:
    """Radians that a joint's rotation is off by in stage 3, slowly."""
    return _BIAS_RAD * noise.bias


def data_terms(noise: NoiseLevels) -> tuple[Term, ...]:
    """What was seen, as sure as the noise lets it be: keypoints, stage 3, depth maps."""
    return (
        KeypointReprojection(sigma_px=noise.keypoint_px),
        StayNearRoot(depth=_BIAS_DEPTH * noise.bias, lateral=_BIAS_LATERAL * noise.bias),
        StayNearPose(noise_rad=noise.rotation_rad, hand_noise_rad=noise.hand_rotation_rad, bias_rad=rotation_width(noise)),
        DepthConsistency(sigma_ratio=noise.depth_ratio),
    )


def pose_terms(body_prior: Prior | None, hand_prior: Prior | None) -> tuple[Term, ...]:
    """What poses are like, of the body and, where a prior knows them, of the hands."""
    body = PosePrior(prior=body_prior)
    return (body,) if hand_prior is None else (body, HandPrior(prior=hand_prior))


def motion_terms(config: RefinementConfig, motion: ClipMotionPrior | None) -> tuple[Term, ...]:
    """How people move, beyond smoothness."""
    if motion is None:
        return ()
    return (MotionLikelihood(prior=motion.prior, view=motion.view, chunk=config.motion_prior_chunk_size),)


def scale_terms(config: RefinementConfig, motion: ClipMotionPrior | None) -> tuple[Term, ...]:
    """What all motions together say of the scale; nothing where a motion prior is given and the cameras move too little for it."""
    if motion is None:
        return (MultiPersonScale(),)
    if not motion.scale_is_observable:
        return ()
    return (MotionScale(prior=motion.prior, view=motion.view, chunk=config.motion_prior_chunk_size),)


def prior_of_scale(width: float) -> tuple[Term, ...]:
    """Where the scale is before motions are looked at; nothing where it is kept, and where depth or the floor tell it."""
    return (StayNearScale(sigma=width),) if 0 < width < math.inf else ()


def free_joints(problem: Problem, has_hand_prior: bool) -> list[int]:
    """Joints whose rotations may change: the body's, and the hands' where a prior or a keypoint says something about them."""
    body, hands = problem.bodies.body_joints, problem.bodies.hand_joints
    observed = {joint for joints in problem.observations.keypoint_joints for joint in joints}
    return sorted({*body, *hands}) if has_hand_prior or not observed.isdisjoint(hands) else list(body)
