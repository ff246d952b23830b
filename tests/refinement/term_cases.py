"""Terms to be tested, variables away from the start, and problems with people or frames rearranged."""

from __future__ import annotations

import dataclasses

import torch
from problems import NUM_JOINTS
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS as SMPLX_JOINTS
from pose_priors.body.skeleton import PARTS
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import (
    NAMED,
    ContactHeight,
    DepthConsistency,
    FootSkating,
    HandPrior,
    KeypointReprojection,
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
from pose_priors.refinement.solve.variables import Variables


def gaussian() -> torch.nn.Module:
    prior = GaussianConfig(kind="gaussian").build(range(1, 22))
    prior.fit_statistics(0.1 * torch.randn(200, SMPLX_JOINTS, 3, generator=torch.Generator().manual_seed(0)))
    return prior.double().requires_grad_(False)


TERMS: dict[str, Term] = {
    term.name: term
    for term in (
        KeypointReprojection(sigma_px=3.0),
        StayNearPose(noise_rad=0.01, hand_noise_rad=0.02, bias_rad=0.08, anew=0.3),
        StayNearRoot(depth=0.03, lateral=0.01),
        DepthConsistency(sigma_ratio=0.005),
        ShapePrior(),
        PosePrior(),
        Smoothness(),
        MultiPersonScale(),
        FootSkating(),
        ContactHeight(),
        Penetration(),
        SceneFloor(),
    )
}
# one that was added since, and needs nothing said, is checked by what holds for all
TERMS |= {name: term() for name, term in NAMED.items() if name not in TERMS}


PRIOR_TERMS = {"pose_prior": PosePrior(prior=gaussian()), "hands": HandPrior(prior=gaussian())}


ALL = TERMS | PRIOR_TERMS


def right_hand_prior() -> torch.nn.Module:
    prior = GaussianConfig(kind="gaussian").build(PARTS["right_hand"])
    draw = torch.Generator().manual_seed(0)
    bent = torch.tensor([0.0, 0.1, 0.4])
    prior.fit_statistics(bent + 0.1 * torch.randn(300, SMPLX_JOINTS, 3, generator=draw))
    return prior.double().requires_grad_(False)


def disturbed(problem: Problem, seed: int = 0, size: float = 1.0) -> Variables:
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS)))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in variables.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        variables.contacts.copy_(torch.rand(variables.contacts.shape, generator=draw, dtype=torch.float64))
    return variables


def still(problem: Problem) -> Variables:
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS)))
    variables.contacts.fill_(1.0)
    with torch.no_grad():
        variables.shape.fill_(1.0)
        variables.plane.fill_(2.0)
    return variables


def permuted(problem: Problem, order: list[int]) -> Problem:
    def pick(value: object, names: list[str]) -> object:
        return dataclasses.replace(value, **{name: getattr(value, name)[order] for name in names})

    return dataclasses.replace(
        problem,
        alive=problem.alive[order],
        visible=problem.visible[order],
        bodies=pick(problem.bodies, ["rest_joints", "shape_directions", "betas", "height", "thickness"]),
        observations=pick(problem.observations, ["keypoints", "keypoint_confidence", "joint_depth", "joint_depth_confidence"]),
        start=pick(problem.start, ["global_orient", "body_pose", "pelvis"]),
    )


def first_frames(problem: Problem, count: int) -> Problem:
    def cut(value: object, names: list[str], of_people: bool = True) -> object:
        rows = {name: getattr(value, name)[:, :count] if of_people else getattr(value, name)[:count] for name in names}
        return dataclasses.replace(value, **rows)

    return dataclasses.replace(
        problem,
        frame_ids=problem.frame_ids[:count],
        alive=problem.alive[:, :count],
        visible=problem.visible[:, :count],
        cameras=cut(problem.cameras, ["w2c", "intrinsics", "confidence"], of_people=False),
        observations=cut(problem.observations, ["keypoints", "keypoint_confidence", "joint_depth", "joint_depth_confidence"]),
        start=cut(problem.start, ["global_orient", "body_pose", "pelvis"]),
    )


def hands_of(problem: Problem, pose: Tensor) -> Problem:
    """Everybody's fingers as in a pose (55, 3)."""
    body = problem.start.body_pose.clone()
    fingers = pose[[*PARTS["left_hand"], *PARTS["right_hand"]]]
    body[:, :, NUM_JOINTS - 1 :] = fingers.to(body)
    return dataclasses.replace(problem, start=dataclasses.replace(problem.start, body_pose=body))
