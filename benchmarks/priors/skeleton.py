"""The built-in skeleton of a benchmark's poses, and how far poses are from true ones in degrees and millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.parts import hand_of
from pose_priors.body.builtin import rest_fingertips, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import geodesic_angle
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, PARTS, index_of

END_EFFECTORS = tuple(map(index_of, ("left_ankle", "right_ankle", "head", "left_wrist", "right_wrist")))


@dataclass(frozen=True)
class Sight:
    """How a skeleton is seen.

    Attributes:
        ends: the points of its extremities.
        noise_mm: normal noise of each component of a point.
        levels_mm: of noise that is to be taken off.
        distance_m: of a camera from its root.
    """

    ends: tuple[int, ...]
    noise_mm: float
    levels_mm: tuple[float, ...]
    distance_m: float


class Skeleton:
    """The built-in skeleton up to the last joint scored, the 22 of a body or all 55; where all that are scored are of one hand, the 21
    keypoints in use for hands (Simon et al., "Hand Keypoint Detection in Single Images using Multiview Bootstrapping", CVPR 2017): the
    wrist, which does not turn, the 15 joints, and the fingertips.

    Args:
        data: whose scored joints tell which it is.
    Attributes:
        scored: SMPL-X indices of the J joints that are scored.
        num_joints: n of its points, the first of which is its root.
        sight: how it is seen.
    """

    def __init__(self, data: BenchmarkData) -> None:
        self.scored = list(data.joint_indices)
        hand = hand_of(self.scored)
        if hand is None:
            self._joints = list(range(22 if max(self.scored) < 22 else len(JOINT_NAMES)))
            rest, self._parents = rest_joints()[self._joints], PARENTS[: len(self._joints)]
            self.sight = Sight(END_EFFECTORS, 5.0, (20, 40, 100), 3.0)
        else:
            self._joints = [PARENTS[PARTS[hand][0]], *PARTS[hand]]
            last = range(3, len(self._joints), 3)
            tips = rest_fingertips().view(2, -1, 3)[("left_hand", "right_hand").index(hand)]
            rest = torch.cat([rest_joints()[self._joints], tips])
            self._parents = (*(self._joints.index(PARENTS[joint]) if row else -1 for row, joint in enumerate(self._joints)), *last)
            self.sight = Sight(tuple(range(len(self._joints), len(rest))), 2.0, (2, 5, 10), 0.5)
        self._rest, self.num_joints, self._turns = rest - rest[0], len(rest), hand is None

    def joints(self, pose: Tensor) -> Tensor:
        """(..., 55, 3) rotation vectors -> (..., n, 3) metres from the root, float64, differentiable."""
        turns = pose[..., self._joints, :].double()
        if not self._turns:
            turns = torch.nn.functional.pad(turns[..., 1:, :], (0, 0, 1, self.num_joints - len(self._joints)))
        joints, _ = forward_kinematics(turns, self._rest, self._parents)
        return joints

    def with_scored(self, pose: Tensor, rotvec: Tensor) -> Tensor:
        """Poses (..., 55, 3) with other rotation vectors (..., J, 3) at the joints scored; differentiable in these."""
        return pose.expand(*rotvec.shape[:-2], *pose.shape[-2:]).index_copy(-2, torch.tensor(self.scored), rotvec)

    def below(self, joints: Sequence[int]) -> list[int]:
        """Of the n points, those of joints by their SMPL-X indices, and all that hang on them."""
        found: list[int] = []
        for point, parent in enumerate(self._parents):
            if parent in found or (point < len(self._joints) and self._joints[point] in joints):
                found.append(point)
        return found

    def millimetres(self, pose: Tensor, truth: Tensor, points: Sequence[int]) -> Tensor:
        """Mean distance of some points between poses (..., 55, 3) that broadcast: (...)."""
        apart = self.joints(pose)[..., list(points), :] - self.joints(truth)[..., list(points), :]
        metres: Tensor = apart.norm(dim=-1).mean(-1)
        return 1000 * metres

    def mpjpe(self, pose: Tensor, truth: Tensor) -> Tensor:
        """`millimetres` of all points but the root."""
        return self.millimetres(pose, truth, range(1, self.num_joints))


def degrees(pose: Tensor, truth: Tensor, joints: Sequence[int]) -> Tensor:
    """Mean geodesic angle of some joints' rotations between poses (..., 55, 3) that broadcast: (...)."""
    there, true = (roma.rotvec_to_rotmat(p[..., list(joints), :].double()) for p in (pose, truth))
    return torch.rad2deg(geodesic_angle(there, true)).mean(-1)
