"""How surprising each joint of each frame of a motion is to a prior of whole clips."""

from __future__ import annotations

import numpy as np
import torch

from pose_priors.body.motion_state import make_states
from pose_priors.priors import MotionFlow
from pose_priors.refinement.motions.learned.sampled import sampled
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion

_BLOCK = 600  # frames at a time, so that long clips take no more memory than short ones


@torch.no_grad()
def surprisal(prior: MotionFlow, motion: Motion) -> np.ndarray:
    """Energies of a motion: (T, 22) nats, on each frame of its own rate those of the frames at 30 a second beside it, mixed.

    Long motions are looked at in blocks, with a window of the prior on both sides that is not counted. NaN where the file says no path, or
    has not two of these frames.
    """
    seen = sampled(motion)
    num, about = len(seen.at), prior.config.num_frames
    if not motion.has_path or num < 2:
        return np.full((len(motion), NUM_JOINTS), np.nan)
    states = make_states(seen.rotvec, seen.joints).to(prior.rest)
    parts = []
    for begin in range(0, num, _BLOCK):
        first, last = max(begin - about, 0), min(begin + _BLOCK + about, num)
        parts.append(prior.frame_energies(states[None, first:last])[0, begin - first : begin - first + _BLOCK].double().cpu().numpy())
    energies = np.concatenate(parts)
    return np.stack([np.interp(np.arange(len(motion)), seen.at, of_joint) for of_joint in energies.T], 1)
