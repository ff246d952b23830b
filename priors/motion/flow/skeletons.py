"""The skeleton of a motion of which not all is seen."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.model import chained
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.motion.flow.view import Motion, Noise
from pose_priors.priors.networks.precision import uncast

_ABOVE = list(PARENTS[1:NUM_JOINTS])


def bones_of_rest(rest: Tensor) -> Tensor:
    """(..., 22, 3) metres from each joint's parent, of joints (..., 22, 3) at rest; the pelvis's are zero."""
    return torch.cat([torch.zeros_like(rest[..., :1, :]), rest[..., 1:, :] - rest[..., _ABOVE, :]], -2)


@uncast
def measured_bones(motion: Motion, noise: Noise, rest: Tensor) -> Tensor:
    """The bones (B, 22, 3) of bodies, in metres in their parents' axes, by what is seen of them.

    A bone that is seen exactly on some frame, with all rotations above it, is what it is on average there. Others have the direction of
    those of the skeleton at rest (22, 3); their lengths, too, times how much longer the bones are whose ends are seen, whose squares noise
    makes longer by what is known.
    """
    known = bones_of_rest(rest)
    of_joints, of_rotations = noise.joints, noise.rotations
    exact = [of_rotations[..., 0] == 0]
    for joint in range(1, NUM_JOINTS):
        exact.append(exact[PARENTS[joint]] & (of_rotations[..., joint] == 0))
    chain = torch.stack(exact, -1)[..., _ABOVE] & (of_joints[..., 1:] == 0) & (of_joints[..., _ABOVE] == 0)
    rotations = torch.where((of_rotations == 0)[..., None, None], motion.rotations, torch.eye(3).to(rest))
    _, turned = chained(rotations, torch.zeros_like(motion.joints), PARENTS[:NUM_JOINTS])
    apart = motion.joints[..., 1:, :] - motion.joints[..., _ABOVE, :]
    local = (turned[..., _ABOVE, :, :].mT @ apart[..., None])[..., 0]
    count = chain.sum(1)
    measured = torch.where(chain[..., None], local, 0.0).sum(1) / count.clamp_min(1)[..., None]
    noisy = 3 * (of_joints[..., 1:].square() + of_joints[..., _ABOVE].square())
    squares = torch.where(noisy.isfinite(), apart.square().sum(-1) - noisy, 0.0).sum(1)
    expected = (known[1:].square().sum(-1) * noisy.isfinite()).sum(1)
    ratio = squares.sum(-1, keepdim=True).clamp_min(0) / expected.sum(-1, keepdim=True)
    ratio = torch.where(ratio > 0, ratio, 1.0).sqrt()
    bones = torch.where((count > 0)[..., None], measured, known[1:] * ratio[..., None])
    return torch.cat([torch.zeros_like(bones[:, :1]), bones], 1)


def leg_of_bones(bones: Tensor) -> Tensor:
    """(B,) metres from hip to ankle, the mean of both sides."""
    lengths = torch.linalg.vector_norm(bones[..., [4, 5, 7, 8], :], dim=-1)
    both: Tensor = lengths.sum(-1)
    return both / 2
