"""Which windows the regression is asked of, and how far it is believed: where it leaves validation clips nearer to the truth than the flow,
or the mean of both is nearer than either, there or in clips of other makers."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.motion.flow.corruption import LIMBS
from pose_priors.priors.motion.flow.view import Noise

_EXACT_M = 1e-3
# where validation clips with 40 mm of noise are left nearer the truth than by the flow: rotations as vague as this or more, a root as sure
# as this or more, on so many frames
_EXACT_RAD, _VAGUE_RAD = 1e-3, 0.5
_ROOT_RAD, _ROOT_M, _ROOT_SHARE = 0.1, 0.02, 0.7
_LIMB_SHARE = 0.5  # of frames on which a limb is hidden: of validation clips the flow is nearer below that, for arms
_OF_NOISE = 0.9  # how far it is believed of joints seen with noise: alone it is farther from the truth of other makers' clips
_OF_GAPS = 0.25  # how far it is believed of whatever else is hidden beside what is known
# how far networks are believed beyond the Gaussian process of short gaps, and by how much more for each share of a window that is hidden:
# clips of other makers, whose gaps of 10 and 20 frames the process alone leaves nearer than networks that have learnt from CMU's
_OF_SHORT_GAPS, _LONGER = 0.5, 0.75


def regression_share(noise: Noise) -> Tensor:
    """(B,) in [0, 1], how far the regression is believed, and the flow by the rest.

    It is nine tenths of windows that have joints seen with noise, a root that is known on most frames, and no rotation that would tell
    more of joints: others are known as their joint is, or seen so vaguely that joints tell more, or not at all. It is 1 where legs or arms
    are hidden, one at least for half of the frames, and all else is known. Where something else is hidden, as in gaps, and all else is
    known, it is a quarter. Of all other windows it is 0.
    """
    rotations, joints, (exact, hidden) = noise.rotations, noise.joints, _exact_and_hidden(noise)
    others = (exact | (rotations >= _VAGUE_RAD))[..., 1:].all(-1).all(-1)
    with_noise = (joints.isfinite() & (joints > 0) & ~exact).any(-1).any(-1)
    root = (rotations[..., 0] <= _ROOT_RAD) & (joints[..., 0] <= _ROOT_M)
    noisy = with_noise & others & (root.to(joints).mean(-1) >= _ROOT_SHARE)

    limbs = LIMBS.to(joints.device)
    known = (exact | (hidden & limbs.any(0))).all(-1).all(-1)
    share = (hidden[..., None, :] | ~limbs).all(-1).to(joints).mean(-2)  # of frames, of each limb
    limb = known & (share >= _LIMB_SHARE).any(-1)
    rest = torch.where(noisy, _OF_NOISE, torch.where(_is_completed(noise), _OF_GAPS, 0.0))
    return torch.where(limb, 1.0, rest).to(joints)


def network_share(noise: Noise) -> Tensor:
    """(B,) in [0, 1], how far what networks expect is believed, and the Gaussian process by the rest: all of it but of windows in which
    whole frames are hidden, and all else is known, or hidden, too; of these the more, the more such frames there are."""
    whole = noise.joints.isinf().all(-1).to(noise.joints).mean(-1)
    of_gap = (_OF_SHORT_GAPS + _LONGER * whole).clamp_max(1)
    return torch.where(_is_completed(noise) & (whole > 0), of_gap, 1.0)


def _is_completed(noise: Noise) -> Tensor:
    """(B,) bool, windows of which each joint on each frame is known or hidden, its rotation and its place, and there are both."""
    exact, hidden = _exact_and_hidden(noise)
    return (exact | hidden).all(-1).all(-1) & hidden.any(-1).any(-1) & exact.any(-1).any(-1)


def _exact_and_hidden(noise: Noise) -> tuple[Tensor, Tensor]:
    """(B, T, 22) bool, joints of which rotation and place are known, and those of which neither is."""
    return (noise.rotations <= _EXACT_RAD) & (noise.joints <= _EXACT_M), noise.joints.isinf() & noise.rotations.isinf()
