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
    where a window sees no joint at all, or none's place in the world: such windows, and what is behind them until people are seen again,
    are given what the one before has found.
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
    sighted = _sighted(noise)
    blind = ~torch.stack([sighted[:, first : first + length].any(1) for first in starts]).all(0)
    return (blind | drawn) & (len(starts) > 1)


def _sighted(noise: Noise) -> Tensor:
    """(B, T) bool, frames that see a joint, and its place in the world."""
    return noise.joints.isfinite().any(-1) & noise.path.isfinite()


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
    return _mixed(restore_windows(denoiser, *cut(motion, noise, starts, denoiser.num_frames), num_steps, generator), starts, num_frames)


def _mixed(found: Restored, starts: list[int], num_frames: int) -> Restored:
    """Windows (W B, ...) as motions (B, num_frames, ...)."""
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
    """A window goes on from the one before where it is blind, and behind that until both see all frames that they share."""
    length, done = denoiser.num_frames, 0
    sighted = _sighted(noise)
    going_on = torch.zeros_like(sighted[:, 0])
    parts: list[Restored] = []
    for first in starts:
        at, known = slice(first, first + length), max(done - first, 0)
        going_on = ~sighted[:, at].any(1) | (going_on & ~sighted[:, first : first + known].all(1)) | bool(num_steps)
        window, told = motion[:, at], noise[:, at]
        before = parts[-1].frames(slice(length - known, length)) if known else None
        if before is not None:
            window, told = _told(going_on, before.motion, window, told)
        found = restore_windows(denoiser, window, told, num_steps, generator)
        # what is expected where little is seen is no body; where the next window is told that such a thing was seen exactly, bodies jump
        found = found._replace(motion=on_skeleton(found, bones))
        parts.append(found if before is None else _kept(going_on, before, found))
        done = first + length
    rotations, joints, contacts = (torch.cat([getattr(p.motion, name) for p in parts]) for name in ("rotations", "joints", "contacts"))
    whole = Restored(Motion(rotations, joints, contacts), *(torch.cat(values) for values in zip(*(p[1:] for p in parts), strict=True)))
    return _mixed(whole, starts, motion.joints.shape[1])


def _first(rows: Tensor, before: Tensor | float, value: Tensor, known: int) -> Tensor:
    """Values (B, T, ...) whose first frames are others in some of the rows (B,) bool."""
    where = rows.view(-1, *[1] * (value.dim() - 1))
    return torch.cat([torch.where(where, before, value[:, :known]), value[:, known:]], 1)


def _told(rows: Tensor, before: Motion, window: Motion, noise: Noise) -> tuple[Motion, Noise]:
    """Windows of which some rows see exactly what was found of their first frames."""
    known = before.joints.shape[1]
    contacts = window.contacts
    if contacts is not None and before.contacts is not None:
        contacts = _first(rows, before.contacts, contacts, known)
    rotation_noise, joint_noise, path_noise = (_first(rows, 0.0, value, known) for value in (noise.rotations, noise.joints, noise.path))
    rotations, joints = (_first(rows, getattr(before, name), getattr(window, name), known) for name in ("rotations", "joints"))
    return Motion(rotations, joints, contacts), Noise(rotation_noise, joint_noise, noise.contacts, path_noise)


def _kept(rows: Tensor, before: Restored, found: Restored) -> Restored:
    """What was found of windows, of whose first frames some rows keep what was there before."""
    known = before.motion.joints.shape[1]
    assert before.motion.contacts is not None
    assert found.motion.contacts is not None
    motion = Motion(
        _first(rows, before.motion.rotations, found.motion.rotations, known),
        _first(rows, before.motion.joints, found.motion.joints, known),
        _first(rows, before.motion.contacts, found.motion.contacts, known),
    )
    return Restored(motion, *(_first(rows, one, other, known) for one, other in zip(before[1:], found[1:], strict=True)))
