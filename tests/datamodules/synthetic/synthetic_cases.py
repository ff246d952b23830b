"""Built-in motions that tests look at, and what they are made of."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.motions import synthetic_motions
from pose_priors.datamodules.synthetic.reaching import Reach
from pose_priors.datamodules.synthetic.sitting import Sit
from pose_priors.datamodules.synthetic.turning import Turn
from pose_priors.datamodules.synthetic.walking import Walk

FPS, NUM = 30.0, 64
KINDS = ("walking", "turning", "reaching", "sitting")
BALLS, ANKLES, HIPS, KNEES, WRISTS = (
    [index_of(f"{side}_{joint}") for side in ("left", "right")] for joint in ("foot", "ankle", "hip", "knee", "wrist")
)
STEADY = Walk(speed=(1.3, 1.3), turn_deg=0.0, corner_deg=0.0, starts=False, stops=False, gesturing=False, vigour=1.0)
TURN = Turn(angle_deg=150.0, step_deg=40.0, step_s=0.55, begin_s=0.4)
SHELF = Reach(height=0.9, forward=0.22, left_deg=10.0, apart=0.0, knees=0.5, begin_s=0.3, out_s=1.0, there_s=0.5, back_s=1.0)
SIT = Sit(seat=0.26, shank_deg=12.0, lean_deg=40.0, sits_down=True, stands_up=True, begin_s=0.3, down_s=1.8, seated_s=0.8, up_s=1.8)


@cache
def clips() -> list[Motion]:
    return synthetic_motions(NUM, FPS, seed=11)


def world(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Joints (T, 22, 3) and their rotations in the world."""
    joints, rotations = forward_kinematics(motion.pose, rest_joints(motion.stature)[:22], PARENTS[:22])
    return (joints + motion.pelvis[:, None]).numpy(), rotations.numpy()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames(seconds: float) -> int:
    return round(seconds * FPS)


every_clip = pytest.mark.parametrize("kind", KINDS)


def of_kind(kind: str) -> list[Motion]:
    chosen = [motion for motion in clips() if motion.kind == kind]
    assert len(chosen) > 4
    return chosen


def headings(motion: Motion) -> np.ndarray:
    """(T,) where the pelvis points, in degrees to the left of z, unwrapped."""
    forward = world(motion)[1][:, 0, :, 2]
    return np.degrees(np.unwrap(np.arctan2(forward[:, 0], forward[:, 2])))
