"""Inverse kinematics: the pose that joints in space, or keypoints in a picture, most probably come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData, spread
from pose_priors.benchmarks.priors.fitting import NO_PRIOR, Problem, fit
from pose_priors.benchmarks.priors.skeleton import Skeleton, degrees
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores

_NUM_POSES = 100
_MAX_STEPS = 150
_NOISE_PX = 5.0
_SEED = 13


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the root along the z axis.

    Args:
        distance_m: from the root.
        focal_px: focal length.
    """

    distance_m: float
    focal_px: float = 1000.0

    def project(self, joints: Tensor) -> Tensor:
        """(..., 3) metres from the root, y up, z towards the camera -> (..., 2) pixels from the picture's centre, right and up."""
        return self.focal_px * joints[..., :2] / (self.distance_m - joints[..., 2:])


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Error of the most probable pose given all, half, or five joints, or keypoints, with and without each prior."""
    poses, skeleton = spread(data.test, _NUM_POSES), Skeleton(data)
    problems = observed(poses, data.default_pose, skeleton)
    scores: dict[str, dict[str, Tensor | None]] = {}
    for candidate in (None, *candidates):
        row = scores.setdefault(NO_PRIOR if candidate is None else candidate.name, {})
        for name, problem in problems.items():
            found, _ = fit(problem, candidate, skeleton, _MAX_STEPS)
            row[f"{name}: mm"] = skeleton.mpjpe(found, poses)
            row[f"{name}: deg"] = degrees(found, poses, skeleton.scored)
    sight = skeleton.sight
    title = f"Inverse kinematics: error over all joints in mm, over the scored ones in degrees, {len(poses)} poses"
    note = (
        f"The minimum of energy and exact negative log-likelihood, both with weight 1, by at most {_MAX_STEPS} steps of L-BFGS from the "
        f"mean training pose. Joints have normal noise of {sight.noise_mm:.0f} mm, keypoints of {_NOISE_PX:.0f} px (focal length "
        f"{Camera(sight.distance_m).focal_px:.0f} px, {sight.distance_m:g} m away). `5 joints`: head, wrists, ankles, or the fingertips. "
        "The root and joints that are not scored are given."
    )
    return [table_of_scores("inverse_kinematics", title, scores, note)]


def observed(
    poses: Tensor, start: Tensor, skeleton: Skeleton, noise_mm: float | None = None, noise_px: float = _NOISE_PX
) -> dict[str, Problem]:
    """What is seen of poses, by its name: all points, every second one, the five ends, all as keypoints.

    Args:
        poses: (N, 55, 3).
        start: (55, 3) where the search begins.
        noise_mm: standard deviation of each component of a point, which the likelihood knows; as the skeleton is usually seen by default.
        noise_px: the same of a keypoint.
    """
    generator = torch.Generator().manual_seed(_SEED)
    joints = skeleton.joints(poses)

    def problem(of: Callable[[Tensor], Tensor], std: float) -> Problem:
        exact = of(joints)
        seen = exact + std * torch.randn(exact.shape, generator=generator, dtype=torch.float64)

        def data_energy(pose: Tensor, rows: Tensor) -> Tensor:
            return ((of(skeleton.joints(pose)) - seen[rows]) / std).square().flatten(1).sum(1) / 2

        return Problem(poses, start.expand_as(poses), data_energy)

    sight = skeleton.sight
    subsets = {"all": range(1, skeleton.num_joints), "half": range(1, skeleton.num_joints, 2), "5 joints": sight.ends}
    std = (sight.noise_mm if noise_mm is None else noise_mm) / 1000
    found = {name: problem(_only(subset), std) for name, subset in subsets.items()}
    return found | {"2D": problem(Camera(sight.distance_m).project, noise_px)}


def _only(subset: Sequence[int]) -> Callable[[Tensor], Tensor]:
    return lambda joints: joints[..., list(subset), :]
