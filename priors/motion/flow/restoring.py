"""Windows given what is seen of them: their mean, or draws."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from pose_priors.priors.motion.flow.denoiser import Denoiser, Expected, combined, mixed
from pose_priors.priors.motion.flow.pelvis import with_pelvis
from pose_priors.priors.motion.flow.placing import placed, within_reach
from pose_priors.priors.motion.flow.regression.asked import network_share, regression_share
from pose_priors.priors.motion.flow.regression.mirror import with_image
from pose_priors.priors.motion.flow.skeleton_fit import fit_skeleton
from pose_priors.priors.motion.flow.view import (
    CONTACTS,
    GROUPS_OF_PLACES,
    PLACES,
    Motion,
    Noise,
    Reference,
    find_reference,
    from_features,
    noise_of_groups,
    std_of_groups,
    to_features,
)

_MOST_NOISE, _LEAST_NOISE = 20.0, 0.01  # of a flow's path, in the data's spread
_RHO = 7.0
_REACH = 4.0  # standard deviations that noise moves a joint by: one in a thousand goes farther


class Restored(NamedTuple):
    """Motions, and how sure they are.

    Attributes:
        motion: rotations, joints and contacts; joints and rotations need not be those of one skeleton.
        rotation_std: (B, T, 22) radians; joint_std: (B, T, 22) metres, the pelvis's in the world, others' from the pelvis.
    """

    motion: Motion
    rotation_std: Tensor
    joint_std: Tensor

    def frames(self, which: slice) -> Restored:
        """Some of the frames."""
        return Restored(self.motion[:, which], self.rotation_std[:, which], self.joint_std[:, which])

    def shrunk(self, size: Tensor) -> Restored:
        """Bodies that are smaller by factors () or (B, 1, 1)."""
        motion = Motion(self.motion.rotations, self.motion.joints / size[..., None], self.motion.contacts)
        return Restored(motion, self.rotation_std, self.joint_std / size)


def on_skeleton(found: Restored, bones: Tensor) -> Motion:
    """What was found as bodies of bones (B, 22, 3), by how sure it is: see `fit_skeleton`."""
    motion = found.motion
    parts = (motion.rotations, motion.joints, found.rotation_std, found.joint_std, bones[:, None].expand_as(motion.joints))
    one, two, three, four, five = (value.flatten(0, 1) for value in parts)
    rotations, joints = (value.unflatten(0, motion.joints.shape[:2]) for value in fit_skeleton(one, two, three, four, five))
    return Motion(rotations, joints, motion.contacts)


class Drawn(NamedTuple):
    """Windows as a denoiser has them: what is expected of their features, and where they are seen from."""

    expected: Expected
    reference: Reference

    def restored(self, denoiser: Denoiser) -> Restored:
        """The same in metres and radians."""
        found = from_features(denoiser.smoother.denormalized(self.expected.mean), self.reference)
        return Restored(found, *std_of_groups(self.expected.std * denoiser.smoother.scale.to(self.expected.std)))


def as_seen(denoiser: Denoiser, motion: Motion, noise: Noise) -> tuple[Tensor, Tensor, Reference]:
    """Windows as the denoiser takes them: features (B, T, F), normalised, their noise (B, T, G), and the reference."""
    reference = find_reference(motion, noise)
    smoother = denoiser.smoother
    return smoother.normalized(to_features(motion, reference)), noise_of_groups(noise) / smoother.scale, reference


def flow(
    denoiser: Denoiser, seen: Tensor, noise: Tensor, reference: Reference, num_steps: int, generator: torch.Generator | None
) -> Expected:
    """A draw of features given what is seen: the path from noise that flow matching has learnt, with noise that falls as Karras et al.,
    "Elucidating the design space of diffusion-based generative models" (NeurIPS 2022) have it, by Heun's method.

    Args:
        seen, noise, reference: as the denoiser takes them.
        num_steps: of two passes each.
    """
    at = torch.linspace(1, 0, num_steps, dtype=torch.float64)
    ends = _MOST_NOISE ** (1 / _RHO), _LEAST_NOISE ** (1 / _RHO)
    levels = ((ends[1] + at * (ends[0] - ends[1])) ** _RHO).tolist()
    point = levels[0] * torch.randn(seen.shape, generator=generator, device=seen.device, dtype=seen.dtype)

    def expected(point: Tensor, level: float) -> Expected:
        return denoiser(*combined(seen, noise, point, seen.new_full((1, 1, 1), level)), reference)  # type: ignore[no-any-return]

    for before, after in pairwise(levels):
        slope = (point - expected(point, before).mean) / before
        guess = point + (after - before) * slope
        point = point + (after - before) * (slope + (guess - expected(guess, after).mean) / after) / 2
    return expected(point, levels[-1])


def believed(expected: Expected, share: Tensor) -> Expected:
    """What is expected of bodies, by shares (B,) of windows what networks say and by the rest what the process alone does."""
    mean, bodies = expected.mean.clone(), slice(0, CONTACTS.start)
    mean[..., bodies] = mixed(expected.smooth[..., bodies], mean[..., bodies], share)
    return expected._replace(mean=mean)


def bounded(expected: Expected, seen: Tensor, noise: Tensor) -> Expected:
    """What is expected, with joints no farther from where they are seen than noise reaches: networks that meet what they have not learnt,
    as single frames of a fast motion, may not overrule it.

    Args:
        expected: of features.
        seen, noise: features (B, T, F) as they are seen, and (B, T, G) with what noise, infinite where they are not.
    """
    mean = expected.mean.clone()
    places, there = (values[..., PLACES].unflatten(-1, (-1, 3)) for values in (expected.mean, seen))
    mean[..., PLACES] = within_reach(places, there, _REACH * noise[..., GROUPS_OF_PLACES]).flatten(-2)
    return expected._replace(mean=mean)


def restore_windows(denoiser: Denoiser, motion: Motion, noise: Noise, num_steps: int, generator: torch.Generator | None) -> Restored:
    """Windows (B, T, ...) of the denoiser's length given what is seen of them, each of its own; see `chaining.restore`."""
    unseen = noise.joints[..., 0].isinf()
    motion, noise = with_pelvis(denoiser.smoother, motion, noise)
    seen, told, reference = as_seen(denoiser, motion, noise)
    nothing = seen.new_full((1, 1, 1), torch.inf)
    if num_steps:
        expected = flow(denoiser, seen, told, reference, num_steps, generator)
    else:
        known = combined(seen, told, seen, nothing)
        share = regression_share(noise)
        expected = denoiser.regressed(*known, reference, share)
        expected = with_image(denoiser, expected, *known, reference, share)
        expected = bounded(believed(expected, network_share(noise)), *known)
    found = Drawn(expected, reference).restored(denoiser)
    pelvis_std = found.joint_std[..., 0]
    if not num_steps:  # draws are not shifted to what is expected
        joints, pelvis_std = placed(denoiser.smoother, found.motion, found.joint_std, motion, noise)
        found = found._replace(motion=Motion(found.motion.rotations, joints, found.motion.contacts))
    # where other joints say where the pelvis is they err alike on all frames
    filled, least = unseen & noise.joints[..., 0].isfinite(), noise.joints[..., 0]
    pelvis_std = torch.where(filled, pelvis_std.maximum(least), pelvis_std)
    return found._replace(joint_std=torch.cat([pelvis_std[..., None], found.joint_std[..., 1:]], -1))
