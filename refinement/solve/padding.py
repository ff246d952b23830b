"""Clips of different lengths at shared lengths, so that whatever depends on shapes is made once: 87 and 35 frames both run as 100.

Nobody is alive or seen on the frames that are added, so that no term counts them; time filters and contacts leave them out
(`solve.variables`, `solve.contacts`). A padded clip is therefore the same problem: the objective and its gradient differ by the
rounding of sums over more zeros, nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem


def padded(problem: Problem, multiple: int | None) -> Problem:
    """The problem at the next multiple of so many frames; None leaves it as it is. The last camera and pose are held, nothing is seen."""
    frames = len(problem.frame_ids)
    extra = -frames % multiple if multiple else 0
    if not extra:
        return problem

    def held(value: Tensor, dim: int) -> Tensor:
        return torch.cat([value, value.narrow(dim, frames - 1, 1).repeat_interleave(extra, dim)], dim)

    def absent(value: Tensor, dim: int = 1) -> Tensor:
        shape = list(value.shape)
        shape[dim] = extra
        return torch.cat([value, value.new_zeros(shape)], dim)

    cameras, seen, start = problem.cameras, problem.observations, problem.start
    return replace(
        problem,
        frame_ids=(*problem.frame_ids, *range(problem.frame_ids[-1] + 1, problem.frame_ids[-1] + 1 + extra)),
        alive=absent(problem.alive),
        visible=absent(problem.visible),
        cameras=replace(
            cameras, w2c=held(cameras.w2c, 0), intrinsics=held(cameras.intrinsics, 0), confidence=absent(cameras.confidence, 0)
        ),
        observations=replace(
            seen,
            keypoints=absent(seen.keypoints),
            keypoint_confidence=absent(seen.keypoint_confidence),
            joint_depth=absent(seen.joint_depth),
            joint_depth_confidence=absent(seen.joint_depth_confidence),
            surface=absent(seen.surface) if seen.surface.shape[1] == frames else seen.surface,
            surface_points=absent(seen.surface_points) if seen.surface.shape[1] == frames else seen.surface_points,
            contact_log_odds=absent(seen.contact_log_odds) if seen.contact_log_odds.shape[1] == frames else seen.contact_log_odds,
        ),
        start=replace(start, global_orient=held(start.global_orient, 1), body_pose=held(start.body_pose, 1), pelvis=held(start.pelvis, 1)),
        padding=problem.padding + extra,
    )
