"""Motions in a mirror across the world's x axis, as features: sides change places, and numbers that point across change their signs.

The networks learn of mirror images as often as of motions, so what they say of one is as good as what they say of the other, and the mean
of both is nearer to the truth than either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.motion import MIRRORED_CONTACTS
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import MIRROR
from pose_priors.priors.motion.flow.denoiser import Denoiser, Expected
from pose_priors.priors.motion.flow.view import CONTACTS, NUM_FEATURES, NUM_GROUPS, PLACES, ROTATIONS, Reference

_ACROSS = torch.tensor([-1.0, 1.0, 1.0])  # x: of the world, of references, where it points to the right, and of bodies, to the left


def _tables() -> tuple[Tensor, Tensor, Tensor]:
    """(F,) of each feature which one is in its place in the mirror, and its sign there; (G,) of each group the same."""
    joints = torch.tensor(MIRROR[:NUM_JOINTS])
    place, sign = torch.arange(NUM_FEATURES), torch.ones(NUM_FEATURES)
    group = torch.cat([torch.arange(2), 2 + joints, 2 + NUM_JOINTS + joints[1:] - 1, torch.tensor([NUM_GROUPS - 1])])
    sign[0] = -1
    place[ROTATIONS] = place[ROTATIONS].view(NUM_JOINTS, 6)[joints].flatten()
    place[PLACES] = place[PLACES].view(NUM_JOINTS - 1, 3)[joints[1:] - 1].flatten()
    place[CONTACTS] = place[CONTACTS][torch.tensor(MIRRORED_CONTACTS)]
    sign[ROTATIONS] = (_ACROSS[:, None] * _ACROSS[:2]).flatten().repeat(NUM_JOINTS)
    sign[PLACES] = _ACROSS.repeat(NUM_JOINTS - 1)
    return place, sign, group


_PLACE, _SIGN, _GROUP = _tables()


def mirrored_features(features: Tensor) -> Tensor:
    """(..., F) of the motions in a mirror, not normalised."""
    return features[..., _PLACE] * _SIGN.to(features)


def mirrored_reference(reference: Reference) -> Reference:
    """From where those are seen."""
    across = _ACROSS.to(reference.turn)
    return Reference(across[:, None] * reference.turn * across, reference.origin * across)


def with_image(denoiser: Denoiser, expected: Expected, seen: Tensor, noise: Tensor, reference: Reference, share: Tensor) -> Expected:
    """What is expected of windows of which the regression is asked, by them and by their mirror images: the mean of both.

    Args:
        expected: of the windows as they are.
        seen, noise, reference: as the denoiser takes them.
        share: (B,) how far the regression is believed of windows; where that is 0 nothing changes.
    """
    rows = share > 0
    if denoiser.regression is None or not rows.any():
        return expected
    smoother = denoiser.smoother

    def image(values: Tensor) -> Tensor:
        return smoother.normalized(mirrored_features(smoother.denormalized(values)))

    def swapped(std: Tensor) -> Tensor:
        scale = smoother.scale.to(std)
        return (std * scale)[..., _GROUP] / scale

    seen, noise = (value.expand(len(rows), *value.shape[1:])[rows] for value in (seen, noise))
    what = image(seen), swapped(noise), mirrored_reference(Reference(reference.turn[rows], reference.origin[rows]))
    found = denoiser.regressed(*what, share[rows])
    mean, std = expected.mean.clone(), expected.std.clone()
    mean[rows] = (mean[rows] + image(found.mean)) / 2
    std[rows] = (std[rows] + swapped(found.std)) / 2
    return expected._replace(mean=mean, std=std)
