"""Motions of any length given what is seen of them, by windows that overlap: all at once, or one after the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

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

    What is expected is found for all windows at once, and mixed where they overlap. Draws of two windows would not fit: each goes on from
    the one before. So do, last of all, windows that see no joint at all, or none's place in the world: from windows beside them, on both
    sides if there are, so that no window has to reach what it sees from a place that was found without it. Where the two meet their paths
    are brought together.
    """
    num_frames = motion.joints.shape[1]
    motion, noise = padded(motion, noise, denoiser.num_frames)
    starts = window_starts(motion.joints.shape[1], denoiser.num_frames)
    sighted = _sighted(noise)
    sees = torch.stack([sighted[:, first : first + denoiser.num_frames].any(1) for first in starts], 1)
    chained = (~sees.all(1) | bool(num_steps)) & (len(starts) > 1)
    if not chained.any():
        return _all_at_once(denoiser, motion, noise, starts, num_frames, num_steps, generator)
    parts, rows = [], []
    if not chained.all():
        parts.append(_all_at_once(denoiser, motion[~chained], noise[~chained], starts, num_frames, num_steps, generator))
        rows.append((~chained).nonzero()[:, 0])
    for which in torch.unique(sees[chained], dim=0):
        alike = chained & (sees == which).all(1)
        chain = _Chain(denoiser, motion[alike], noise[alike], bones[alike], starts, num_steps, generator)
        parts.append(chain.restored(which.tolist()))
        rows.append(alike.nonzero()[:, 0])
    order = torch.cat(rows).argsort()
    return _of_tensors(*(torch.cat(values)[order] for values in zip(*map(_tensors, parts), strict=True)))


def _sighted(noise: Noise) -> Tensor:
    """(B, T) bool, frames that see a joint, and its place in the world."""
    return noise.joints.isfinite().any(-1) & noise.path.isfinite()


def _tensors(found: Restored) -> tuple[Tensor, ...]:
    assert found.motion.contacts is not None
    return found.motion.rotations, found.motion.joints, found.motion.contacts, found.rotation_std, found.joint_std


def _of_tensors(rotations: Tensor, joints: Tensor, contacts: Tensor, rotation_std: Tensor, joint_std: Tensor) -> Restored:
    return Restored(Motion(rotations, joints, contacts), rotation_std, joint_std)


def _all_at_once(
    denoiser: Denoiser, motion: Motion, noise: Noise, starts: list[int], num_frames: int, num_steps: int, generator: torch.Generator | None
) -> Restored:
    """Windows mixed where they overlap: (B, num_frames, ...); nothing of use where there is none."""
    found = restore_windows(denoiser, *cut(motion, noise, starts, denoiser.num_frames), num_steps, generator)
    rotations, *others = _tensors(found)
    return _of_tensors(joined_rotations(rotations, starts, num_frames), *(joined(value, starts, num_frames) for value in others))


class _Chain:
    """Motions (B, T, ...) of several windows, of which the same ones see something, while they are found."""

    def __init__(
        self,
        denoiser: Denoiser,
        motion: Motion,
        noise: Noise,
        bones: Tensor,
        starts: list[int],
        num_steps: int,
        generator: torch.Generator | None,
    ) -> None:
        self._denoiser, self._motion, self._noise, self._bones, self._starts = denoiser, motion, noise, bones, starts
        self._num_steps, self._generator = num_steps, generator
        self._sighted = _sighted(noise)
        self._found: Restored | None = None
        self._done = torch.zeros_like(self._sighted[0])  # (T,) frames that were found

    def restored(self, sees: list[bool]) -> Restored:
        """All frames, given which windows see something."""
        last = len(sees) - 1
        first = [i for i in range(last + 1) if sees[i]] or [0]  # where nothing is seen at all any may be the first
        if self._num_steps:
            for i in first:
                self._find(i, self._before(i))
        else:
            self._found = _all_at_once(
                self._denoiser, self._motion, self._noise, [self._starts[i] for i in first], len(self._done), 0, self._generator
            )
            for i in first:
                self._done[self._frames(i)] = True
        left = [i for i in range(last + 1) if i not in first]
        while left:
            for i in [i for i in left if {i - 1, i + 1} - {-1, *left, last + 1}]:
                left.remove(i)
                behind, ahead = (0 <= side <= last and side not in left for side in (i - 1, i + 1))
                if behind and ahead:
                    self._draw_together(i)
                    self._find(i, self._apart())
                else:
                    self._find(i, self._of_window(i - 1 if behind else i + 1, i), self._done[self._frames(i)].clone())
        assert self._found is not None
        return self._found

    def _frames(self, i: int) -> slice:
        return slice(self._starts[i], self._starts[i] + self._denoiser.num_frames)

    def _before(self, i: int) -> Tensor:
        """(B, L) bool, what a window is told of the frames before it: not of the last ones that nobody saw, on the way to what it sees."""
        sighted, done = self._sighted[:, self._frames(i)], self._done[self._frames(i)]
        frames = torch.arange(len(done), device=done.device)
        last = torch.where(sighted & done, frames, -1).amax(1, keepdim=True)
        seen = torch.where(sighted & ~done, frames, 2 * len(done)).amin(1, keepdim=True)
        return (frames <= last) | (frames < seen - len(done) // 2)

    def _apart(self) -> Tensor:
        """(L,) bool, what a window is told of what was found on both sides of it: these need not meet, so not of its middle."""
        length = self._denoiser.num_frames
        frames = torch.arange(length, device=self._done.device)
        return (frames < length // 4) | (frames >= length - length // 4)

    def _draw_together(self, i: int) -> None:
        """Paths over the floor that were found from both sides of a window and need not meet go towards each other, all the way from where
        people were seen: else they would run in its middle. What is left of it is a mean step for each of its frames."""
        assert self._found is not None
        before, behind = self._starts[i + 1] - 1, self._starts[i - 1] + self._denoiser.num_frames
        if behind - before > self._denoiser.num_frames // 4:
            return  # windows that overlap by so much are mixed
        frames = torch.arange(len(self._done), device=self._done.device)
        seen = torch.where(self._sighted & (frames <= before), frames, -1).amax(1)
        again = torch.where(self._sighted & (frames >= behind), frames, len(frames)).amin(1)
        motion, rows = self._found.motion, torch.arange(len(seen), device=seen.device)
        path = motion.joints[:, :, 0, :2]
        whole, middle = (again - seen)[:, None], behind - before
        step = (path[rows, again] - path[rows, seen]) / whole
        each = (path[:, behind] - path[:, before] - middle * step) / (whole - middle)
        number = torch.where(frames <= before, frames - seen[:, None], frames - again[:, None])
        number = torch.where((frames > seen[:, None]) & (frames < again[:, None]), number, 0)
        shift = pad(number[..., None] * each[:, None], (0, 1))
        self._found = self._found._replace(motion=Motion(motion.rotations, motion.joints + shift[:, :, None], motion.contacts))

    def _of_window(self, other: int, i: int) -> Tensor:
        """(L,) bool, frames of a window that are another one's, too."""
        shared = torch.zeros_like(self._done)
        shared[self._frames(other)] = True
        return shared[self._frames(i)]

    def _find(self, i: int, told: Tensor, kept: Tensor | None = None) -> None:
        """Finds a window, told exactly what was found of some of its frames, (B, L) bool or (L,).

        Args:
            kept: frames that stay as they were found; those that it is told of by default.
        """
        at = self._frames(i)
        window, noise = self._motion[:, at], self._noise[:, at]
        told = (told & self._done[at]).expand(noise.path.shape)
        kept = told if kept is None else kept.expand(noise.path.shape)
        if self._found is not None and told.any():
            window, noise = _told(told, on_skeleton(self._found.frames(at), self._bones), window, noise)
        found = restore_windows(self._denoiser, window, noise, self._num_steps, self._generator)
        whole = self._found or _of_tensors(*(value.new_zeros(len(value), len(self._done), *value.shape[2:]) for value in _tensors(found)))
        self._found = _of_tensors(*(_put(new, old, at, kept) for new, old in zip(_tensors(found), _tensors(whole), strict=True)))
        self._done[at] = True


def _of_frames(where: Tensor, value: Tensor) -> Tensor:
    """Marks (B, T) for values (B, T, ...)."""
    return where.view(*where.shape, *[1] * (value.dim() - 2))


def _told(told: Tensor, found: Motion, window: Motion, noise: Noise) -> tuple[Motion, Noise]:
    """Windows that see exactly what was found of some frames (B, T) bool."""
    rotations, joints = (
        torch.where(_of_frames(told, old), new, old) for new, old in ((found.rotations, window.rotations), (found.joints, window.joints))
    )
    of_rotations, of_joints, path = (value.masked_fill(_of_frames(told, value), 0) for value in (noise.rotations, noise.joints, noise.path))
    return Motion(rotations, joints, window.contacts), Noise(of_rotations, of_joints, noise.contacts, path)


def _put(new: Tensor, old: Tensor, at: slice, kept: Tensor) -> Tensor:
    """Values (B, T, ...) with others (B, L, ...) of some frames, but of those (B, L) bool that are kept."""
    whole = old.clone()
    whole[:, at] = torch.where(_of_frames(kept, new), old[:, at], new)
    return whole
