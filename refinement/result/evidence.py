"""What was seen of one person at the solution, linear in the pelvis' place and in the turns of the joints: rows in units of their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.noise import NoiseLevels
from pose_priors.refinement.solve.scene import Scene

_FAR = 3.0  # widths of a residual beyond which a reading loses its say (Geman and McClure)
_THICKNESS_M, _TOGETHER_S = 0.02, 0.3  # how well a body's thickness is known, and over how long that is one error and not many
_NEAREST_M = 0.1
_BODY = (22, 24)  # joints of a body without fingers, SMPL-X's and SMPL's


@dataclass(frozen=True)
class Evidence:
    """One person on n frames, J joints of the body, D unknowns: 3 of the pelvis in metres, then 3 of each joint that moves others, turns
    about the world's axes in radians.

    Attributes:
        joints: (n, J, 3) metres, world.
        jacobian: (n, 3 J, D) of the joints.
        rows: (n, R, D) of keypoints and depths, each in units of its noise; zero where nothing was seen.
        visible: (n,) bool.
        distance: (n, J) metres from the camera.
        rays: (n, 3) unit vectors from the camera to the pelvis, world.
        feet: joints that can carry; stands: (n, F) in [0, 1].
        up: (3,) of the floor.
    """

    joints: np.ndarray
    jacobian: np.ndarray
    rows: np.ndarray
    visible: np.ndarray
    distance: np.ndarray
    rays: np.ndarray
    feet: list[int]
    stands: np.ndarray
    up: np.ndarray


def evidence_of(problem: Problem, scene: Scene, contacts: np.ndarray, noise: NoiseLevels, p: int, rows: np.ndarray) -> Evidence:
    """What was seen of person `p` on frames `rows`; `contacts` (P, T, F)."""
    parents = problem.bodies.parents[: _BODY[len(problem.bodies.parents) == _BODY[1]]]
    both = (value[p, :, : len(parents)].detach().cpu().double().numpy()[rows] for value in (scene.joints, scene.camera_joints))
    joints, camera = both
    turn = problem.cameras.w2c.cpu().double().numpy()[rows, :3, :3]
    jacobian = joint_jacobian(joints, parents)
    visible = problem.visible[p].cpu().numpy()[rows]
    flat = np.concatenate(
        [
            _of_keypoints(problem, camera, turn, jacobian, noise.keypoint_px, p, rows),
            _of_depths(problem, scene, camera, turn, jacobian, noise.depth_ratio, p, rows),
        ],
        1,
    )
    distance = np.linalg.norm(camera, axis=-1)
    rays = np.einsum("tij,ti->tj", turn, camera[:, 0] / np.maximum(distance[:, :1], _NEAREST_M))
    return Evidence(
        joints=joints,
        jacobian=jacobian,
        rows=flat * visible[:, None, None],
        visible=visible,
        distance=distance,
        rays=rays,
        feet=contact_joints(problem.bodies),
        stands=contacts[p, rows] * problem.floor_known,
        up=scene.normal.detach().cpu().double().numpy(),
    )


def joint_jacobian(joints: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """(n, 3 J, 3 + 3 A) of joints (n, J, 3): they go with the pelvis, and turn about each of the A joints above them that move others."""
    movers = sorted(set(parents[1:]))
    frames, count = joints.shape[:2]
    out = np.zeros((frames, count, 3, 1 + len(movers), 3))
    out[:, :, :, 0] = np.eye(3)
    for joint in range(count):
        above = parents[joint]
        while above >= 0:
            out[:, joint, :, 1 + movers.index(above)] = _cross(joints[:, above] - joints[:, joint])
            above = parents[above]
    return out.reshape(frames, 3 * count, -1)


def _cross(v: np.ndarray) -> np.ndarray:
    """(n, 3, 3): v x, as a matrix."""
    zero = np.zeros(len(v))
    return np.stack([zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero], -1).reshape(-1, 3, 3)


def _of_keypoints(
    problem: Problem, camera: np.ndarray, turn: np.ndarray, jacobian: np.ndarray, sigma: float, p: int, rows: np.ndarray
) -> np.ndarray:
    """(n, 2 K, D)."""
    seen = problem.observations
    groups = seen.keypoint_joints
    frames, size = len(rows), jacobian.shape[-1]
    points, confidence = (value[p].cpu().double().numpy()[rows] for value in (seen.keypoints, seen.keypoint_confidence))
    mean = np.zeros((len(groups), camera.shape[1]))
    for k, group in enumerate(groups):
        if max(group) < len(mean[k]):  # keypoints of fingers say little of the body
            mean[k, list(group)] = 1 / len(group)
    at = np.einsum("kj,tji->tki", mean, camera)
    moved = np.einsum("tab,kj,tjbd->tkad", turn, mean, jacobian.reshape(frames, -1, 3, size), optimize=True)
    z = np.maximum(at[..., 2:], _NEAREST_M)
    focal = problem.cameras.intrinsics.cpu().double().numpy()[rows]
    scale = focal[:, [0, 1], [0, 1]][:, None]
    pixels = at[..., :2] / z * scale + focal[:, None, :2, 2]
    jac = (moved[..., :2, :] - (at[..., :2] / z)[..., None] * moved[..., 2:, :]) * (scale / z)[..., None]
    off = np.linalg.norm(np.nan_to_num(pixels - points), axis=-1) / sigma
    weight = np.sqrt(confidence * mean.any(1)) / sigma / (1 + (off / _FAR) ** 2)
    return np.asarray((jac * weight[..., None, None]).reshape(frames, 2 * len(groups), size))


def _of_depths(
    problem: Problem, scene: Scene, camera: np.ndarray, turn: np.ndarray, jacobian: np.ndarray, ratio: float, p: int, rows: np.ndarray
) -> np.ndarray:
    """(n, J, D)."""
    seen, frames = problem.observations, len(rows)
    count = camera.shape[1]
    confidence, depth = (value[p, :, :count].cpu().double().numpy()[rows] for value in (seen.joint_depth_confidence, seen.joint_depth))
    skin = problem.bodies.thickness[p, :count].cpu().double().numpy()
    used = (confidence > 0) & np.isfinite(skin)
    read = np.where(used, depth * float(scene.alpha) * np.exp(-float(scene.depth_bias[p])) + np.nan_to_num(skin), 0)
    together = max(1.0, _TOGETHER_S * problem.fps)
    sigma = np.sqrt((ratio * read) ** 2 + together * _THICKNESS_M**2)
    off = np.where(used, read - camera[..., 2], 0) / sigma
    weight = np.where(used, np.sqrt(confidence) / sigma / (1 + (off / _FAR) ** 2), 0)
    forward = np.einsum("tb,tjbd->tjd", turn[:, 2], jacobian.reshape(frames, count, 3, -1))
    return np.asarray(forward * weight[..., None])
