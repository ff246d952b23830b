"""A person who walks, as files of motions have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.body.skeleton import NUM_JOINTS

WALKER_FPS = 60.0


def walker(seconds: float = 3.0, fps: float = WALKER_FPS, speed: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors (T, 55, 3) and places of the pelvis (T, 3), z up: somebody who walks along x over a floor at z = 0, each foot that
    carries at rest. Legs are two bones of the built-in skeleton, solved in closed form."""
    from scipy.spatial.transform import Rotation

    from pose_priors.body.builtin import rest_joints
    from pose_priors.datamodules.clips import SMPL_STATURE

    rest = rest_joints(SMPL_STATURE).numpy()
    thigh, shank = rest[1, 1] - rest[4, 1], rest[4, 1] - rest[7, 1]
    ankle_height = 0.039 * SMPL_STATURE
    time = np.arange(round(seconds * fps)) / fps
    period = 1.0
    pelvis = np.stack([speed * time, np.zeros_like(time), np.full_like(time, 0.93 * (thigh + shank) + ankle_height - rest[1, 1])], 1)
    pose = np.zeros((len(time), NUM_JOINTS, 3))
    # facing x with z up: the body's own z is forward, its y is up
    pose[:, 0] = Rotation.from_matrix(np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])).as_rotvec()
    for side, (hip, knee, ankle) in enumerate(((1, 4, 7), (2, 5, 8))):
        phase = (time / period + side / 2) % 1
        stride = speed * period
        start = np.floor(time / period + side / 2)
        planted = (start - side / 2) * stride + 0.3 * stride  # where the foot stands in the first six tenths of a cycle
        swing = np.clip((phase - 0.6) / 0.4, 0, 1)
        ease = swing**3 * (10 - 15 * swing + 6 * swing**2)
        forward = planted + ease * stride - pelvis[:, 0]
        lift = 0.08 * np.sin(np.pi * swing) ** 2
        down = pelvis[:, 2] + rest[1, 1] - ankle_height - lift
        reach = np.minimum(np.hypot(forward, down), 0.999 * (thigh + shank))
        bend = np.pi - np.arccos(np.clip((thigh**2 + shank**2 - reach**2) / (2 * thigh * shank), -1, 1))
        toward = np.arctan2(forward, down)
        open_ = np.arccos(np.clip((thigh**2 + reach**2 - shank**2) / (2 * thigh * reach), -1, 1))
        pose[:, hip, 0] = -(toward + open_)
        pose[:, knee, 0] = bend
        pose[:, ankle, 0] = -(pose[:, hip, 0] + pose[:, knee, 0])
    for joint, sign in ((16, 1), (17, -1)):
        pose[:, joint, 2] = -sign * 1.2
        pose[:, joint, 0] = 0.3 * np.sin(2 * np.pi * time / period) * sign
    return pose, pelvis


def write_motion(path: Path, pose: np.ndarray, trans: np.ndarray, layout: str = "smplh", fps: float | None = WALKER_FPS) -> Path:
    """A file of one of these layouts: `smpl`, `smplh`, `smplx`, `parts`, `joints`, `array`."""
    num = len(pose)
    rate = {} if fps is None else {"mocap_framerate": np.float64(fps)}
    extra = {"betas": np.linspace(-1, 1, 16), "gender": np.array("neutral"), "dmpls": np.arange(num * 8.0).reshape(num, 8)}
    smplh = pose[:, [*range(22), *range(25, 55)]]
    if layout == "array":
        np.save(path, pose[:, :24].reshape(num, -1).astype(np.float32))
        return path
    arrays = {
        "smpl": {"poses": pose[:, :24].reshape(num, -1).astype(np.float32), "trans": trans.astype(np.float32)},
        "smplh": {"poses": smplh.reshape(num, -1), "trans": trans},
        "smplx": {
            "poses": pose.reshape(num, -1),
            "root_orient": pose[:, 0],
            "pose_body": pose[:, 1:22].reshape(num, -1),
            "trans": trans,
        },
        "parts": {"global_orient": pose[:, 0], "body_pose": pose[:, 1:24].reshape(num, -1), "transl": trans},
        "joints": {"poses": smplh, "trans": trans},
    }[layout]
    np.savez(path, **arrays, **rate, **extra)
    return path
