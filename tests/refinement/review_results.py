"""Refined sequences for tests of what looks at them: clips whose result is their truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from scenes import Clip

from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.write import write_result

DELTA = 0.01
"""By which the scale is said to have changed."""


def refine_to_truth(clip: Clip, status: str = "success") -> tuple[Problem, RefinementOutput]:
    """A result that stands where the people are, of a start at the clip's own scale; the left foot of everybody carries."""
    problem = load_problem(*clip.stages)
    start, joints = problem.start, torch.from_numpy(clip.joints)
    contacts = torch.zeros(*joints.shape[:2], 4)
    contacts[..., [0, 2]] = 0.9
    contacts[..., [1, 3]] = 0.3
    output = RefinementOutput(
        global_orient=start.global_orient,
        body_pose=start.body_pose,
        pelvis=joints[:, :, 0],
        betas=problem.bodies.betas,
        joints=joints,
        contacts=contacts,
        ground_plane=torch.from_numpy(clip.plane),
        scale_alpha=clip.alpha * (1 + DELTA),
        scale_delta=DELTA,
        results={"status": status, "per_person_likelihoods": {str(person): 0.0 for person in problem.person_ids}},
        metrics={"sub_stages": {}},
    )
    return problem, output


def make_results(root: Path, clip: Clip, names: list[str]) -> None:
    """Sequences of the same clip, each with its result in its own folder."""
    problem, output = refine_to_truth(clip)
    for name in names:
        shutil.copytree(clip.folder, root / name)
        write_result(root / name / "5_refinement", problem, output)


def spoil(path: Path, **changes: np.ndarray) -> None:
    """Changes some arrays of an npz."""
    np.savez(path, **(dict(np.load(path)) | changes))
