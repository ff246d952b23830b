"""Frame rates of exports: another one than the clip's, and what the SMPL-X Blender add-on makes of a rate.

The add-on takes the whole part of the rate, refuses what is below its target (30 by default), and plays every int(rate / target)-th frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pose_priors.body import conversions
from pose_priors.refinement.export.people import AnimatedSkeleton, Exported

BLENDER_TARGET = 30
"""Frames a second that the add-on plays at unless it is told otherwise."""
_NTSC = 0.0015  # 30000/1001 is short of 30 by a thousandth


def whole_rate(fps: float) -> float:
    """The whole number that a rate stands for (29.97 is broadcast for 30), else the rate itself."""
    return float(round(fps)) if abs(round(fps) / fps - 1) < _NTSC else fps


def resampled(exported: Exported, fps: float) -> Exported:
    """The clip at another rate. Frame n is at n / fps seconds, as it was at the clip's own rate, so people stay in step; rotations go the
    shortest way between the frames around, places straight. A frame is `visible` if both of these are,
    and its joints are as unsure as on the less sure of the two."""
    return replace(exported, fps=fps, people=tuple(_resampled(person, exported.fps, fps) for person in exported.people))


def _resampled(person: AnimatedSkeleton, old: float, new: float) -> AnimatedSkeleton:
    first, last = int(person.frames[0]), int(person.frames[-1])
    # a life of one frame keeps it, wherever the new frames fall
    begin = int(np.ceil(first * new / old - 1e-9))
    frames = np.arange(begin, max(begin, int(np.floor(last * new / old + 1e-9))) + 1)
    at = np.clip(frames * old / new - first, 0, last - first)
    below = np.minimum(np.floor(at + 1e-9).astype(int), max(last - first - 1, 0))
    above = np.minimum(below + 1, last - first)
    share = np.clip(at - below, 0, 1)
    rotmat = torch.from_numpy(person.rotmat)
    turn = conversions.rotmat_to_rotvec(rotmat[below].mT @ rotmat[above]) * torch.from_numpy(share)[:, None, None]
    return replace(
        person,
        frames=frames,
        visible=np.where(share < 1e-6, person.visible[below], person.visible[below] & person.visible[above]),
        rotmat=(rotmat[below] @ conversions.rotvec_to_rotmat(turn)).numpy(),
        joint_sigma_mm=None if (sigma := person.joint_sigma_mm) is None else np.maximum(sigma[below], sigma[above]),
        pelvis=person.pelvis[below] + share[:, None] * (person.pelvis[above] - person.pelvis[below]),
    )
