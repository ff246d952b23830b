"""Windows of clips, gathered by index from a few long arrays, mirrored and given other skeletons as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.motion import MotionWindows, joints_at_rest, select
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import MIRROR, PARENTS
from pose_priors.datamodules.clips import Clip
from pose_priors.datamodules.loader import EpochLoader
from pose_priors.datamodules.motion_variation import CARRIED, at_times, with_other_axes, with_upper_bodies

CONFIGURED = {"mirror", "vary_skeleton", "vary_axes", "vary_speed", "mix_bodies"}
"""Arguments of `MotionLoader` that data are configured by."""
_MOST = 2.0  # standard deviations by which a bone may be longer or shorter
# One factor for each bone that varies, the same on both sides. Legs keep their lengths: with others, planted feet would slide.
_VARIED = [joint for joint in CARRIED if joint <= MIRROR[joint]]


class WindowArrays:
    """All frames of some clips in one array each, and where windows of a fixed length start in them.

    Args:
        clips: whose frames are copied; none shorter than a window.
        num_frames: T, of a window.
        stride: frames from one window of a clip to the next.
    """

    def __init__(self, clips: Sequence[Clip], num_frames: int, stride: int = 1) -> None:
        self.num_frames = num_frames
        self.pose, self.pelvis, self.contacts = (torch.cat([getattr(clip, n) for clip in clips]) for n in ("pose", "pelvis", "contacts"))
        self.rest = torch.stack([clip.rest for clip in clips])
        lengths = np.array([len(clip) for clip in clips])
        counts = (lengths - num_frames) // stride + 1
        within = np.concatenate([np.arange(count) * stride for count in counts])
        self._clip_of = torch.from_numpy(np.repeat(np.arange(len(clips)), counts))
        self._starts = torch.from_numpy(within + np.repeat(np.cumsum(lengths) - lengths, counts))
        self._first, self._last = (
            torch.from_numpy(np.repeat(ends, counts)) for ends in (np.cumsum(lengths) - lengths, np.cumsum(lengths) - 1)
        )
        # the clips lie in these arrays from now on, so that nothing is held twice
        parts = (value.split(lengths.tolist()) for value in (self.pose, self.pelvis, self.contacts))
        self.clips = [replace(c, pose=a, pelvis=b, contacts=d) for c, a, b, d in zip(clips, *parts, strict=True)]

    def __len__(self) -> int:
        return len(self._starts)

    def gather(self, rows: np.ndarray) -> MotionWindows:
        """The windows of some numbers (B,)."""
        index = torch.from_numpy(rows)
        frames = self._starts[index, None] + torch.arange(self.num_frames)
        return MotionWindows(self.pose[frames], self.pelvis[frames], self.rest[self._clip_of[index]], self.contacts[frames])

    def played(self, rows: np.ndarray, speeds: Tensor) -> MotionWindows:
        """Windows about the middles of those of some numbers (B,), of the clips played at some speeds (B,), at most so fast that the clip
        lasts for a window."""
        index, length = torch.from_numpy(rows), self.num_frames - 1
        first, last = self._first[index], self._last[index]
        speeds = torch.minimum(speeds.double(), (last - first) / length)
        start = self._starts[index] + length * (1 - speeds) / 2
        start = start.clamp(first.double(), last - length * speeds)
        at = start[:, None] + speeds[:, None] * torch.arange(self.num_frames)
        begin = (at[:, 0].floor().long() - 1).clamp_min(first)
        reach = int((at[:, -1].ceil().long() + 1 - begin).max())
        frames = (begin[:, None] + torch.arange(reach + 1)).minimum(last[:, None])
        motion = at_times(self.pose[frames], self.pelvis[frames], self.contacts[frames], at - begin[:, None])
        return MotionWindows(motion[0], motion[1], self.rest[self._clip_of[index]], motion[2])


class Drawn(NamedTuple):
    """What varies in N windows; None where nothing does.

    Attributes:
        mirrored: (N,) bool.
        factors: (N, 9) of the bones that vary.
        axes: of the draws of turned axes, which are made for a batch at a time: those of a pass would take more room than the clips.
        speeds: (N,) at which clips are played.
        partners: (N,) the numbers of the windows whose trunks, arms and heads they get.
    """

    mirrored: Tensor | None
    factors: Tensor | None
    axes: int | None
    speeds: Tensor | None
    partners: Tensor | None


class MotionLoader(EpochLoader):
    """An `EpochLoader` of `MotionWindows`.

    Args:
        windows: the N windows to draw from.
        batch_size: windows a batch and rank.
        mirror: replaces each window by its mirror image with probability one half.
        vary_skeleton: standard deviation of the factors by which bones of trunk, arms and head are longer or shorter; 0 keeps them.
        vary_axes: radians, the most of the standard deviation of each component by which the axes of joints are turned; 0 keeps them.
        vary_speed: factor by which clips are played slower or faster at most; 1 keeps their speed.
        mix_bodies: share of the windows that get trunk, arms and head of another.
        options: those of `EpochLoader`.
    Raises:
        ValueError: if there are fewer windows than ranks.
    """

    def __init__(
        self,
        windows: WindowArrays,
        batch_size: int,
        *,
        mirror: bool = False,
        vary_skeleton: float = 0.0,
        vary_axes: float = 0.0,
        vary_speed: float = 1.0,
        mix_bodies: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(len(windows), batch_size, **options)
        self.windows, self.mirror = windows, mirror
        self.vary_skeleton, self.vary_axes, self.vary_speed = vary_skeleton, vary_axes, vary_speed
        self.mix_bodies = mix_bodies

    def draw(self, generator: np.random.Generator) -> Drawn:
        """What varies in a pass, for all windows."""
        size = len(self.windows)
        coins = torch.from_numpy(generator.integers(0, 2, size, dtype=bool)) if self.mirror else None
        factors = axes = speeds = partners = None
        if self.vary_skeleton:
            normal = generator.standard_normal((size, len(_VARIED)), dtype=np.float32)
            factors = torch.from_numpy(1 + self.vary_skeleton * normal.clip(-_MOST, _MOST))
        if self.vary_axes:
            axes = int(generator.integers(2**63))
        if self.vary_speed > 1:
            speeds = torch.from_numpy(self.vary_speed ** generator.uniform(-1, 1, size))
        if self.mix_bodies:
            own = generator.random(size) >= self.mix_bodies
            partners = torch.from_numpy(np.where(own, np.arange(size), generator.permutation(size)))
        return Drawn(coins, factors, axes, speeds, partners)

    def gather(self, rows: np.ndarray, drawn: Drawn) -> MotionWindows:
        """The windows of some numbers (B,)."""
        index = torch.from_numpy(rows)
        coins, factors, speeds, partners = (
            None if value is None else value[index] for value in (drawn.mirrored, drawn.factors, drawn.speeds, drawn.partners)
        )

        def own(rows: np.ndarray) -> MotionWindows:
            return self.windows.gather(rows) if speeds is None else self.windows.played(rows, speeds)

        windows = own(rows)
        if partners is not None:
            windows = with_upper_bodies(windows, own(partners.numpy()))
        if factors is not None:
            windows = replace(windows, rest=with_bone_lengths(windows.rest, factors))
        if drawn.axes is not None:
            windows = with_other_axes(windows, *self._turns(rows, drawn.axes))
        return windows if coins is None else select(windows, windows.mirrored(), coins)

    def _turns(self, rows: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
        """For windows of some numbers (B,) the turns of axes (B, 22, 3) and which bodies are carried, (B,) bool."""
        turns, carried = np.zeros((len(rows), NUM_JOINTS, 3), dtype=np.float32), np.zeros(len(rows), dtype=bool)
        for place, row in enumerate(rows.tolist()):
            generator = np.random.default_rng([seed, row])
            size = self.vary_axes * generator.random()
            turns[place, 1:] = size * generator.standard_normal((NUM_JOINTS - 1, 3)).clip(-_MOST, _MOST)
            carried[place] = generator.random() < 0.5
        return torch.from_numpy(turns), torch.from_numpy(carried)


def with_bone_lengths(rest: Tensor, factors: Tensor) -> Tensor:
    """Rest skeletons (B, 22, 3) with the bones of trunk, arms and head longer by factors (B, 9), left and right by the same."""
    longer = rest.new_ones(len(rest), NUM_JOINTS, 1)
    longer[:, _VARIED] = longer[:, [MIRROR[joint] for joint in _VARIED]] = factors[..., None].to(rest)
    bones = rest[:, 1:] - rest[:, PARENTS[1:NUM_JOINTS]]
    return joints_at_rest(rest[:, 0], bones * longer[:, 1:])
