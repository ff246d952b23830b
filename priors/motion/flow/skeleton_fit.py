"""One body for what is known of its rotations and of its joints: the most probable rotations, by Gauss-Newton steps, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.model import chained
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS

_PARENTS = PARENTS[:NUM_JOINTS]
_AT_ONCE = 256  # frames: what is held of them stays in the cache
_LEGS = [joint for joint in range(NUM_JOINTS) if JOINT_NAMES[joint].endswith(("hip", "knee", "ankle"))]
_FIXED, _FREE_RAD = 1e-3, 0.5  # radians that rotations may turn by: of the trunk and arms, and of legs
_HELD_M, _ABOUT_M = 1e-3, 0.1  # of feet that are held, and of all other joints
_SHARES = (1.0, 0.5, 0.25, 0.1)  # of a step
_SETTLED = 1.0  # what a step makes of twice a log-probability where more would change nothing
_LEAST_STD_RAD, _LEAST_STD_M = 1e-4, 1e-5


def _carried() -> Tensor:
    """(22, 22): 1 where the column is a joint that the row's joint, above it, carries when it turns."""
    table = torch.zeros(NUM_JOINTS, NUM_JOINTS)
    for joint in range(1, NUM_JOINTS):
        above = _PARENTS[joint]
        while above >= 0:
            table[above, joint] = 1
            above = _PARENTS[above]
    return table


_CARRIED = _carried()


def fit_skeleton(
    rotations: Tensor, joints: Tensor, rotation_std: Tensor, joint_std: Tensor, bones: Tensor, num_steps: int = 4, rounds: int = 4
) -> tuple[Tensor, Tensor]:
    """Rotations and joints of bodies with bones of given lengths that fit both, by their standard deviations.

    Args:
        rotations: (N, 22, 3, 3), the root's relative to the world.
        joints: (N, 22, 3) metres.
        rotation_std: (N, 22) radians; joint_std: (N, 22) metres. The pelvis stays where it is.
        bones: (N, 22, 3) metres, of each joint from its parent in the parent's axes at rest; the pelvis's does not matter.
        num_steps: of Gauss and Newton.
        rounds: bodies of which the last step still makes more than half a nat take as many again, at most so many times in all.
    Returns:
        (N, 22, 3, 3) and (N, 22, 3).
    """
    fitted = []
    for parts in zip(*(value.split(_AT_ONCE) for value in (rotations, joints, rotation_std, joint_std, bones)), strict=True):
        found, places, gain = _fitted(parts, parts[0], num_steps)
        for _ in range(rounds - 1):
            late = (gain > _SETTLED).nonzero()[:, 0]
            if not len(late):
                break
            more = _fitted([value[late] for value in parts], found[late], num_steps)
            found, places, gain = (old.index_put((late,), new) for old, new in zip((found, places, gain), more, strict=True))
        fitted.append((found, places))
    return torch.cat([found for found, _ in fitted]).to(rotations), torch.cat([places for _, places in fitted]).to(joints)


def fit_held(rotations: Tensor, joints: Tensor, change: Tensor, bones: Tensor) -> tuple[Tensor, Tensor]:
    """Bodies whose feet are moved, by their legs alone, the rest as it was.

    Args:
        rotations: (B, T, 22, 3, 3); joints: (B, T, 22, 3) metres; bones: (B, 22, 3) metres, as in `fit_skeleton`.
        change: (B, T, 22, 3) metres to move joints by; frames on which it is zero stay as they are.
    """
    frames = change.flatten(2).any(2)
    moved = change[frames].any(-1)
    target = joints[frames] + change[frames]
    rotation_std, joint_std = torch.full_like(target[..., 0], _FIXED), torch.full_like(target[..., 0], _ABOUT_M)
    rotation_std[:, _LEGS] = _FREE_RAD
    found = fit_skeleton(
        rotations[frames],
        target,
        rotation_std,
        torch.where(moved, _HELD_M, joint_std),
        bones[:, None].expand(*frames.shape, -1, -1)[frames],
        rounds=1,
    )
    rotations, joints = rotations.clone(), joints.clone()
    rotations[frames], joints[frames] = found
    return rotations, joints


def _fitted(parts: Sequence[Tensor], start: Tensor, num_steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of what `fit_skeleton` takes, from rotations to start with; also (N,) what the last step has made of twice the log-probability."""
    rotations, joints, rotation_std, joint_std, bones = (value.double() for value in parts)
    by_rotation = rotation_std.clamp_min(_LEAST_STD_RAD).square().reciprocal()
    by_joint = joint_std.clamp_min(_LEAST_STD_M).square().reciprocal()
    carried = _CARRIED.to(rotations)
    offsets = torch.cat([joints[:, :1], bones[:, 1:]], 1)

    def cost(found: Tensor) -> Tensor:
        """(N,) minus twice the log-probability, but for a constant."""
        places, _ = chained(found, offsets, _PARENTS)
        turns = conversions.rotmat_to_rotvec(found @ rotations.mT)
        of_joints: Tensor = (by_joint * (places - joints).square().sum(-1)).sum(-1)
        of_rotations: Tensor = (by_rotation * turns.square().sum(-1)).sum(-1)
        return of_joints + of_rotations

    found = start.double()
    least = gain = cost(found)
    for _ in range(num_steps):
        places, turned = chained(found, offsets, _PARENTS)
        above = torch.cat([torch.eye(3).to(turned).expand(len(turned), 1, 3, 3), turned[:, list(_PARENTS[1:])]], 1)
        # a turn w of a joint about the world's axes moves joint k by w x (k - joint): J = -[k - joint]x
        arms = (places[:, None] - places[:, :, None]) * carried[..., None]  # (N, joint, k, 3)
        x, y, z = arms.unbind(-1)
        zero = torch.zeros_like(x)
        jacobian = torch.stack([zero, z, -y, -z, zero, x, y, -x, zero], -1).unflatten(-1, (3, 3))  # (N, joint, k, 3 of k, 3 of w)
        jacobian = jacobian.permute(0, 2, 3, 1, 4).flatten(3, 4).flatten(1, 2)  # (N, 66 of joints, 66 of turns)
        weight = by_joint.repeat_interleave(3, -1)
        apart = above @ conversions.rotmat_to_rotvec(found @ rotations.mT)[..., None]
        weighted = jacobian * weight[..., None]
        normal = weighted.mT @ jacobian + torch.diag_embed(by_rotation.repeat_interleave(3, -1))
        slope = weighted.mT @ (places - joints).flatten(1)[..., None] + (by_rotation[..., None, None] * apart).flatten(1, 2)
        step = torch.cholesky_solve(slope, torch.linalg.cholesky(normal))[..., 0].unflatten(-1, (NUM_JOINTS, 3))
        size = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
        step = (above.mT @ (-step * (1.0 / size.clamp_min(1.0)))[..., None])[..., 0]
        # a limb that is nearly straight cannot follow its linear model: as far along the step as it leads to something better
        stepped = torch.zeros_like(least, dtype=torch.bool)
        before, dear = found, least
        for share in _SHARES:
            there = conversions.rotvec_to_rotmat(share * step) @ before
            now = cost(there)
            better = ~stepped & (now <= least)
            found = torch.where(better[:, None, None, None], there, found)
            least = torch.where(better, now, least)
            stepped |= better
            if stepped.all():
                break
        gain = (dear - least).detach()
    found = conversions.special_procrustes(found)
    places, _ = chained(found, offsets, _PARENTS)
    return found, places, gain
