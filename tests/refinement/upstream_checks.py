"""What is compared between a clip that was read and its truth."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from upstream_truth import IDS, Truth

from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import Problem

EXACT, SINGLE = 1e-5, 2e-4  # metres: of files in double and in single precision
TURNED = Rotation.from_euler("xyz", [40, 25, -60], degrees=True)
Y_DOWN = Rotation.from_euler("x", 180, degrees=True)
Z_UP = Rotation.from_euler("x", 90, degrees=True)


def world_joints(problem: Problem) -> np.ndarray:
    """(P, T, J, 3) where the refinement starts."""
    pose = torch.cat([problem.start.global_orient[:, :, None], problem.start.body_pose], 2)
    joints, _ = forward_kinematics(pose, problem.bodies.rest_joints[:, None], problem.bodies.parents)
    return (joints + problem.start.pelvis[:, :, None]).numpy()


def camera_joints(problem: Problem) -> np.ndarray:
    """(P, T, J, 3) in the cameras."""
    w2c = problem.cameras.w2c.numpy().copy()
    w2c[:, :3, 3] *= problem.start.alpha0
    return to_camera(world_joints(problem), w2c)


def check(problem: Problem, truth: Truth, tolerance: float, *, people: tuple[int, ...] = IDS, joints: int = 24, world: bool = True) -> None:
    """Ids, frames, cameras, and joints in world and camera on the frames on which people were seen."""
    seen = truth.seen[: len(people)]
    assert problem.person_ids == people
    np.testing.assert_array_equal(problem.visible, seen)
    assert len(problem.bodies.parents) == joints
    np.testing.assert_allclose(camera_joints(problem)[seen], truth.camera_joints[: len(people), :, :joints][seen], atol=tolerance)
    if world:
        np.testing.assert_allclose(world_joints(problem)[seen], truth.joints[: len(people), :, :joints][seen], atol=tolerance)
        # where the file does not say which way is up, people do, who lean a little
        assert problem.start.ground_plane[:3].numpy() @ truth.up > np.cos(np.radians(5))


def check_keypoints(problem: Problem, truth: Truth) -> None:
    """They lie at their joints, of all who are seen."""
    seen = truth.seen[: len(problem.person_ids)]
    confident = problem.observations.keypoint_confidence.numpy() > 0
    np.testing.assert_array_equal(confident.any(-1), seen)
    pixels = truth.camera_joints @ truth.intrinsics.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    for k, of in enumerate(problem.observations.keypoint_joints):
        if confident[..., k].any():
            expected = pixels[: len(seen), :, list(of)].mean(2)[confident[..., k]]
            np.testing.assert_allclose(problem.observations.keypoints.numpy()[..., k, :][confident[..., k]], expected, atol=0.05)


def told(problem: Problem, *words: str) -> None:
    for word in words:
        assert any(word in warning for warning in problem.warnings), (word, problem.warnings)
