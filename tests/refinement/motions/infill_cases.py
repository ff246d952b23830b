"""People who walk, one of whom nobody sees for a while."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from motion_cases import NOISE, problem_of
from walking_files import walker

from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.variables import Variables

GAP = slice(45, 60)
FRAMES = 90


@lru_cache
def walkers(fps: float = 30.0) -> Problem:
    """Two people who walk before a camera, where they are."""
    frames = round(FRAMES * fps / 30)
    walks = [walker(frames / fps, fps, speed) for speed in (0.7, 0.8)]
    pose = torch.stack([torch.from_numpy(pose[:, :22]) for pose, _ in walks])
    pelvis = torch.stack([torch.from_numpy(pelvis) for _, pelvis in walks])
    rest = rest_joints(SMPL_STATURE)[:22].double().expand(2, -1, -1)
    contacts = torch.zeros(2, frames, len(CONTACT_JOINTS), dtype=torch.bool)
    return problem_of(MotionWindows(pose, pelvis, rest, contacts), fps)


def hidden(problem: Problem, at: slice = GAP) -> Problem:
    visible = problem.visible.clone()
    visible[1, at] = False
    return replace(problem, visible=visible)


def with_gap(problem: Problem, at: slice = GAP) -> Problem:
    """The same, with what stands before the gap held in it."""
    start = problem.start
    held = {name: getattr(start, name).clone() for name in ("global_orient", "body_pose", "pelvis")}
    for value in held.values():
        value[1, at] = value[1, at.start - 1]
    return hidden(replace(problem, start=replace(start, **held)), at)


def variables_of(problem: Problem) -> Variables:
    return Variables(problem, NOISE, 0.05, list(range(1, 22)))


def scene_of(problem: Problem) -> Scene:
    with torch.no_grad():
        found: Scene = variables_of(problem)(problem)
        return found


def wrong(joints: torch.Tensor, truth: Problem, at: slice = GAP) -> float:
    return float(torch.linalg.vector_norm(joints[1, at] - truth.start.joints(truth.bodies)[1, at], dim=-1).mean())
