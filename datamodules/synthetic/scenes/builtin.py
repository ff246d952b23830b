"""The built-in sequence: two people who walk past each other, one of them talking with both hands, before a camera that moves.

Made from the synthetic motions on the built-in skeleton, so that it is free of anyone's licence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pose_priors.body.anthropometry import thickness
from pose_priors.body.builtin import STATURE, rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.motion_state import FPS
from pose_priors.body.pinhole import plane_in_camera
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import written_folder
from pose_priors.configs.writing import written_aside
from pose_priors.datamodules.stage_folders import Stages, write_stages
from pose_priors.datamodules.synthetic.scenes.degradation import TrueScene, degraded
from pose_priors.datamodules.synthetic.scenes.hands import true_hands, with_hands
from pose_priors.datamodules.synthetic.scenes.walk import walk_on_arc

_NUM_FRAMES = 84
_IMAGE_SIZE, _GRID, _FOCAL = (1280, 720), (90, 160), 1.05  # the focal length as a fraction of the width
# Both people: seconds of a cycle, turn and heading half way in degrees, whether the hands talk, where they are half way (x to the right, z
# to the camera, metres). They meet in the middle, where the first hides the second.
_PEOPLE = ((1.10, 55.0, 90.0, False, (0.1, 0.5)), (1.30, -35.0, -95.0, True, (-0.1, -0.5)))
_STATURE_SPREAD, _THICKNESS_SPREAD = 0.06, 0.1
_HIDDEN = 12
_ALPHA = 1.2, 1.5
# The camera: distance from the middle, height, the arc in radians that it moves on, and how it shakes.
_DISTANCE_M, _HEIGHT_M, _ARC, _LOOKS_AT_M = 5.2, 1.35, 0.45, 0.95
_SHAKE_M, _SHAKE_RAD, _SHAKE_FRAMES = 0.006, 0.004, 3.0
_WALL_M = 4.0
_ROOT_OFFSET = np.array([0.0, -0.22, 0.03])  # about SMPL's J0, for a person of the built-in stature
# SMPL's hand joints stand where the middle finger begins
_SMPL_JOINTS = [*range(22), index_of("left_middle1"), index_of("right_middle1")]


def write_builtin_scene(folder: Path, seed: int, *, hands: bool = False) -> tuple[Path, Path]:
    """Writes the folders of stages 1 to 4, and beside `folder` its truth; others in `folder`, such as stage 5, are left alone.

    Args:
        folder: of the sequence.
        seed: of the people and of everything that is wrong with what is seen of them.
        hands: whether the people have SMPL-X's hands; the rest of the sequence does not depend on it.
    Returns:
        the folder, and `<folder>_gt.npz` with `joints` (P, T, 24, 3) in metres and stage 1's axes, `pelvis`, `global_orient`, `body_pose`,
        `visible` (P, T), `alpha`, `ground_plane` (4,), `w2c` (T, 4, 4) metric, `intrinsics` and `fps`;
        with hands `hand_pose` (P, T, 30, 3), left then right.
    Raises:
        UserError: if the folder cannot be written to.
    """
    truth = folder.with_name(f"{folder.name}_gt.npz")
    scene = builtin_scene(seed)
    stages, about = degraded(scene, seed), scene.truth()
    if hands:
        about["hand_pose"] = true_hands(len(scene.seen), scene.seen.shape[1], seed)
        stages = with_hands(stages, about["hand_pose"], seed)
    write_sequence(folder, stages, about)
    return folder, truth


def write_sequence(folder: Path, stages: Stages, truth: Mapping[str, Any]) -> None:
    """Writes the folders of stages 1 to 4 into `folder`, and `<folder>_gt.npz`; others in `folder`, such as stage 5, are left alone.

    The four folders change at once. A process that is killed leaves the truth that belongs to them or none, never that of another sequence.

    Raises:
        UserError: if they cannot be written.
    """
    beside = folder.with_name(f"{folder.name}_gt.npz")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(beside) as new_truth:
            np.savez_compressed(new_truth, **truth)
            with written_folder(folder, leaves=lambda name: False) as new:
                write_stages(new, stages)
                if beside.is_file() and beside.read_bytes() != new_truth.read_bytes():
                    beside.unlink()
    except OSError as error:
        raise UserError(f"{folder}: the built-in sequence cannot be written there ({error.strerror or error})") from error


def builtin_scene(seed: int) -> TrueScene:
    """Two people over 84 frames, and the camera that films them."""
    rng = np.random.default_rng(seed)
    statures = STATURE * (1 + rng.uniform(-_STATURE_SPREAD, _STATURE_SPREAD, len(_PEOPLE)))
    people = [_person(*options, stature, int(rng.integers(2**31))) for options, stature in zip(_PEOPLE, statures, strict=True)]
    pose, pelvis = (np.stack(parts) for parts in zip(*people, strict=True))
    w2c = _camera(rng)
    up = np.array([0.0, 1.0, 0.0])
    # the wall faces the camera from behind the people
    planes = (np.array([*up, 0.0]), np.array([0.0, 0.0, 1.0, _WALL_M]))

    # into the axes of the first camera
    turn, shift = w2c[0, :3, :3], w2c[0, :3, 3]
    pose[:, :, 0] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:, :, 0].reshape(-1, 3))).as_rotvec().reshape(pelvis.shape)
    seen = np.ones(pelvis.shape[:2], bool)
    first = _NUM_FRAMES // 2 - _HIDDEN + int(rng.integers(_HIDDEN))
    seen[1, first : first + _HIDDEN] = False
    rest = np.stack([rest_joints(stature).numpy()[_SMPL_JOINTS] for stature in statures])
    size = (statures / STATURE)[:, None]
    width, height = _IMAGE_SIZE
    focal = _FOCAL * width
    girth = 1 + rng.uniform(-_THICKNESS_SPREAD, _THICKNESS_SPREAD, len(rest))[:, None]
    return TrueScene(
        pose=pose,
        pelvis=pelvis @ turn.T + shift,
        rest=rest,
        root_offset=_ROOT_OFFSET * size,
        radii=np.stack([thickness(joints) for joints in rest]) * girth,
        parents=layout(len(_SMPL_JOINTS)).parents,
        seen=seen,
        w2c=w2c @ np.linalg.inv(w2c[0]),
        intrinsics=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]),
        image_size=_IMAGE_SIZE,
        grid=_GRID,
        planes=tuple(plane_in_camera(plane, w2c[0]) for plane in planes),
        alpha=float(rng.uniform(*_ALPHA)),
        fps=FPS,
    )


def _person(
    cycle_s: float, turn_deg: float, heading_deg: float, gesturing: bool, middle: tuple[float, float], stature: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pose (T, 24, 3) and pelvis (T, 3), y up, z to the camera, the floor at y = 0."""
    motion = walk_on_arc(_NUM_FRAMES, FPS, cycle_s, turn_deg, stature, gesturing, seed)
    heading = Rotation.from_euler("y", heading_deg - turn_deg / 2, degrees=True)
    pose = np.zeros((_NUM_FRAMES, len(_SMPL_JOINTS), 3))
    pose[:, :22] = motion.pose.numpy()
    pose[:, 0] = (heading * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    pelvis = heading.apply(motion.pelvis.numpy())
    pelvis[:, [0, 2]] += np.array(middle) - pelvis[_NUM_FRAMES // 2, [0, 2]]
    return pose, pelvis


def _camera(rng: np.random.Generator) -> np.ndarray:
    """(T, 4, 4) world to camera: a hand-held arc round the middle, looking there; OpenCV axes."""
    angle = _ARC * (np.linspace(0, 1, _NUM_FRAMES) - 0.5)
    eye = np.stack([_DISTANCE_M * np.sin(angle), np.full_like(angle, _HEIGHT_M), _DISTANCE_M * np.cos(angle)], 1)
    eye += _SHAKE_M * _shake(rng)
    forward = np.array([0, _LOOKS_AT_M, 0]) - eye
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    w2c = np.tile(np.eye(4), (_NUM_FRAMES, 1, 1))
    w2c[:, :3, :3] = Rotation.from_rotvec(_SHAKE_RAD * _shake(rng)).as_matrix() @ np.stack([right, np.cross(forward, right), forward], 1)
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], eye)
    return w2c


def _shake(rng: np.random.Generator) -> np.ndarray:
    """(T, 3) of unit variance."""
    noise: np.ndarray = gaussian_filter1d(rng.normal(size=(_NUM_FRAMES, 3)), _SHAKE_FRAMES, axis=0)
    return noise * math.sqrt(2 * math.sqrt(math.pi) * _SHAKE_FRAMES)
