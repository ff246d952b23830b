"""Writes a person exactly as GEM-X lays them out, on SOMA's 77 joints; `change` may spoil the main file before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from upstream_truth import SIZE, Truth, make_truth

from pose_priors.datamodules.capture.soma77 import NAMES, PARENTS, REST

FRAMES, SOMA_SIZE = 5, 0.9


def walking() -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors (T, 77, 3) and hips (T, 3) in a world with y up, facing the camera."""
    turns = np.random.default_rng(1).normal(size=(1, 77, 3)) * 0.03 + np.zeros((FRAMES, 1, 1))
    swing = np.linspace(-0.4, 0.4, FRAMES)
    turns[:, 0] = [0.15, 2.4, -0.1]  # no half turn in either axes: that is its own inverse
    turns[:, NAMES.index("LeftLeg"), 0], turns[:, NAMES.index("RightLeg"), 0] = -swing, swing
    turns[:, NAMES.index("LeftShin"), 0] = turns[:, NAMES.index("RightShin"), 0] = 0.3
    turns[:, NAMES.index("LeftArm"), 2], turns[:, NAMES.index("RightArm"), 2] = -1.0, 1.0
    turns[:, NAMES.index("RightForeArm"), 1] = 0.5
    hips = np.stack([np.linspace(0, 0.3, FRAMES), np.full(FRAMES, 0.95), np.full(FRAMES, 4.5)], 1)
    return turns, hips


def joints_of(turns: np.ndarray, hips: np.ndarray, size: float) -> np.ndarray:
    """(T, 77, 3), each joint turned by those above it."""
    places = np.zeros_like(turns)
    for t in range(len(turns)):
        whole: list[Rotation] = []
        for joint, parent in enumerate(PARENTS):
            own = Rotation.from_rotvec(turns[t, joint])
            whole.append(own if parent < 0 else whole[parent] * own)
            places[t, joint] = hips[t] if parent < 0 else places[t, parent] + whole[parent].apply(size * (REST[joint] - REST[parent]))
    return places


def in_camera() -> tuple[np.ndarray, np.ndarray]:
    """`walking` in a camera that stands still."""
    turns, hips = walking()
    w2c = make_truth(still=True).w2c[0]
    to_camera = Rotation.from_matrix(w2c[:3, :3])
    turns[:, 0] = (to_camera * Rotation.from_rotvec(turns[:, 0])).as_rotvec()
    return turns, to_camera.apply(hips) + w2c[:3, 3]


def write_gem_x(folder: Path, _: Truth, change: Callable[[dict[str, Any]], None] = lambda _: None, *, up: str = "y") -> Path:
    """Somebody of its own, the same whatever is true of others."""
    turns, hips = walking()
    camera, camera_hips = in_camera()
    if up == "z":
        lift = Rotation.from_euler("x", 90, degrees=True)
        turns[:, 0], hips = (lift * Rotation.from_rotvec(turns[:, 0])).as_rotvec(), lift.apply(hips)

    def parameters(turns: np.ndarray, hips: np.ndarray) -> dict[str, torch.Tensor]:
        return {
            "body_pose": torch.from_numpy(turns[:, 1:].reshape(FRAMES, -1)).float(),
            "global_orient": torch.from_numpy(turns[:, 0].copy()).float(),
            "transl": torch.from_numpy(hips).float(),
            "identity_coeffs": torch.zeros(FRAMES, 45),
            "scale_params": torch.cat([torch.full((FRAMES, 1), SOMA_SIZE), torch.zeros(FRAMES, 67)], 1),
        }

    intrinsics = np.array([[500.0, 0, SIZE[0] / 2], [0, 500.0, SIZE[1] / 2], [0, 0, 1]])
    content: dict[str, Any] = {
        "body_params_incam": parameters(camera, camera_hips),
        "body_params_global": parameters(turns, hips),
        "K_fullimg": torch.from_numpy(np.tile(intrinsics, (FRAMES, 1, 1))).float(),
        "static_conf_logits": torch.zeros(FRAMES, 6),
    }
    change(content)
    joints = joints_of(camera, camera_hips, SOMA_SIZE)
    pixels = joints @ intrinsics.T
    points = np.concatenate([pixels[..., :2] / pixels[..., 2:], np.full((FRAMES, 77, 1), 0.9)], -1)
    (folder / "preprocess").mkdir(parents=True)
    torch.save(content, folder / "preprocess" / "hpe_results.pt")
    torch.save((torch.from_numpy(points), None), folder / "preprocess" / "vitpose.pt")
    boxes = np.concatenate([points[..., :2].min(1), points[..., :2].max(1)], 1)
    torch.save({"bbx_xyxy": torch.from_numpy(boxes), "bbx_xys": torch.zeros(FRAMES, 3)}, folder / "preprocess" / "bbx.pt")
    return folder
