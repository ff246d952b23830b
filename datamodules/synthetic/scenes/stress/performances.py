"""People who do what families need: the built-in motions, and what these lack, on SMPL's 24 joints."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.anthropometry import thickness
from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.reaching import Reach, reaching
from pose_priors.datamodules.synthetic.scenes.degradation import posed
from pose_priors.datamodules.synthetic.scenes.stress.recipes import Actor
from pose_priors.datamodules.synthetic.sitting import Sit, sitting
from pose_priors.datamodules.synthetic.turning import Turn, turning
from pose_priors.datamodules.synthetic.walking import Walk, walking

NUM_JOINTS = 24
_SMPL = [*range(22), index_of("left_middle1"), index_of("right_middle1")]
_SPEEDS = {"walk": 1.25, "stroll": 0.85}
_LEFT_ARM, _RIGHT_ARM, _LEFT_LEG, _RIGHT_LEG = (index_of(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip"))
_BENT_LIMBS = [index_of(f"{side}_{joint}") for side in ("left", "right") for joint in ("collar", "shoulder", "elbow", "wrist")]
# of a reach that ends in the middle of the clip: height and distance of its target as fractions of the stature, and how much knees bend
_REACHES = {"reach": (0.95, 0.25, 0.0), "squat": (0.2, 0.2, 1.0), "lie": (0.95, 0.25, 0.0), "cartwheel": (0.95, 0.25, 0.0)}
_WHEEL_S, _WHEEL_M, _HANDS_ABOVE_M = 1.2, 1.6, 0.04


def rest_of(stature: float) -> np.ndarray:
    """(24, 3) metres from the pelvis, the built-in skeleton with SMPL's joints."""
    rest: np.ndarray = rest_joints(stature).numpy()[_SMPL]
    return rest


def performed(actor: Actor, num_frames: int, fps: float, stature: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One person on a flat floor at y = 0, y up, at first looking about along z.

    Args:
        stature: metres.
    Returns:
        pose (T, 24, 3) rotation vectors and pelvis (T, 3) metres.
    """
    motion = _motion(actor.does, num_frames, fps, stature, torch.Generator().manual_seed(int(rng.integers(2**62))))
    pose = np.zeros((num_frames, NUM_JOINTS, 3))
    pose[:, :22] = motion.pose.numpy()
    pelvis: np.ndarray = motion.pelvis.numpy().copy()
    special = {"lie": _lying, "handstand": _on_hands, "plank": _on_hands, "cartwheel": _cartwheel}
    if actor.does in special:
        pose, pelvis = special[actor.does](actor.does, pose, pelvis, rest_of(stature), fps)
    return pose, pelvis


def _motion(does: str, num_frames: int, fps: float, stature: float, generator: torch.Generator) -> Motion:
    seconds = num_frames / fps
    if does in _SPEEDS:
        speed = _SPEEDS[does]
        plan = Walk((speed, speed), turn_deg=8.0, corner_deg=0.0, starts=False, stops=False, gesturing=False, vigour=1.0)
        return walking(plan, num_frames, fps, stature, generator)
    if does == "turn":
        return turning(Turn(angle_deg=90.0, step_deg=40.0, step_s=0.5, begin_s=0.2), num_frames, fps, stature, generator)
    if does == "sit":
        down = Sit(0.26, 12.0, 40.0, True, False, begin_s=0.1, down_s=0.8 * seconds, seated_s=seconds, up_s=1.0)
        return sitting(down, num_frames, fps, stature, generator)
    height, forward, knees = _REACHES.get(does, _REACHES["reach"])
    reach = Reach(height, forward, 10.0, 0.08, knees, 0.1, 0.45 * seconds, 0.1, 0.45 * seconds)
    return reaching(reach, num_frames, fps, stature, generator)


def _lowest(pose: np.ndarray, pelvis: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(T,) height of the lowest skin."""
    joints = posed(pose[None], pelvis[None], rest[None], layout(NUM_JOINTS).parents)[0]
    low: np.ndarray = (joints[..., 1] - thickness(rest)).min(1)
    return low


def _turned_over(pose: np.ndarray, angle: float) -> np.ndarray:
    """All of the body turned about x, the axis to its left."""
    over = pose.copy()
    over[:, 0] = (Rotation.from_rotvec([angle, 0, 0]) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return over


def _lying(does: str, pose: np.ndarray, pelvis: np.ndarray, rest: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """On the back, moving the arms."""
    pose = _turned_over(pose, -0.97 * math.pi / 2)
    still = np.repeat(pelvis.mean(0)[None], len(pelvis), 0)
    still[:, 1] -= _lowest(pose, still, rest).min()
    return pose, still


def _on_hands(does: str, pose: np.ndarray, pelvis: np.ndarray, rest: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """A handstand, or a plank on straight arms: legs straight, hands where they are put."""
    pose = pose.copy()
    pose[:, 1:] *= 0.15
    pose[:, _BENT_LIMBS] = 0
    if does == "handstand":
        pose[:, _LEFT_ARM], pose[:, _RIGHT_ARM] = (0, 0, 1.5), (0, 0, -1.5)
        pose = _turned_over(pose, math.pi)
    else:
        pose[:, _LEFT_ARM], pose[:, _RIGHT_ARM] = (0, -1.4, 0), (0, 1.4, 0)
        pose = _turned_over(pose, math.radians(72))
    still = pelvis * (1, 0, 1)
    still[:, 1] -= _lowest(pose, still, rest)
    return pose, still


def _cartwheel(does: str, pose: np.ndarray, pelvis: np.ndarray, rest: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Once round to the side, arms and legs apart, hands or feet on the floor."""
    num_frames = len(pose)
    part = np.clip((np.arange(num_frames) / fps - 0.2 * num_frames / fps) / _WHEEL_S, 0, 1)
    turn = 3 * part**2 - 2 * part**3
    apart = np.sin(np.pi * part)[:, None]
    pose = np.repeat(pose[:1], num_frames, 0)
    for joint, axis in ((_LEFT_ARM, 1.3), (_RIGHT_ARM, -1.3), (_LEFT_LEG, 0.5), (_RIGHT_LEG, -0.5)):
        pose[:, joint] = (1 - apart) * pose[:, joint] + apart * np.array([0, 0, axis])
    pose[:, 0] = (Rotation.from_rotvec(np.outer(2 * np.pi * turn, [0, 0, 1])) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    there = np.repeat(pelvis[:1], num_frames, 0) - np.outer(turn * _WHEEL_M, [1, 0, 0])
    there[:, 1] -= _lowest(pose, there, rest) - _HANDS_ABOVE_M * apart[:, 0]
    return pose, there
