"""Two people who walk on a floor before a camera that moves, in one world or another: what is true of the files that tests write."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.refinement.formats.keypoints import correspondences, observed

IDS = (3, 7)
SIZE = (640, 360)
NUM_FRAMES = 16


@dataclass(frozen=True)
class Truth:
    """What is true, in metres.

    Attributes:
        pose: (P, T, 24, 3), roots in the world.
        pelvis: (P, T, 3) world.
        seen: (P, T) bool.
        w2c: (T, 4, 4).
        up: (3,) in the world.
        ground: (3,) a point of the floor.
        intrinsics: (3, 3).
    """

    pose: np.ndarray
    pelvis: np.ndarray
    seen: np.ndarray
    w2c: np.ndarray
    up: np.ndarray
    ground: np.ndarray
    intrinsics: np.ndarray

    @property
    def joints(self) -> np.ndarray:
        """(P, T, 24, 3) world."""
        of = layout(24)
        built_in = rest_joints().numpy()
        rest = torch.from_numpy(np.concatenate([built_in[:22], built_in[[28, 43]]]))
        posed, _ = forward_kinematics(torch.from_numpy(self.pose), rest, of.parents)
        return posed.numpy() + self.pelvis[:, :, None]

    @property
    def camera_joints(self) -> np.ndarray:
        """(P, T, 24, 3)."""
        return np.einsum("tij,ptkj->ptki", self.w2c[:, :3, :3], self.joints) + self.w2c[:, None, :3, 3]

    @property
    def camera_pose(self) -> np.ndarray:
        """(P, T, 24, 3), roots in the camera's axes."""
        pose = self.pose.copy()
        for p in range(len(pose)):
            pose[p, :, 0] = (Rotation.from_matrix(self.w2c[:, :3, :3]) * Rotation.from_rotvec(pose[p, :, 0])).as_rotvec()
        return pose

    @property
    def camera_pelvis(self) -> np.ndarray:
        """(P, T, 3)."""
        return self.camera_joints[:, :, 0]

    @property
    def c2w(self) -> np.ndarray:
        """(T, 4, 4)."""
        return np.linalg.inv(self.w2c)

    def turned(self, turn: Rotation, shift: tuple[float, float, float] = (0, 0, 0)) -> Truth:
        """The same in another world."""
        pose = self.pose.copy()
        for p in range(len(pose)):
            pose[p, :, 0] = (turn * Rotation.from_rotvec(pose[p, :, 0])).as_rotvec()
        back = np.eye(4)
        back[:3, :3] = turn.inv().as_matrix()
        back[:3, 3] = -turn.inv().apply(shift)
        pelvis = turn.apply(self.pelvis.reshape(-1, 3)).reshape(self.pelvis.shape) + shift
        return replace(self, pose=pose, pelvis=pelvis, w2c=self.w2c @ back, up=turn.apply(self.up), ground=turn.apply(self.ground) + shift)

    def keypoints(self, name: str) -> np.ndarray:
        """(P, T, N, 3) pixels and confidence of a format's points, those that joints stand for, the others without confidence."""
        of = correspondences(name, 24)
        pixels = self.camera_joints @ self.intrinsics.T
        pixels = pixels[..., :2] / pixels[..., 2:]
        points = np.zeros((*pixels.shape[:2], {"coco17": 17, "openpose25": 25, "smpl24": 24}[name], 3))
        for link in of:
            points[..., list(link.points), :2] = pixels[..., list(link.joints), :].mean(-2, keepdims=True)
            points[..., list(link.points), 2] = 0.9
        assert np.allclose(observed(points, of)[..., 2], 0.9)
        return points

    def boxes(self) -> np.ndarray:
        """(P, T, 4) corners."""
        pixels = self.camera_joints @ self.intrinsics.T
        pixels = pixels[..., :2] / pixels[..., 2:]
        return np.concatenate([pixels.min(2) - 12, pixels.max(2) + 12], -1)

    def rows(self, person: int) -> np.ndarray:
        """The frames on which the person is seen."""
        return np.flatnonzero(self.seen[person])


def make_truth(*, still: bool = False, focal: float = 500.0) -> Truth:
    """In a world with y up and the floor at 0; the second person is hidden on three frames and unseen on the last two."""
    rng = np.random.default_rng(4)
    u = np.linspace(0, 1, NUM_FRAMES)
    pose, pelvis = np.zeros((2, NUM_FRAMES, 24, 3)), np.zeros((2, NUM_FRAMES, 3))
    for p in range(2):
        swing = 0.3 * np.sin(2 * np.pi * u + p)
        pose[p] = 0.04 * rng.normal(size=(24, 3))
        pose[p, :, 1, 0], pose[p, :, 2, 0], pose[p, :, 16, 2], pose[p, :, 17, 2] = -swing, swing, -1.1, 1.1
        pose[p, :, 0] = Rotation.from_euler("y", (180 + 70 * p - 30) + 40 * u[:, None], degrees=True).as_rotvec()
        pelvis[p] = np.stack([1.3 * p - 0.8 + 0.9 * u, np.zeros(NUM_FRAMES), 5.0 + 0.6 * p - 0.5 * u], 1)
    # the camera looks along the world's z: x to the left, y down
    facing = Rotation.from_euler("z", 180, degrees=True)
    amount = 0 if still else 1
    turn = facing * Rotation.from_euler("yx", amount * np.stack([22 * u - 11, 4 * u], 1), degrees=True)
    centre = np.array([0, 1.3, 0]) + amount * np.stack([0.9 * u, 0.1 * np.sin(4 * u), 0.5 * u], 1)
    w2c = np.tile(np.eye(4), (NUM_FRAMES, 1, 1))
    w2c[:, :3, :3] = turn.inv().as_matrix()
    w2c[:, :3, 3] = -turn.inv().apply(centre)
    seen = np.ones((2, NUM_FRAMES), bool)
    seen[1, 6:9] = seen[1, -2:] = False
    intrinsics = np.array([[focal, 0, SIZE[0] / 2], [0, focal, SIZE[1] / 2], [0, 0, 1]])
    truth = Truth(pose, pelvis, seen, w2c, np.array([0.0, 1.0, 0.0]), np.zeros(3), intrinsics)
    pelvis[..., 1] = 0.02 - truth.joints[..., [10, 11], 1].min(-1)
    return truth
