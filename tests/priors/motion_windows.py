"""Windows of synthetic motions for tests of what learns from motions."""

from __future__ import annotations

from functools import lru_cache

import torch

from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.datamodules.clips import make_clip, y_up_to_z_up
from pose_priors.datamodules.synthetic import synthetic_motions


@lru_cache
def synthetic_windows(size: int, num_frames: int, seed: int = 0) -> MotionWindows:
    """Windows (size, num_frames) spread over a few short clips of walking, turning, reaching and sitting."""
    clips = [make_clip(m.kind, *y_up_to_z_up(m.pose, m.pelvis), m.stature) for m in synthetic_motions(6, 30.0, seed)]
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[torch.Tensor]] = {"pose": [], "pelvis": [], "rest": [], "contacts": []}
    for row in range(size):
        clip = clips[row % len(clips)]
        first = int(torch.randint(len(clip) - num_frames + 1, (), generator=generator))
        for name in ("pose", "pelvis", "contacts"):
            parts[name].append(getattr(clip, name)[first : first + num_frames])
        parts["rest"].append(clip.rest)
    return MotionWindows(**{name: torch.stack(values) for name, values in parts.items()})


def smooth_windows(size: int, num_frames: int, seed: int = 0) -> MotionWindows:
    """Double precision windows of bodies turned anyhow that move at random but smoothly, each joint by less than half a turn."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rest = rest_joints(1.7)[:NUM_JOINTS].double()
    return MotionWindows(
        0.7 * normal(size, 1, NUM_JOINTS, 3) + 0.05 * normal(size, num_frames, NUM_JOINTS, 3).cumsum(1),
        normal(size, 1, 3) + 0.05 * normal(size, num_frames, 3).cumsum(1),
        (rest - rest[:1]).expand(size, -1, -1),
        normal(size, num_frames, 9) > 0,
    )
