"""The built-in skeleton of a benchmark's poses, and how far poses are from true ones in degrees and millimetres."""

from __future__ import annotations

from collections.abc import Sequence

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import geodesic_angle
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of

END_EFFECTORS = tuple(map(index_of, ("left_ankle", "right_ankle", "head", "left_wrist", "right_wrist")))


class Skeleton:
    """The built-in skeleton up to the last joint scored: the 22 of a body, or all 55.

    Args:
        data: whose scored joints tell how many joints there are.
    """

    def __init__(self, data: BenchmarkData) -> None:
        self.scored = list(data.joint_indices)
        self.num_joints = 22 if max(self.scored) < 22 else len(JOINT_NAMES)
        self._rest = rest_joints()[: self.num_joints]
        self._parents = PARENTS[: self.num_joints]

    def joints(self, pose: Tensor) -> Tensor:
        """(..., 55, 3) rotation vectors -> (..., n, 3) metres from the pelvis, float64, differentiable."""
        joints, _ = forward_kinematics(pose[..., : self.num_joints, :].double(), self._rest, self._parents)
        return joints

    def with_scored(self, pose: Tensor, rotvec: Tensor) -> Tensor:
        """Poses (..., 55, 3) with other rotation vectors (..., J, 3) at the joints scored; differentiable in these."""
        return pose.expand(*rotvec.shape[:-2], *pose.shape[-2:]).index_copy(-2, torch.tensor(self.scored), rotvec)

    def below(self, joints: Sequence[int]) -> list[int]:
        """These joints and all that hang on them, of the n."""
        found: list[int] = []
        for joint in range(self.num_joints):
            if joint in joints or self._parents[joint] in found:
                found.append(joint)
        return found

    def millimetres(self, pose: Tensor, truth: Tensor, joints: Sequence[int]) -> Tensor:
        """Mean distance of some joints between poses (..., 55, 3) that broadcast: (...)."""
        apart = self.joints(pose)[..., list(joints), :] - self.joints(truth)[..., list(joints), :]
        metres: Tensor = apart.norm(dim=-1).mean(-1)
        return 1000 * metres

    def mpjpe(self, pose: Tensor, truth: Tensor) -> Tensor:
        """`millimetres` of all joints but the pelvis."""
        return self.millimetres(pose, truth, range(1, self.num_joints))


def degrees(pose: Tensor, truth: Tensor, joints: Sequence[int]) -> Tensor:
    """Mean geodesic angle of some joints' rotations between poses (..., 55, 3) that broadcast: (...)."""
    there, true = (roma.rotvec_to_rotmat(p[..., list(joints), :].double()) for p in (pose, truth))
    return torch.rad2deg(geodesic_angle(there, true)).mean(-1)
