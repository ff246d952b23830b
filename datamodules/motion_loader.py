"""Windows of clips, gathered by index from a few long arrays, mirrored and given other skeletons as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.motion import MotionWindows, select
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import JOINT_NAMES, MIRROR, PARENTS
from pose_priors.datamodules.clips import Clip
from pose_priors.datamodules.loader import EpochLoader

_MOST = 2.0  # standard deviations by which a bone may be longer or shorter
_LEG = ("hip", "knee", "ankle", "foot")
# One factor for each bone that varies, the same on both sides. Legs keep their lengths: with others, planted feet would slide.
_VARIED = [j for j in range(1, NUM_JOINTS) if not JOINT_NAMES[j].endswith(_LEG) and j <= MIRROR[j]]


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


class MotionLoader(EpochLoader):
    """An `EpochLoader` of `MotionWindows`.

    Args:
        windows: the N windows to draw from.
        batch_size: windows a batch and rank.
        mirror: replaces each window by its mirror image with probability one half.
        vary_skeleton: standard deviation of the factors by which bones of trunk, arms and head are longer or shorter; 0 keeps them.
        options: those of `EpochLoader`.
    Raises:
        ValueError: if there are fewer windows than ranks.
    """

    def __init__(self, windows: WindowArrays, batch_size: int, *, mirror: bool = False, vary_skeleton: float = 0.0, **options: Any) -> None:
        super().__init__(len(windows), batch_size, **options)
        self.windows, self.mirror, self.vary_skeleton = windows, mirror, vary_skeleton

    def draw(self, generator: np.random.Generator) -> tuple[Tensor | None, Tensor | None]:
        """Which windows are mirrored, (N,) bool, and the factors of the bones that vary, (N, number of them)."""
        coins = torch.from_numpy(generator.integers(0, 2, len(self.windows), dtype=bool)) if self.mirror else None
        if not self.vary_skeleton:
            return coins, None
        normal = generator.standard_normal((len(self.windows), len(_VARIED)), dtype=np.float32)
        return coins, torch.from_numpy(1 + self.vary_skeleton * normal.clip(-_MOST, _MOST))

    def gather(self, rows: np.ndarray, drawn: tuple[Tensor | None, Tensor | None]) -> MotionWindows:
        """The windows of some numbers (B,)."""
        windows = self.windows.gather(rows)
        coins, factors = (None if value is None else value[torch.from_numpy(rows)] for value in drawn)
        if factors is not None:
            windows = replace(windows, rest=with_bone_lengths(windows.rest, factors))
        return windows if coins is None else select(windows, windows.mirrored(), coins)


def with_bone_lengths(rest: Tensor, factors: Tensor) -> Tensor:
    """Rest skeletons (B, 22, 3) with the bones of trunk, arms and head longer by factors (B, 9), left and right by the same."""
    longer = rest.new_ones(len(rest), NUM_JOINTS, 1)
    longer[:, _VARIED] = longer[:, [MIRROR[joint] for joint in _VARIED]] = factors[..., None].to(rest)
    joints = [rest[:, 0]]
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        joints.append(joints[parent] + (rest[:, joint] - rest[:, parent]) * longer[:, joint])
    return torch.stack(joints, 1)
