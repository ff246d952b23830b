"""Lines, curves and places of a recording."""

from __future__ import annotations

import numpy as np

from pose_priors.body.layout import layout
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.show.recording_data import RecordingData
from pose_priors.refinement.show.review_scene import ReviewScene

_NUM_BODY = 22
_HEAD, _OVERHEAD_M = 15, 0.3
_GRID_M, _MARGIN_M = 1.0, 1.0
_BODY_M, _ASIDE, _ABOVE = 1.0, 0.9, 0.7
_HALF_VIEW = np.array([0.53, 0.45])  # tangents of half the eye's angle of view to the side and up, less a margin


def joint_names(num_joints: int) -> list[str]:
    """Of a body of 22, 24 or 55 joints."""
    return [JOINT_NAMES[place] if place >= 0 else "hand" for place in layout(num_joints).smplx_index]


def bones(joints: np.ndarray) -> np.ndarray:
    """(n, J - 1, 2, 3) from each joint's parent to the joint, of joints (n, J, 3)."""
    return np.stack([joints[:, list(layout(joints.shape[1]).parents[1:])], joints[:, 1:]], 2)


def acceleration(motion: Track, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """How a person shakes: frames (m,) and the mean over the body's joints of their acceleration in m/s^2 (m,), where a frame has both its
    neighbours."""
    frames, joints = motion.frames, motion.joints[:, :_NUM_BODY]
    inner = np.flatnonzero(frames[2:] - frames[:-2] == 2) + 1
    change = joints[inner - 1] - 2 * joints[inner] + joints[inner + 1]
    return frames[inner], np.linalg.norm(change, axis=-1).mean(1) * fps**2


def ends_of_runs(frames: np.ndarray, last: int) -> np.ndarray:
    """The frames right after the ends of runs of consecutive frames, up to the last frame of the clip: where what was shown must go."""
    after = np.setdiff1d(frames + 1, frames)
    return after[after <= last]


def floor_grid(scene: ReviewScene) -> np.ndarray:
    """(M, 2, 3) ends of lines one metre apart on the floor, under all people and a metre round them."""
    normal, offset = _unit_plane(scene)
    across = np.linalg.svd(normal[None])[2][1]
    axes = np.stack([across, np.cross(normal, across)])
    pelvis = np.concatenate([person.after.joints[:, 0] for person in scene.people]) @ axes.T
    low, high = np.floor(pelvis.min(0) - _MARGIN_M), np.ceil(pelvis.max(0) + _MARGIN_M)
    lines = []
    for axis in (0, 1):
        for at in np.arange(low[axis], high[axis] + _GRID_M / 2, _GRID_M):
            ends = np.array([low, high])
            ends[:, axis] = at
            lines.append(ends @ axes - offset * normal)
    return np.array(lines)


def viewpoint(data: RecordingData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the eye is, what it looks at, and up: from the side and above, as near as shows all people and the camera's whole path."""
    up, _ = _unit_plane(data.scene)
    pelvis = np.concatenate([person.after.joints[:, 0] for person in data.scene.people])
    cameras = data.cameras.T_world_camera[:, :3, 3]
    shown = np.concatenate([pelvis - _BODY_M * up, pelvis + _BODY_M * up, cameras])
    away = cameras.mean(0) - pelvis.mean(0)
    level = away - (away @ up) * up
    length = np.linalg.norm(level)
    # a camera that hangs above shows no side: any is as good
    level = level / length if length > 1e-6 else np.linalg.svd(up[None])[2][1]
    direction = level + _ASIDE * np.cross(up, level) + _ABOVE * up
    direction /= np.linalg.norm(direction)
    right = np.cross(up, direction)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(direction, right), direction])
    seen = shown @ axes.T
    middle = (seen.min(0) + seen.max(0)) / 2
    reach = (np.abs(seen[:, :2] - middle[:2]) / _HALF_VIEW + seen[:, 2:] - middle[2]).max()
    return middle @ axes + reach * direction, middle @ axes, up


def _unit_plane(scene: ReviewScene) -> tuple[np.ndarray, float]:
    """Unit normal and offset of the floor."""
    plane = np.asarray(scene.ground_plane, float)
    size = np.linalg.norm(plane[:3])
    if not size:
        raise UserError("the ground plane of the refinement has no direction; refine the sequence again")
    return plane[:3] / size, float(plane[3] / size)


def above(joints: np.ndarray, scene: ReviewScene) -> np.ndarray:
    """(n, 3) float32 places above the heads of joints (n, J, 3), for words."""
    return (joints[:, _HEAD] + _OVERHEAD_M * _unit_plane(scene)[0]).astype(np.float32)
