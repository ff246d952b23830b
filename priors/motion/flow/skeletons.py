"""The skeleton of a motion of which not all is seen."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.model import chained
from pose_priors.body.motion import joints_at_rest
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.motion.flow.view import Motion, Noise
from pose_priors.priors.networks.precision import uncast, widened

_ABOVE = list(PARENTS[1:NUM_JOINTS])
# standard deviations of what is believed of a body before it is seen: of the logarithms of its size and of each bone's beside that, and of
# the variance of all noise and of each bone's beside that, in what was told
_SIZE_DOUBT, _BONE_DOUBT, _NOISE_DOUBT, _OWN_NOISE_DOUBT = 0.1, 0.03, 1.0, 0.3
_LEAST_VARIANCE = 1e-12
_LEAST_RATIO = 0.3  # to lengths at rest: no body is smaller, whatever noise is told


def mean_rest(rest: Tensor) -> Tensor:
    """(22, 3) metres, the mean of skeletons at rest (B, 22, 3), with bones as long as theirs are on average: where bones point elsewhere in
    each, their mean is shorter."""
    bones = bones_of_rest(rest)
    mean, length = bones.mean(0), torch.linalg.vector_norm(bones, dim=-1).mean(0)
    mean = mean * (length / torch.linalg.vector_norm(mean, dim=-1).clamp_min(1e-9))[:, None]
    return joints_at_rest(rest[:, 0].mean(0), mean[1:])


def bones_of_rest(rest: Tensor) -> Tensor:
    """(..., 22, 3) metres from each joint's parent, of joints (..., 22, 3) at rest; the pelvis's are zero."""
    return torch.cat([torch.zeros_like(rest[..., :1, :]), rest[..., 1:, :] - rest[..., _ABOVE, :]], -2)


@uncast
def measured_bones(motion: Motion, noise: Noise, rest: Tensor) -> Tensor:
    """The bones (B, 22, 3) of bodies, in metres in their parents' axes, by what is seen of them.

    A bone that is seen exactly on some frame, with all rotations above it, is what it is on average there. Others have the direction of
    those of the skeleton at rest (22, 3), and lengths by `length_ratios`.
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
    squares = known[1:].square().sum(-1)
    variance = (of_joints[..., 1:].square() + of_joints[..., _ABOVE].square()) / squares
    ratios = length_ratios(apart.square().sum(-1) / squares, variance)
    bones = torch.where((count > 0)[..., None], measured, known[1:] * ratios[..., None])
    return torch.cat([torch.zeros_like(bones[:, :1]), bones], 1)


def length_ratios(squares: Tensor, variance: Tensor) -> Tensor:
    """(B, N) how much longer bones are than at rest, given how far apart their ends are seen.

    The square of a distance r that is seen with noise of variance v along each axis has the mean r^2 + 3 v and the variance
    4 r^2 v + 6 v^2. So the squared size of a body, what its bones have of their own beyond it, and by how much noise is greater than it was
    told to be, all of it and each bone's, have a posterior mean in closed form: short bones tell the noise, long ones the size, and where
    neither tells anything, all is as at rest.

    Args:
        squares: (B, T, N) squared distances, in squared lengths at rest.
        variance: (B, T, N) of both ends' noise together, along each axis, in the same unit; infinite where one is not seen.
    """
    seen = variance.isfinite()
    noise = torch.where(seen, variance, 0.0)
    precise = torch.where(seen, 1 / (4 * noise + 6 * noise.square() + _LEAST_VARIANCE), 0.0)
    total = precise.sum(1)
    known, some = total > 0, total.clamp_min(1e-30)
    longer = (precise * torch.where(seen, squares - 3 * noise - 1, 0.0)).sum(1) / some
    by_noise = 3 * (precise * noise).sum(1) / some  # by how much more, if noise has twice the variance that was told
    of_bone = (2 * _BONE_DOUBT) ** 2
    weight = torch.where(known, 1 / (1 / some + of_bone + (_OWN_NOISE_DOUBT * by_noise).square()), 0.0)
    a, b, c = weight.sum(-1) + (2 * _SIZE_DOUBT) ** -2, (weight * by_noise).sum(-1), (weight * by_noise.square()).sum(-1) + _NOISE_DOUBT**-2
    one, two = (weight * longer).sum(-1), (weight * by_noise * longer).sum(-1)
    size, more = ((value / (a * c - b.square()))[:, None] for value in (c * one - b * two, a * two - b * one))
    own = of_bone * weight * (longer - size - more * by_noise)
    ratios: Tensor = (1 + size + own).clamp_min(_LEAST_RATIO**2).sqrt()
    return ratios


def leg_of_bones(bones: Tensor) -> Tensor:
    """(B,) metres from hip to ankle, the mean of both sides."""
    lengths = torch.linalg.vector_norm(bones[..., [4, 5, 7, 8], :], dim=-1)
    both: Tensor = lengths.sum(-1)
    return both / 2


def checked_bones(bones: Tensor, dtype: torch.dtype) -> Tensor:
    """Bones (B, 22, 3) in another type. Raises `ValueError` if some are not finite, or legs have no length."""
    bones = widened(bones, dtype)
    bad = ~bones.isfinite().flatten(1).all(1) | (leg_of_bones(bones) <= 0)
    if bad.any():
        raise ValueError(f"bones of {int(bad.sum())} bodies are not finite, or those of their legs have no length: give metres, or None")
    return bones
