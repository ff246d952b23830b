"""What every witness says of a refinement once it is done, and a verdict: good, check or poor, with reasons.

Each number compares what came out with one thing that was seen, in units of what that is known to: keypoints and depths in their own noise,
sizes with stage 3, the scale of one person or of one part of the clip with that of the whole.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.interpolation import runs
from pose_priors.body.motion import steps
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.given.upright import standing, up_direction
from pose_priors.refinement.result.scale import doubt_about, stands_still
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.noise import SLOW_ERROR, keypoint_residual
from pose_priors.refinement.solve.scene import Scene, mean_of_joints, project, start_joints_in_cameras
from pose_priors.refinement.solve.terms.base import alive_for

_SURE = 0.5
# Beyond which a witness asks for a look, and beyond which it says that something is wrong.
_KEYPOINTS, _SIZE, _DRIFT, _BIAS, _TILT = (2.0, 4.0), (0.02, 0.06), (0.05, 0.15), (0.025, 0.15), (3.0, 10.0)
_VERDICTS = ("good", "check", "poor")
_LEANS = 12.0, 45.0  # degrees by which most people lean who stand beside what a file says is up, and by which they do not stand
_THIRD, _LEAST_POINTS = 3, 6
_KEYPOINTS_ON, _FAINT = 0.25, 0.1  # the share of frames on which keypoints tell a body; and the confidence of those that tell nothing
_ACCELERATION, _TOUCHES = (20.0, 60.0), 0.1  # m/s^2, median over joints; and the share of frames on which a person touches the floor
_SHORT_S = 0.3  # seconds, in which a path is no longer than its noise
_STILL, _MOST = 0.35, 0.9  # m/s of a foot that stands; the share of such frames whose heights are looked at
LEVELS_M = 0.1
"""Metres in which heights lie at which somebody stands on one plane."""
_RESTS_S = 0.15  # seconds that a foot which stands does so
NOTHING_SEARCHED = "no iteration is asked for, by refinement.max_total_iterations or its sub-stages, so nothing was searched"
_REMAINS = 0.5  # of the heights at which feet stand by the files, what is left of them along the body of somebody who climbs


@torch.no_grad()
def quality(module: RefinementModule, scene: Scene, contacts: Tensor) -> dict[str, Any]:
    """`verdict`, `reasons`, the witnesses of the clip, and `people`: the witnesses of each by id; numbers that nothing tells are NaN.

    Args:
        module: done.
        scene: as it stands.
        contacts: (P, T, F) in [0, 1].
    """
    problem, found = module.problem, _Reasons()
    for line in problem.broken:
        found.add(1, line)
    if not problem.visible.any():
        found.add(2, "nobody is seen on any frame, so nothing was refined")
    elif not module.searches:
        found.add(1, NOTHING_SEARCHED)
    people = {str(person): _person(module, scene, contacts, p, found) for p, person in enumerate(problem.person_ids)}
    start, plane = problem.start.ground_plane[:3], scene.normal
    tilt = math.degrees(math.acos(min(1.0, float(start @ plane / torch.linalg.vector_norm(start)))))
    found.beyond(tilt, _TILT, f"the floor has tilted by {tilt:.1f} degrees from where it started")
    if not problem.floor_known:
        found.add(2, "no witness agrees on where the floor is, so nothing was held to it")
    if math.isfinite(problem.floor_tilt) and _LEANS[0] < (leans := _lean(scene, problem)) < _LEANS[1]:
        found.add(1, f"people lean by {leans:.0f} degrees from what the files say is up, which nothing else tells")
    drift = _drift(start_joints_in_cameras(problem), problem)
    found.beyond(drift, _DRIFT, f"the scale by depths changes by {100 * drift:.1f} % along the clip")
    if problem.visible.any() and (doubt := doubt_about(module, float(scene.alpha))) is not None:
        found.add(*doubt)
    if problem.visible.any() and (still := stands_still(module, scene)) is not None:
        found.add(*still)
    return {
        "verdict": _VERDICTS[found.worst],
        "reasons": found.lines,
        "floor_tilt_deg": tilt,
        "floor_points": len(problem.observations.floor_points),
        "scale_drift": drift,
        "at_limit": [name for name, report in module.reports.items() if not report.converged],
        "people": people,
    }


class _Reasons:
    """Lines, and the worst of what they say."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.worst = 0

    def add(self, level: int, line: str) -> None:
        self.lines.append(line)
        self.worst = max(self.worst, level)

    def beyond(self, value: float, limits: tuple[float, float], line: str) -> None:
        if abs(value) > limits[0]:
            self.add(2 if abs(value) > limits[1] else 1, line)


def _person(module: RefinementModule, scene: Scene, contacts: Tensor, p: int, found: _Reasons) -> dict[str, float]:
    problem, noise, name = module.problem, module.noise, f"person {module.problem.person_ids[p]}"
    alive, joints = problem.alive[p], contact_joints(problem.bodies)
    before, after = (keypoint_residual(problem, joints, p) for joints in (start_joints_in_cameras(problem), scene.camera_joints))
    seen = int(problem.visible[p].sum())
    if alive.any() and seen < _SHORT_S * problem.fps:
        found.add(1, f"{name} is seen on {seen} frames, too few to tell its path from noise")
    if little := _little_told(problem, p):
        found.add(1, f"{name} has {little} how it is turned and posed")
    misfit = after / noise.keypoint_px
    found.beyond(misfit, _KEYPOINTS, f"{name} misses the keypoints by {misfit:.1f} times their noise")
    size = float((scene.rest_joints[p] / scene.growth).norm() / problem.bodies.rest_joints[p].norm()) - 1
    found.beyond(size, _SIZE, f"{name} has become {100 * size:+.1f} % larger than stage 3 says")
    bias = float(scene.depth_bias[p])
    found.beyond(bias, _BIAS, f"the depth maps show {name} {100 * bias:+.1f} % too far away, by the floor")
    if noise.projected:
        found.add(1, f"the keypoints of {name} are its body projected, and say nothing that the body does not")
    if noise.slow_keypoints > 1 and (slowly := misfit * noise.slow_keypoints) > SLOW_ERROR:  # others' may shake alone
        found.add(1, f"the keypoints of {name} also err slowly: its fitted body misses them by {slowly:.1f} times what they shake by")
    acceleration = _acceleration(scene.joints, problem, p)
    found.beyond(acceleration, _ACCELERATION, f"{name} still jerks by {acceleration:.0f} m/s^2, as people do before a camera that is off")
    touches = float((contacts[p].amax(-1) > _SURE)[alive].float().mean()) if joints else math.nan
    if problem.floor_known and seen and touches < _TOUCHES:
        found.add(1, f"{name} touches the floor on {100 * touches:.0f} % of the frames")
    heights = (scene.heights(joints)[p] - problem.bodies.height[p, joints])[alive]
    levels = _levels(scene.normal, scene, problem, p)
    if problem.floor_known and levels > LEVELS_M:
        found.add(1, f"{name} stands at heights that differ by {levels:.2f} m, as on a slope or on stairs, and the floor is one plane")
    return {
        "contact_share": touches,
        "keypoint_px_before": before,
        "keypoint_px": after,
        "keypoint_misfit": misfit,
        "size_change": size,
        "depth_bias": bias,
        "scale_alpha": float(_scales(scene.camera_joints, scene.growth, problem)[p].nanmedian()),
        "height_above_floor": float(heights.amin(-1).median()) if heights.numel() else math.nan,
        "standing_levels": levels,
        "acceleration_before": _acceleration(problem.start.joints(problem.bodies), problem, p),
        "acceleration": acceleration,
    }


def _lean(scene: Scene, problem: Problem) -> float:
    """Degrees between what the files say is up and where most heads are above feet, of people who do not climb; nan without any.

    Somebody who walks, seen by files that are off, comes back to one level along their own body. Who climbs stands at several heights along
    it too, and leans towards the stairs or the ladder.
    """
    joints, seen = scene.joints.cpu().double().numpy(), problem.visible.cpu().numpy().copy()
    level = problem.start.ground_plane[:3]
    for p in range(len(seen)):
        own = torch.from_numpy(up_direction(joints[p : p + 1], seen[p : p + 1])).to(level)
        by_files, by_body = (_levels(up, scene, problem, p) for up in (level, own))
        seen[p] &= not (by_files > LEVELS_M and by_body > _REMAINS * by_files)
    up = up_direction(joints, seen)
    return float(np.degrees(np.arccos(np.clip(up @ level.cpu().double().numpy(), -1, 1))))


def _levels(up: Tensor, scene: Scene, problem: Problem, p: int) -> float:
    """Metres along up (3,) in which most heights lie at which a foot rests that is the lowest of a person who stands; nan where there are
    few."""
    feet, joints = contact_joints(problem.bodies), scene.joints[p]
    if not feet:
        return math.nan
    low, at = (joints[:, feet] @ up.to(joints) - problem.bodies.height[p, feet]).min(-1)
    speed = steps(joints[:, feet]).gather(-1, at[:, None])[:, 0] * problem.fps
    upright = torch.from_numpy(standing(joints[None].cpu().double().numpy(), scene.normal.cpu().double().numpy())[0]).to(at.device)
    still = problem.visible[p] & upright & (speed < _STILL)
    for begin, end in runs(still.cpu().numpy()):
        still[begin:end] &= end - begin >= _RESTS_S * problem.fps  # feet are slow at the top of a jump, too
    rests = low[still]
    if len(rests) < _SHORT_S * problem.fps:
        return math.nan
    return float(rests.quantile((1 + _MOST) / 2) - rests.quantile((1 - _MOST) / 2))


def _acceleration(joints: Tensor, problem: Problem, p: int) -> float:
    """Median over a person's joints and frames, in m/s^2; nan for lives of fewer than three frames."""
    within = alive_for(problem, 3)[p]
    if not within.any():
        return math.nan
    return float(torch.linalg.vector_norm(torch.diff(joints[p], n=2, dim=0), dim=-1)[within].median() * problem.fps**2)


def _little_told(problem: Problem, p: int) -> str | None:
    """Which keypoints a person has, where too few to pose a body are more than faint on most frames; None where they are enough."""
    confidence = problem.observations.keypoint_confidence[p, problem.visible[p]]
    frames, least = len(confidence), max(1, min(_LEAST_POINTS, confidence.shape[-1]))
    if int(((confidence > _FAINT).sum(-1) >= least).sum()) >= _KEYPOINTS_ON * frames:
        return None
    points = (confidence > 0).sum(-1)
    there = int((points > 0).sum())
    if not there:
        return "no keypoints, and nothing but stage 3 says"
    if there < _KEYPOINTS_ON * frames:
        return f"keypoints on {there} of {frames} frames, and on the others nothing but stage 3 says"
    if (usual := int(points[points > 0].median())) < least:
        return f"keypoints of {usual} joints a frame, {least} are expected: stage 3 has most of the say in"
    sure = float(confidence[confidence > 0].median())
    return f"faint keypoints, of a confidence of {sure:.2g}, more than {_FAINT} is expected: stage 3 has much of the say in"


def _scales(camera_joints: Tensor, growth: Tensor | float, problem: Problem) -> Tensor:
    """(P, T) metric = scale * stage 1 by the depths of one person on one frame, nan where there are none."""
    seen = problem.observations
    front = camera_joints[..., 2] - problem.bodies.thickness[:, None] * growth
    used = (seen.joint_depth_confidence > 0) & problem.visible[..., None] & torch.isfinite(front)
    found: Tensor = torch.where(used, front / torch.where(used, seen.joint_depth, 1), math.nan).nanmedian(-1).values
    return found


def _drift(start: Tensor, problem: Problem) -> float:
    """By how much the scale differs between the first and the last third of the clip, a mean over people; nan where nothing tells.

    What came out cannot tell, since people follow their depths. Bodies of the start (P, T, J, 3) can, at the distance at which they are as
    large in the image as their keypoints.
    """
    seen = problem.observations
    used = (seen.keypoint_confidence > 0) & problem.visible[..., None]
    drawn = _extent(project(mean_of_joints(start, seen.keypoint_joints), problem.cameras), used)
    nearer = (drawn / _extent(seen.keypoints, used))[..., None, None]
    scales = _scales(start * torch.where(used.sum(-1)[..., None, None] >= _LEAST_POINTS, nearer, math.nan), 1.0, problem)
    scales = scales[:, : problem.num_frames]
    third = max(1, problem.num_frames // _THIRD)
    change = scales[:, -third:].nanmedian(1).values / scales[:, :third].nanmedian(1).values - 1
    return float(change.nanmean())


def _extent(pixels: Tensor, used: Tensor) -> Tensor:
    """(P, T) root mean square distance of the pixels (P, T, K, 2) in use from their mean."""
    weight = used[..., None].to(pixels.dtype)
    count = weight.sum(2).clamp_min(1)
    at = torch.where(used[..., None], pixels, 0)
    mean = at.sum(2) / count
    return ((at - mean[:, :, None]).square() * weight).sum((2, 3)).div(count[..., 0]).sqrt()
