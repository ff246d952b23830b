"""How tall a person is and where their floor lies, by how the soles meet it: files say neither without a body model."""

from __future__ import annotations

import numpy as np

from pose_priors.body.builtin import rest_joints
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.faults.support import velocities, weights_of
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion

_STATURES = np.linspace(0.85, 1.25, 81) * SMPL_STATURE
# How far people, floors and strides are from the usual one, and what the worst of each may count for: a clip may float, and a path may be
# too short, but hardly anybody is half as tall again.
_SPREAD = 0.08
_FLOOR_M, _MOST_FLOOR = 0.03, 6.0
_STRIDE, _MOST_STRIDE = 0.06, 4.0
_CLEAR_SPEED = 0.25  # metres a second that a sole moves beneath the pelvis, for its stride to be told
_CLEAR_FRAMES = 10
_FLOOR_SHARE = 0.3  # of the frames lie below: a clip may float for more than half of it, and hardly sinks
_KNOWN_ORIGIN_M = 0.5  # a file whose floor is farther from its origin has its origin elsewhere


def find_size(motion: Motion) -> tuple[float, float]:
    """Stature and floor, both in metres, of a motion whose skeleton has `SMPL_STATURE` and whose floor is not found yet.

    Three things are weighed: statures near the usual one, floors at the origin's height, strides along the floor that are as long as the
    path. Where the path says nothing, the usual stature is taken.
    """
    if not motion.has_path or len(motion) < 3:
        return SMPL_STATURE, float(np.median(motion.soles[..., 2].min(1)))
    sole = (motion.soles - motion.pelvis[:, None])[motion.known]
    pelvis = motion.pelvis[motion.known]
    weight = weights_of(sole[..., 2])
    reach, height = -sole[..., 2].min(1), pelvis[:, 2]
    back = (weight[..., None] * velocities(sole[..., :2], motion.fps)).sum(1)
    moved = velocities(pelvis[:, :2], motion.fps)
    clear = np.linalg.norm(back, axis=-1) > _CLEAR_SPEED
    scale = _STATURES / SMPL_STATURE
    floors = np.quantile(height - scale[:, None] * reach, _FLOOR_SHARE, axis=1)
    cost = (np.log(scale) / _SPREAD) ** 2
    if np.abs(floors).min() < _KNOWN_ORIGIN_M:
        cost = cost + np.minimum((floors / _FLOOR_M) ** 2, _MOST_FLOOR)
    if clear.sum() >= _CLEAR_FRAMES:
        stride = float(np.median(-(moved * back).sum(1)[clear] / (back**2).sum(1)[clear]))
        cost = cost + np.minimum((np.log(max(stride, 1e-3) / scale) / _STRIDE) ** 2, _MOST_STRIDE)
    best = int(cost.argmin())
    return float(_STATURES[best]), float(floors[best])


def sized(quat: np.ndarray, points: np.ndarray, fps: float, known: np.ndarray, has_path: bool = True) -> Motion:
    """A motion on its floor, of the stature that fits it.

    Args:
        quat: (T, 22, 4), z up; points: (T, 3) metres of the pelvis; known, has_path: as of `Motion`.
    """
    rest = rest_joints(SMPL_STATURE)[:NUM_JOINTS].numpy()
    motion = Motion(quat, points, rest, SMPL_STATURE, fps, known, has_path)
    stature, floor = find_size(motion) if known.any() else (SMPL_STATURE, 0.0)
    rest = rest_joints(stature)[:NUM_JOINTS].numpy()
    return Motion(quat, points - np.array([0, 0, floor]), rest, stature, fps, known, has_path, floor)
