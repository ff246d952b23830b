"""Results of stage 5 whose truth is known, to be exported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import write_model
from scipy.spatial.transform import Rotation

from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.refinement.export.__main__ import main
from pose_priors.refinement.result.write import RESULTS, person_file

FPS = 24.0
CLIP = 60
HEIGHT, PITCH = 1.6, np.deg2rad(20)
TOLERANCE_M = 1e-3
LIVES = {1: (0, CLIP), 2: (4, 50), 7: (9, CLIP)}


@dataclass
class Result:
    """A result of stage 5 and the truth of it: joints (T, J, 3) of each person, z up, seen from a camera above the origin that looks
    along y and down."""

    folder: Path
    joints: dict[int, np.ndarray]
    rest: dict[int, np.ndarray]
    model: Path


def make_result(folder: Path, num_joints: int) -> Result:
    rng = np.random.default_rng(num_joints)
    kind = "smplx" if num_joints == 55 else "smpl"
    model, rest, directions = write_model(folder / "models", kind)
    if num_joints == 22:
        rest, directions = rest[:22], directions[:22]
    down, forward = np.array([0, -np.sin(PITCH), -np.cos(PITCH)]), np.array([0, np.cos(PITCH), -np.sin(PITCH)])
    camera = np.stack([[1.0, 0, 0], down, forward])
    truth, rests = {}, {}
    for person, (begin, end) in LIVES.items():
        steps = np.arange(begin, end)
        betas = rng.normal(0, 1, 10)
        shaped = rests[person] = rest + directions @ betas
        # swings of all joints, the left elbow beyond a quarter turn about x, where Euler angles lock, the pelvis all the way around
        pose = rng.normal(0, 0.5, (1, num_joints, 3)) * np.sin(0.2 * steps[:, None, None] + rng.uniform(0, 6, (1, num_joints, 1)))
        pose[:, 18] = np.stack([np.linspace(0, np.pi, len(steps)), 0 * steps, 0 * steps], 1)
        pose[len(steps) // 2, 18] = [np.pi / 2, 0, 0]
        heading = Rotation.from_rotvec(0.15 * steps[:, None] * [0, 0, 1]) * Rotation.from_euler("x", np.pi / 2)
        pose[:, 0] = heading.as_rotvec()
        pelvis = np.stack([0.02 * steps, 3 + 0.01 * person * steps, 0.9 + 0.03 * np.sin(steps)], 1)
        posed, _ = forward_kinematics(torch.from_numpy(pose), torch.from_numpy(shaped - shaped[0]), layout(num_joints).parents)
        truth[person] = posed.numpy() + pelvis[:, None]
        joints = (truth[person] - [0, 0, HEIGHT]) @ camera.T
        root = (Rotation.from_matrix(camera) * heading).as_rotvec()
        visible = np.ones(len(steps), bool)
        visible[5:9] = False
        parts = {"body_pose": (1, 24 if num_joints == 24 else 22)}
        if num_joints == 55:
            parts |= {"jaw_pose": (22, 23), "leye_pose": (23, 24), "reye_pose": (24, 25)}
            parts |= {"left_hand_pose": (25, 40), "right_hand_pose": (40, 55)}
        path = person_file(folder, person)
        path.parent.mkdir(parents=True)
        arrays = {
            "frame_ids": 100 + steps,
            "visible": visible,
            "global_orient": root,
            "betas": betas,
            "transl": joints[:, 0] - shaped[0],
            "joints": joints,
            "ground_plane": np.append(camera[:, 2], HEIGHT),
            **{name: pose[:, first:last].reshape(len(steps), -1) for name, (first, last) in parts.items()},
        }
        np.savez(path, **{name: value.astype(np.float32) if value.dtype == float else value for name, value in arrays.items()})
    (folder / RESULTS).write_text(json.dumps({"fps": FPS}))
    return Result(folder, truth, rests, model)


every_body = pytest.mark.parametrize("num_joints", [22, 24, 55])


def exported(result: Result, to: str, output: Path, *more: str) -> list[Path]:
    return main([str(result.folder), "--format", to, "--output", str(output), *more])


def z_up(points: np.ndarray) -> np.ndarray:
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1)
