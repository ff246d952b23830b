"""What the upstream stages would find of a true scene: made worse the way they do it.

Pose estimators err by white noise and by a slow bias, most of all in depth along the ray; body size is nearly right; camera tracks drift
and are in a unit of their own; keypoints jitter and sometimes jump; depth maps are noisy and sometimes wrong altogether.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import plane_in_camera, project, to_camera, to_world
from pose_priors.datamodules.stage_folders import PosedBodies, Stages, boxes_around
from pose_priors.datamodules.synthetic.scenes.rendering import render

_POSE_WHITE, _POSE_SLOW = 0.012, 0.08  # radians, of a limb's joint
_ROOT_WHITE, _ROOT_SLOW = 0.006, 0.05
_STEADY = {0.4: (3, 6, 9, 13, 14), 0.2: (10, 11, 22, 23)}  # the trunk, and what is hardly seen to move, err by less
_RANGE_WHITE, _RANGE_SLOW, _RANGE_BIAS = 0.002, 0.025, 0.01  # of the distance, as fractions
_ASIDE_M, _SIZE = 0.003, 0.004
_SLOW_FRAMES, _DRIFT_FRAMES = 6, 4
_CAMERA_RAD, _CAMERA_UNITS = 0.0015, 0.004
_KEYPOINT_PX, _JUMP_PX, _JUMP_RATE, _CONFIDENCE = 3.0, 60.0, 0.05, (0.9, 0.5)
_DEPTH_NOISE, _DEPTH_WRONG = 0.01, 0.01
_BOX_MARGIN_PX = 25.0


@dataclass(frozen=True)
class TrueScene:
    """P people with SMPL's 24 joints on one floor, over T frames, in the axes of the first camera.

    Attributes:
        pose: (P, T, 24, 3) rotation vectors; the root's is relative to the world.
        pelvis: (P, T, 3) metres.
        rest: (P, 24, 3) metres from the pelvis.
        root_offset: (P, 3) metres, smplx's J0.
        radii: (P, 24) metres, how thick the body is at each joint.
        parents: 24 indices.
        seen: (P, T) bool, whether stage 3 finds the person.
        w2c: (T, 4, 4) metric; the first is the identity.
        intrinsics: (3, 3) in pixels.
        image_size: width and height in pixels.
        grid: rows and columns of depth maps and masks.
        planes: of the scene, n and d with n.x + d = 0; the floor first, its normal up-facing.
        alpha: metric = alpha * stage 1.
        fps: frames a second.
    """

    pose: np.ndarray
    pelvis: np.ndarray
    rest: np.ndarray
    root_offset: np.ndarray
    radii: np.ndarray
    parents: tuple[int, ...]
    seen: np.ndarray
    w2c: np.ndarray
    intrinsics: np.ndarray
    image_size: tuple[int, int]
    grid: tuple[int, int]
    planes: tuple[np.ndarray, ...]
    alpha: float
    fps: float

    def joints(self) -> np.ndarray:
        """(P, T, 24, 3) metres."""
        return posed(self.pose, self.pelvis, self.rest, self.parents)

    def truth(self) -> dict[str, Any]:
        """What is written beside the sequence: `joints` (P, T, 24, 3) metres in the axes of the first camera, `pelvis`, `global_orient`,
        `body_pose`, `visible` (P, T), `alpha`, `ground_plane` (4,), `w2c` (T, 4, 4) metric, `intrinsics` and `fps`."""
        return {
            "joints": self.joints(),
            "pelvis": self.pelvis,
            "global_orient": self.pose[:, :, 0],
            "body_pose": self.pose[:, :, 1:],
            "visible": self.seen,
            "alpha": np.float64(self.alpha),
            "ground_plane": self.planes[0],
            "w2c": self.w2c,
            "intrinsics": self.intrinsics,
            "fps": np.float64(self.fps),
        }


def posed(pose: np.ndarray, pelvis: np.ndarray, rest: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """Joints (P, T, J, 3) of poses (P, T, J, 3) on rest joints (P, J, 3) that start at the pelvis."""
    joints, _ = forward_kinematics(torch.from_numpy(pose), torch.from_numpy(rest)[:, None], parents)
    placed: np.ndarray = joints.numpy() + pelvis[:, :, None]
    return placed


def rendered(scene: TrueScene) -> tuple[np.ndarray, np.ndarray]:
    """Depth (T, h, w) in metres and the person at each cell (T, h, w), see `rendering.render`."""
    joints, frames = to_camera(scene.joints(), scene.w2c), []
    for t, w2c in enumerate(scene.w2c):
        planes = [plane_in_camera(plane, w2c) for plane in scene.planes]
        frames.append(render(joints[:, t], scene.radii, scene.parents, planes, scene.intrinsics, scene.image_size, scene.grid))
    depth, who = zip(*frames, strict=True)
    return np.stack(depth), np.stack(who)


def degraded(scene: TrueScene, seed: int) -> Stages:
    """The stages' view of a scene; the seed draws all noise."""
    rng = np.random.default_rng(seed)
    w2c = _cameras(scene, rng)
    depth, who = rendered(scene)
    depth = depth / scene.alpha * (1 + _DEPTH_NOISE * rng.normal(size=depth.shape))
    depth *= np.where(rng.random(depth.shape) < _DEPTH_WRONG, rng.uniform(0.5, 1.5, depth.shape), 1)
    pixels = project(to_camera(scene.joints(), scene.w2c), scene.intrinsics)
    camera, body_pose = _bodies(scene, rng)
    return Stages(
        w2c=w2c,
        intrinsics=scene.intrinsics,
        image_size=scene.image_size,
        fps=scene.fps,
        depth=np.where(np.isfinite(depth), depth, 0),
        who=who,
        keypoints=np.stack([_keypoints(pixels[p], scene.image_size, rng) for p in range(len(pixels))]),
        boxes=boxes_around(pixels, _BOX_MARGIN_PX),
        seen=scene.seen,
        body_pose=body_pose,
        camera=camera,
        world=carried(camera, w2c),
    )


def carried(camera: PosedBodies, w2c: np.ndarray) -> PosedBodies:
    """Bodies of stage 3 in the world of the cameras (T, 4, 4): stage 4 as it should be."""
    joints = to_world(camera.joints, w2c)
    root = camera.joints[:, :, 0] - camera.transl
    return PosedBodies(turned(np.linalg.inv(w2c)[:, :3, :3], camera.global_orient), joints[:, :, 0] - root, joints)


def _cameras(scene: TrueScene, rng: np.random.Generator) -> np.ndarray:
    """(T, 4, 4) in stage 1's unit, drifting; the first is the world."""
    w2c = scene.w2c.copy()
    w2c[:, :3, 3] /= scene.alpha
    drift = Rotation.from_rotvec(_CAMERA_RAD * slow_noise(rng, (len(w2c), 3), _DRIFT_FRAMES, axis=0)).as_matrix()
    w2c[:, :3, :3] = drift @ w2c[:, :3, :3]
    w2c[:, :3, 3] += _CAMERA_UNITS * slow_noise(rng, (len(w2c), 3), _DRIFT_FRAMES, axis=0)
    return w2c @ np.linalg.inv(w2c[0])


def _bodies(scene: TrueScene, rng: np.random.Generator) -> tuple[PosedBodies, np.ndarray]:
    """Stage 3's bodies, and their poses (P, T, 23, 3)."""
    num_people, num_frames = scene.seen.shape
    shape = scene.pose.shape
    error = pose_error(rng, shape, _SLOW_FRAMES)
    pose = scene.pose.copy()
    pose[:, :, 0] = turned(scene.w2c[:, :3, :3], pose[:, :, 0])
    pose = (Rotation.from_rotvec(pose.reshape(-1, 3)) * Rotation.from_rotvec(error.reshape(-1, 3))).as_rotvec().reshape(shape)

    per_frame = (num_people, num_frames)
    stretch = 1 + _RANGE_WHITE * rng.normal(size=per_frame) + _RANGE_SLOW * slow_noise(rng, per_frame, _SLOW_FRAMES)
    stretch += _RANGE_BIAS * rng.normal(size=(num_people, 1))
    pelvis = to_camera(scene.pelvis[:, :, None], scene.w2c)[:, :, 0] * stretch[..., None]
    pelvis[..., :2] += _ASIDE_M * rng.normal(size=(*per_frame, 2))
    size = 1 + _SIZE * rng.normal(size=(num_people, 1, 1))
    transl = pelvis - scene.root_offset[:, None] * size
    return PosedBodies(pose[:, :, 0], transl, posed(pose, pelvis, scene.rest * size, scene.parents)), pose[:, :, 1:]


def _keypoints(pixels: np.ndarray, image_size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(T, K, 3) from where one person's joints are in the image (T, K, 2); a joint jumps now and then, and is then less sure."""
    num_frames, num_points, _ = pixels.shape
    jumps = np.zeros(pixels.shape[:2], bool)
    jumps[np.arange(num_frames), rng.integers(1, num_points, num_frames)] = rng.random(num_frames) < _JUMP_RATE
    noise = np.where(jumps, _JUMP_PX, _KEYPOINT_PX)[..., None] * rng.normal(size=pixels.shape)
    inside = ((pixels > 0) & (pixels < image_size)).all(-1)
    confidence = np.where(inside, np.where(jumps, _CONFIDENCE[1], _CONFIDENCE[0]), 0)
    return np.concatenate([pixels + noise, confidence[..., None]], -1)


def turned(rotations: np.ndarray, rotvec: np.ndarray) -> np.ndarray:
    """Rotation vectors (P, T, 3) after rotations (T, 3, 3) of the axes."""
    return np.stack([(Rotation.from_matrix(rotations) * Rotation.from_rotvec(person)).as_rotvec() for person in rotvec])


def pose_error(rng: np.random.Generator, shape: tuple[int, ...], frames: float) -> np.ndarray:
    """What stage 3's rotations are off by, (P, T, 24, 3) rotation vectors in radians: some anew on each frame, more of it slowly.

    Args:
        frames: over which the slow part stays about what it is, see `slow_noise`.
    """
    white, slow = np.full(24, _POSE_WHITE), np.full(24, _POSE_SLOW)
    for share, joints in _STEADY.items():
        white[list(joints)] *= share
        slow[list(joints)] *= share
    white[0], slow[0] = _ROOT_WHITE, _ROOT_SLOW
    error: np.ndarray = white[:, None] * rng.normal(size=shape) + slow[:, None] * slow_noise(rng, shape, frames)
    return error


def slow_noise(rng: np.random.Generator, shape: tuple[int, ...], frames: float, axis: int = 1) -> np.ndarray:
    """Noise of unit variance that changes over so many frames along one axis."""
    noise: np.ndarray = gaussian_filter1d(rng.normal(size=shape), frames, axis=axis, mode="wrap")
    # the variance of white noise under a Gaussian of that width
    return noise * math.sqrt(2 * math.sqrt(math.pi) * frames)
