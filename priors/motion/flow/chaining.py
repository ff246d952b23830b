"""Motions of any length given what is seen of them, by windows that overlap: all at once, or one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.motion.flow.denoiser import Denoiser
from pose_priors.priors.motion.flow.overlap import cut, joined, joined_rotations, padded, window_starts
from pose_priors.priors.motion.flow.restoring import Restored, on_skeleton, restore_windows
from pose_priors.priors.motion.flow.view import Motion, Noise


def restore(
    denoiser: Denoiser, motion: Motion, noise: Noise, bones: Tensor, num_steps: int = 0, generator: torch.Generator | None = None
) -> Restored:
    """Motions (B, T, ...) given what is seen of them.

    Args:
        bones: (B, 22, 3) metres, as of `fit_skeleton`.
        num_steps: of a flow that draws them; 0 for what is expected of them, in one pass.
        generator: of the draws.

    What is expected is found for all windows at once, and mixed where they overlap. Draws of two windows would not fit, nor would anything
    where a window sees no joint at all, or none's place in the world: in motions with such a window, and in these alone, each window is
    given what the one before has found.
    """
    num_frames = motion.joints.shape[1]
    motion, noise = padded(motion, noise, denoiser.num_frames)
    starts = window_starts(motion.joints.shape[1], denoiser.num_frames)
    chained = _are_chained(noise, starts, denoiser.num_frames, bool(num_steps))
    if len(chained) and chained.all():
        return _one_by_one(denoiser, motion, noise, bones, starts, num_steps, generator)
    if not chained.any():
        return _all_at_once(denoiser, motion, noise, starts, num_frames, num_steps, generator)
    one = _one_by_one(denoiser, motion[chained], noise[chained], bones[chained], starts, num_steps, generator)
    return _by_row(chained, one, _all_at_once(denoiser, motion[~chained], noise[~chained], starts, num_frames, num_steps, generator))


def _are_chained(noise: Noise, starts: list[int], length: int, drawn: bool) -> Tensor:
    """(B,) bool, motions of several windows that are drawn, or of which one sees no joint, or none's place in the world."""
    sighted = noise.joints.isfinite().any(-1) & noise.path.isfinite()
    blind = ~torch.stack([sighted[:, first : first + length].any(1) for first in starts]).all(0)
    return (blind | drawn) & (len(starts) > 1)


def _by_row(rows: Tensor, one: Restored, other: Restored) -> Restored:
    """What was found of motions (B,) bool, and of the others, in their order."""
    order = torch.cat([rows.nonzero()[:, 0], (~rows).nonzero()[:, 0]]).argsort()

    def both(first: Tensor | None, second: Tensor | None) -> Tensor:
        assert first is not None
        assert second is not None
        return torch.cat([first, second])[order]

    motions = (one.motion, other.motion)
    rotations, joints, contacts = (both(*(getattr(m, name) for m in motions)) for name in ("rotations", "joints", "contacts"))
    return Restored(Motion(rotations, joints, contacts), both(one.rotation_std, other.rotation_std), both(one.joint_std, other.joint_std))


def _all_at_once(
    denoiser: Denoiser, motion: Motion, noise: Noise, starts: list[int], num_frames: int, num_steps: int, generator: torch.Generator | None
) -> Restored:
    found = restore_windows(denoiser, *cut(motion, noise, starts, denoiser.num_frames), num_steps, generator)
    assert found.motion.contacts is not None
    rotations = joined_rotations(found.motion.rotations, starts, num_frames)
    values = (found.motion.joints, found.motion.contacts, found.rotation_std, found.joint_std)
    joints, contacts, rotation_std, joint_std = (joined(value, starts, num_frames) for value in values)
    return Restored(Motion(rotations, joints, contacts), rotation_std, joint_std)


def _one_by_one(
    denoiser: Denoiser,
    motion: Motion,
    noise: Noise,
    bones: Tensor,
    starts: list[int],
    num_steps: int,
    generator: torch.Generator | None,
) -> Restored:
    length, done = denoiser.num_frames, 0
    parts: list[Restored] = []
    for first in starts:
        at, known = slice(first, first + length), done - first
        window, told = motion[:, at], noise[:, at]
        if known > 0:
            last = parts[-1].motion
            before = slice(length - known, length)
            contacts = None
            if window.contacts is not None and last.contacts is not None:
                contacts = torch.cat([last.contacts[:, before], window.contacts[:, known:]], 1)
            window = Motion(
                torch.cat([last.rotations[:, before], window.rotations[:, known:]], 1),
                torch.cat([last.joints[:, before], window.joints[:, known:]], 1),
                contacts,
            )
            rotation_noise, joint_noise, path_noise = (
                torch.cat([torch.zeros_like(value[:, :known]), value[:, known:]], 1) for value in (told.rotations, told.joints, told.path)
            )
            told = Noise(rotation_noise, joint_noise, told.contacts, path_noise)
        found = restore_windows(denoiser, window, told, num_steps, generator)
        new = slice(max(known, 0), length)
        # what is expected where little is seen is no body; where the next window is told that such a thing was seen exactly, bodies jump
        body = on_skeleton(Restored(found.motion[:, new], found.rotation_std[:, new], found.joint_std[:, new]), bones)
        whole = Motion(
            torch.cat([window.rotations[:, : new.start], body.rotations], 1),
            torch.cat([window.joints[:, : new.start], body.joints], 1),
            found.motion.contacts,
        )
        parts.append(found._replace(motion=whole))
        done = first + length
    return _laid(parts, starts)


def _laid(parts: list[Restored], starts: list[int]) -> Restored:
    """Windows one after the other, each but for what the one before has said."""
    ends = [first + part.motion.joints.shape[1] for first, part in zip(starts, parts, strict=True)]

    def laid(values: list[Tensor]) -> Tensor:
        done, pieces = 0, []
        for first, end, value in zip(starts, ends, values, strict=True):
            pieces.append(value[:, done - first :])
            done = end
        return torch.cat(pieces, 1)

    contacts = [part.motion.contacts for part in parts if part.motion.contacts is not None]
    motion = Motion(laid([p.motion.rotations for p in parts]), laid([p.motion.joints for p in parts]), laid(contacts))
    return Restored(motion, laid([p.rotation_std for p in parts]), laid([p.joint_std for p in parts]))
