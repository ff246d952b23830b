"""People whose result contradicts what was seen of them more than their input did: they keep their input, and it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.pinhole import to_camera, to_world
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import Scene, mean_of_joints, project

_MEDIAN_ABS_NORMAL = 0.6745
# A witness is contradicted by what ends above this multiple of where it started and so much more, in its own unit.
_WORSE = 1.05
_SLACK = {"keypoints": 1.0, "fastest step": 1.0, "shaking": 2.0, "depth under the floor": 0.03, "depth map": 0.02}
_UNITS = {
    "keypoints": "{:.1f} times their noise",
    "fastest step": "{:.1f} m/s",
    "shaking": "{:.1f} m/s^2",
    "depth under the floor": "{:.2f} m",
    "depth map": "{:.3f} of the distance",
}
_FASTER = 1.3  # of the fastest step: joints that were infilled may take a longer one


@torch.no_grad()
def contradicted(module: RefinementModule, scene: Scene) -> dict[int, str]:
    """By row of the people, why it keeps its input; people whose result is no worse by any witness are not in it."""
    problem = module.problem
    start = problem.start.joints(problem.bodies)
    before = to_camera(start, problem.cameras.w2c, problem.start.alpha0)
    found = {}
    for p in range(len(problem.person_ids)):
        if not problem.visible[p].any():
            continue
        was = _witnesses(module, start, before, problem.start.ground_plane, problem.start.alpha0, 0.0, p)
        plane = torch.cat([scene.normal, scene.offset[None]])
        now = _witnesses(module, scene.joints, scene.camera_joints, plane, float(scene.alpha), float(scene.depth_bias[p]), p)
        worse = [name for name in was if _is_worse(name, was[name], now[name])]
        if worse:
            told = (f"{name} {_UNITS[name].format(was[name])} before, {_UNITS[name].format(now[name])} after" for name in worse)
            found[p] = "; ".join(told)
    return found


def _is_worse(name: str, before: float, after: float) -> bool:
    return after > (_FASTER if name == "fastest step" else _WORSE) * before + _SLACK[name]


def _witnesses(
    module: RefinementModule, joints: Tensor, camera: Tensor, plane: Tensor, alpha: float, bias: float, p: int
) -> dict[str, float]:
    """What each witness says against one person; nan, which nothing exceeds, where it says nothing."""
    problem, seen = module.problem, module.problem.observations
    alive, visible = problem.alive[p], problem.visible[p]
    body = joints[p, alive]
    used = (seen.keypoint_confidence[p] > 0) & visible[:, None]
    off = (project(mean_of_joints(camera, seen.keypoint_joints), problem.cameras)[p] - seen.keypoints[p])[used]
    steps = torch.linalg.vector_norm(torch.diff(body[:, 0], dim=0), dim=-1) * problem.fps
    there = visible[alive]  # straight lines between two frames that were seen do not shake
    shaking = torch.linalg.vector_norm(torch.diff(body, n=2, dim=0), dim=-1)[there[:-2] & there[1:-1] & there[2:]] * problem.fps**2
    feet = contact_joints(problem.bodies)
    soles = body[:, feet] @ plane[:3] + plane[3] - problem.bodies.height[p, feet]
    skin = problem.bodies.thickness[p]
    read = (seen.joint_depth_confidence[p] > 0) & visible[:, None] & torch.isfinite(skin)
    depth = seen.joint_depth[p] * alpha * np.exp(-bias)
    gap = ((camera[p, ..., 2] - skin - depth) / torch.where(read, depth, 1))[read]
    return {
        "keypoints": _median(off.abs()) / _MEDIAN_ABS_NORMAL / module.noise.keypoint_px,
        "fastest step": float(steps.max()) if len(steps) else float("nan"),
        "shaking": _median(shaking),
        "depth under the floor": float((-soles.amin(-1)).clamp_min(0).mean()) if problem.floor_known and soles.numel() else float("nan"),
        "depth map": _median((gap - gap.median()).abs()) if len(gap) else float("nan"),
    }


def _median(values: Tensor) -> float:
    return float(values.median()) if values.numel() else float("nan")


def without(problem: Problem, people: Mapping[int, str]) -> Problem:
    """The same problem in which some people are on no frame, so that nothing of them moves the others, the floor or the scale."""
    alive, visible = problem.alive.clone(), problem.visible.clone()
    for p in people:
        alive[p], visible[p] = False, False
    return replace(problem, alive=alive, visible=visible)


def with_input(found: RefinementOutput, first: RefinementOutput, problem: Problem, kept: Mapping[int, str]) -> RefinementOutput:
    """The output in which some people are as they were given, seen by the cameras as their input was, at the scale that was found.

    Args:
        found: what came out for the others. first: what came out with everybody in it.
        kept: by row of the people, why.
    """
    start = problem.start
    w2c = problem.cameras.w2c.detach().cpu().double().numpy()
    there = to_camera(start.pelvis[:, :, None].cpu().double().numpy(), _metric(w2c, start.alpha0))
    pelvis = torch.from_numpy(to_world(there, _metric(w2c, found.scale_alpha))[:, :, 0])
    joints = start.joints(problem.bodies).cpu().double() + (pelvis - start.pelvis.cpu().double())[:, :, None]
    given = {
        "global_orient": start.global_orient,
        "body_pose": start.body_pose,
        "pelvis": pelvis,
        "joints": joints,
        "betas": problem.bodies.betas,
    }
    changed = {name: getattr(found, name).detach().cpu().clone() for name in given}
    contacts = found.contacts.detach().cpu().clone()
    sigma = None if found.joint_sigma is None else found.joint_sigma.clone()
    for p in kept:
        for name, value in given.items():
            changed[name][p] = value[p].cpu().to(changed[name])
        contacts[p] = first.contacts[p].cpu()
        if sigma is not None and first.joint_sigma is not None:  # the two results are as far apart as either may be off
            apart = torch.linalg.vector_norm(first.joints[p].cpu().double() - joints[p], dim=-1)
            sigma[p] = torch.hypot(first.joint_sigma[p], apart.to(sigma)) * problem.alive[p, :, None].cpu()
    told = [f"person {problem.person_ids[p]} keeps its input: {why}" for p, why in kept.items()]
    quality = dict(found.results["quality"])
    ids = [problem.person_ids[p] for p in kept]
    quality["people"] = quality["people"] | {str(person): first.results["quality"]["people"][str(person)] for person in ids}
    quality["kept"] = ids
    quality["reasons"] = [*told, *quality["reasons"]]
    quality["verdict"] = "poor" if quality["verdict"] == "poor" else "check"
    return replace(found, **changed, contacts=contacts, joint_sigma=sigma, results=found.results | {"quality": quality})


def _metric(w2c: np.ndarray, alpha: float) -> np.ndarray:
    scaled = w2c.copy()
    scaled[:, :3, 3] *= alpha
    return scaled
