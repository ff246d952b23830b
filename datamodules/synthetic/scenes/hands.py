"""The people of a built-in scene with SMPL-X's hands, which open and close as they go, and what stage 3 would find of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.pinhole import to_world
from pose_priors.datamodules.stage_folders import PosedBodies, Stages
from pose_priors.datamodules.synthetic.hands import hand_poses
from pose_priors.datamodules.synthetic.scenes.degradation import posed

_HOLD = 28  # frames from one posture to the next
_WHITE, _SLOW, _SLOW_FRAMES = 0.1, 0.2, 6.0  # radians by which stage 3 errs; frames over which its bias changes
_MIRROR = np.array([1.0, -1.0, -1.0])


def true_hands(num_people: int, num_frames: int, seed: int) -> np.ndarray:
    """(P, T, 30, 3) rotations of the left and the right hand: postures every second or so, and a smooth way from each to the next."""
    generator = torch.Generator().manual_seed(seed)
    num_postures = num_frames // _HOLD + 2
    postures = hand_poses(torch.zeros(num_people * num_postures, 2, dtype=torch.float64), generator).numpy()
    postures[:, 1] *= _MIRROR  # drawn as a left hand
    postures = postures.reshape(num_people, num_postures, 30, 3)
    at = np.arange(num_frames) / _HOLD
    before = at.astype(int)
    share = ((1 - np.cos(np.pi * (at - before))) / 2)[:, None, None]
    way: np.ndarray = postures[:, before] * (1 - share) + postures[:, before + 1] * share
    return way


def with_hands(stages: Stages, hands: np.ndarray, seed: int) -> Stages:
    """The stages' view of the same scene, by a stage 3 that knows SMPL-X: hands with errors, and all 55 joints.

    Args:
        stages: of people with SMPL's joints, on the built-in skeleton.
        hands: (P, T, 30, 3) true rotations.
        seed: of the errors.
    """
    rng = np.random.default_rng([seed, len(hands)])
    slow = gaussian_filter1d(rng.normal(size=hands.shape), _SLOW_FRAMES, axis=1)
    found = hands + _WHITE * rng.normal(size=hands.shape) + _SLOW * slow / slow.std()
    pose = np.zeros((*hands.shape[:2], 55, 3))
    pose[:, :, 0], pose[:, :, 1:22], pose[:, :, 25:] = stages.camera.global_orient, stages.body_pose[:, :, :21], found
    joints, usual = stages.camera.joints, rest_joints().numpy()
    # stage 3's size of each person: the length of a thigh against that of the built-in skeleton
    size = np.linalg.norm(joints[:, 0, 4] - joints[:, 0, 1], axis=-1) / np.linalg.norm(usual[4] - usual[1])
    whole = posed(pose, joints[:, :, 0], usual * size[:, None, None], layout(55).parents)
    return replace(
        stages,
        hand_pose=found,
        camera=PosedBodies(stages.camera.global_orient, stages.camera.transl, whole),
        world=PosedBodies(stages.world.global_orient, stages.world.transl, to_world(whole, stages.w2c)),
    )
