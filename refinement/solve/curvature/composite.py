"""What points that bodies carry weigh, by the joints that turn them: composite bodies.

A pelvis that moves and joints that turn move a point q of a body by u + w x q, a twist (u, w) (6,) about the pelvis. What weighs how points
move is a matrix (6, 6) of two twists, which adds up over all that a joint carries, so that two joints share what the one of them weighs
that is carried by the other (the composite-rigid-body algorithm: Walker & Orin, "Efficient Dynamic Computer Simulation of Robotic
Mechanisms", ASME J. Dyn. Syst. Meas. Control 104, 1982; Featherstone, "Rigid Body Dynamics Algorithms", 2008, ch. 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body.exponential import angles, right_jacobian_transposed
from pose_priors.body.model import forward_kinematics
from pose_priors.refinement.solve.scene import Scene


class Chain:
    """One person on T frames, whose C = 1 + F moves are of the pelvis in metres, and turns of the F joints that may turn, in radians.

    Attributes:
        twists: (T, C, 6, 3) of each of the three coordinates of a move.
        carries: (C, J) 1 where a move carries a joint, else 0.
    """

    def __init__(self, scene: Scene, parents: Sequence[int], person: int) -> None:
        joints, turn, free = scene.joints[person], scene.turn[person], scene.free
        _, turned = forward_kinematics(scene.rotvec[person], scene.rest_joints[person], parents)
        # exp(w + d) = exp(w) exp(J d): the axes about which each joint turns in the world
        first = turn.movedim(-1, 0)
        at = angles(first)
        axes = torch.stack([right_jacobian_transposed(first, column, at) for column in _unit_vectors(turn)], -1).movedim(0, -1)
        axes = (turned @ axes).index_select(1, free)
        self._pelvis = joints[:, :1]
        place = joints.index_select(1, free) - self._pelvis
        turns = torch.cat([_crossed(place, axes), axes], 2)
        shift = joints.new_zeros(len(joints), 1, 6, 3)
        shift[:, 0, :3] = torch.eye(3, dtype=joints.dtype) * torch.exp(-scene.depth_bias[person])
        self.twists = torch.cat([shift, turns], 1)
        below = joints.new_zeros(len(parents), len(parents))
        for joint, carried_by_it in enumerate(carried(parents)):
            below[joint, carried_by_it] = 1
        self.carries = torch.cat([torch.ones_like(below[:1]), below[free]])
        ahead = torch.cat([torch.ones_like(below[:1, free]), below[free][:, free]])
        ahead = torch.cat([torch.zeros_like(ahead[:, :1]), ahead], 1)
        ahead[0, 0] = 1
        down, up = (mask.repeat_interleave(3, 0).repeat_interleave(3, 1) for mask in (ahead, ahead.T - torch.eye(len(ahead))))
        self._own, self._down, self._up = down.triu(), down, up

    @property
    def frames(self) -> int:
        """T."""
        return len(self.twists)

    @property
    def joints(self) -> int:
        """J."""
        return self.carries.shape[1]

    def composite(self, values: Tensor) -> Tensor:
        """(T, C, ...) the sums over all that each move carries of values (T, J, ...) of the joints."""
        total: Tensor = (self.carries @ values.flatten(2)).unflatten(2, values.shape[2:])
        return total

    def places(self, points: Tensor) -> Tensor:
        """(T, N, 3) of points (T, N, 3) in the world, from the pelvis."""
        return points - self._pelvis

    def moved(self, points: Tensor) -> Tensor:
        """(T, N, 3, 6) by what twists move points (T, N, 3) in the world."""
        at = self.places(points)
        out = at.new_zeros(*at.shape, 6)
        out[..., :3] = torch.eye(3, dtype=at.dtype)
        x, y, z = at.unbind(-1)
        out[..., 0, 4], out[..., 0, 5] = z, -y
        out[..., 1, 3], out[..., 1, 5] = -z, x
        out[..., 2, 3], out[..., 2, 4] = y, -x
        return out

    def slopes(self, joints: Tensor, groups: Sequence[Sequence[int]], slope: Tensor) -> Tensor:
        """(T, M, D) along the moves, of what changes by slopes (T, M, 3) with the means of groups of joints, of which all are (T, J, 3) in
        the world."""
        member = joints.new_zeros(len(groups), self.joints)
        for row, group in enumerate(groups):
            member[row, list(group)] = 1 / len(group)
        share = member[:, None] * self.carries
        force = share.sum(-1)[..., None] * slope[:, :, None]
        place = torch.einsum("mcj,tjx->tmcx", share, joints - self._pelvis)
        push = torch.cat([force, torch.linalg.cross(place, slope[:, :, None].expand_as(place))], -1)
        return torch.einsum("tcsk,tmcs->tmck", self.twists, push).flatten(2)

    def coordinates(self, forces: Tensor) -> Tensor:
        """(T, D, G) of what G forces (T, C, 6, G) are by the D = 3 C coordinates of the moves."""
        return (self.twists.mT @ forces).flatten(1, 2)

    def block(self, composite: Tensor, begin: int, apart: int) -> Tensor:
        """(T', D, D) of the coordinates on frames from `begin` on, against those on frames so far after them; on the same frames the upper
        triangle, since the other is its mirror image.

        Args:
            composite: (T', C, 6, 6) what all that each move carries weighs, by its twists on the first and on the second frame.
        """
        span = slice(begin, begin + len(composite))
        here, there = self.twists[span], self.twists[span.start + apart : span.stop + apart]
        down = here.movedim(2, 3).flatten(1, 2) @ (composite @ there).movedim(2, 1).flatten(2)
        if apart == 0:
            return down.mul_(self._own)
        return down.mul_(self._down).addcmul_((here.mT @ composite).flatten(1, 2) @ there.movedim(2, 1).flatten(2), self._up)


def _unit_vectors(like: Tensor) -> list[Tensor]:
    """Three (3, ...), of the shape of (..., 3) vectors."""
    out = []
    for k in range(3):
        unit = torch.zeros_like(like.movedim(-1, 0))
        unit[k] = 1
        out.append(unit)
    return out


def _crossed(points: Tensor, axes: Tensor) -> Tensor:
    """(..., 3, 3): points (..., 3) times each column of the axes (..., 3, 3)."""
    across: Tensor = torch.linalg.cross(points[..., None].expand_as(axes), axes, dim=-2)
    return across


def carried(parents: Sequence[int]) -> list[list[int]]:
    """Each joint and the joints that it carries."""
    found: list[list[int]] = [[joint] for joint in range(len(parents))]
    for joint in range(len(parents) - 1, 0, -1):
        found[parents[joint]] += found[joint]
    return [sorted(joints) for joints in found]
