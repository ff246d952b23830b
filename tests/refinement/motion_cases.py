"""A small motion prior, and people who walk, turn and sit in the world of a camera that is not level."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from problems import make_problem
from scipy.spatial.transform import Rotation
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import NUM_JOINTS as SMPLX_JOINTS
from pose_priors.configs.base import Config
from pose_priors.datamodules.clips import make_clip, y_up_to_z_up
from pose_priors.datamodules.synthetic import synthetic_motions
from pose_priors.priors import Prior, TrainablePrior
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.negatives import num_source_frames
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import NoiseLevels
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.variables import Variables

CONFIG = MotionCVAEConfig(kind="motion_cvae", hidden=64, latent_dim=4, num_layers=2, critic_hidden=32)
_POSES = GaussianConfig(kind="gaussian")
NOISE = NoiseLevels(keypoint_px=3.0, rotation_rad=0.01, hand_rotation_rad=0.02, depth_ratio=0.005, bias=0.013)


@lru_cache
def clips(people: int, frames: int) -> MotionWindows:
    """The beginnings of clips, z up with the floor at z = 0, in double precision; people differ in size."""
    parts = [make_clip(m.kind, *y_up_to_z_up(m.pose, m.pelvis), m.stature) for m in synthetic_motions(people, 30.0, 0)]
    columns = {name: torch.stack([getattr(part, name)[:frames] for part in parts]) for name in ("pose", "pelvis", "contacts")}
    return MotionWindows(**columns, rest=torch.stack([part.rest for part in parts])).to(torch.float64)


@lru_cache
def _trained() -> MotionCVAE:
    windows = clips(12, num_source_frames(CONFIG.window + 2)).to(torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = CONFIG.build()
        prior.fit_statistics(windows)
        prior.set_total_steps(30)
        optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
        for _ in range(30):
            optimizer.zero_grad()
            prior.loss(windows)["loss"].backward()
            optimizer.step()
    return prior.eval().requires_grad_(False)


def small_prior(dtype: torch.dtype = torch.float64, leg: bool = True) -> MotionCVAE:
    """A prior that has seen a few motions for a few steps.

    Args:
        leg: false for one that knows bodies of all sizes, as HuMoR.
    """
    prior = copy.deepcopy(_trained()).to(dtype)
    if not leg:
        prior.leg.zero_()
    return prior


def save_motion_prior(path: Path) -> Path:
    """The same as a checkpoint of `train.py`."""
    return _save(small_prior(torch.float32), CONFIG, path)


def small_pose_prior() -> Prior:
    """A prior of the body's poses, in single precision."""
    prior = _POSES.build(range(1, NUM_JOINTS))
    prior.fit_statistics(0.2 * torch.randn(200, SMPLX_JOINTS, 3, generator=torch.Generator().manual_seed(0)))
    return prior.eval().requires_grad_(False)


def save_pose_prior(path: Path) -> Path:
    """The same as a checkpoint of `train.py`."""
    return _save(small_pose_prior(), _POSES, path)


def _save(prior: TrainablePrior, config: Config, path: Path) -> Path:
    weights = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    torch.save({"state_dict": weights, "prior": describe(prior, {"model": config.model_dump()}, "generated")}, path)
    return path


@dataclass(frozen=True)
class Placed:
    """A rigid motion from a world with z up and the floor at z = 0 into that of a camera: x -> turn x + shift."""

    turn: np.ndarray
    shift: np.ndarray

    @property
    def plane(self) -> np.ndarray:
        """(4,) the floor."""
        normal = self.turn[:, 2]
        return np.array([*normal, -normal @ self.shift])

    @property
    def level(self) -> tuple[np.ndarray, np.ndarray]:
        """What is left of the motion when the floor is turned back to z = 0 by the smallest rotation, about the camera."""
        axis = np.cross(self.turn[:, 2], [0, 0, 1])
        angle = np.arctan2(np.linalg.norm(axis), self.turn[2, 2])
        up = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
        return up @ self.turn, up @ self.shift + [0, 0, self.plane[3]]


# the camera looks along z, y points down; its horizon is not level, it looks down, and people come from anywhere
PLACED = Placed(Rotation.from_euler("zxz", [63, 97, 11], degrees=True).as_matrix(), np.array([0.4, 1.1, 4.6]))


def problem_of(windows: MotionWindows, fps: float = 30.0, placed: Placed = PLACED, alpha: float = 1.3) -> Problem:
    """People of windows before a camera that moves sideways; what was seen of them is not theirs."""
    people, frames = windows.pose.shape[:2]
    base, _ = make_problem(people, frames, alpha=alpha)
    turn = torch.from_numpy(placed.turn)
    root = Rotation.from_matrix(placed.turn) * Rotation.from_rotvec(windows.pose[:, :, 0].reshape(-1, 3).numpy())
    rest = windows.rest - windows.rest[:, :1]
    return replace(
        base,
        fps=fps,
        bodies=replace(base.bodies, rest_joints=rest),
        start=replace(
            base.start,
            global_orient=torch.from_numpy(root.as_rotvec()).view(people, frames, 3),
            body_pose=windows.pose[:, :, 1:],
            pelvis=windows.pelvis @ turn.T + torch.from_numpy(placed.shift),
            ground_plane=torch.from_numpy(placed.plane),
        ),
    )


def variables_of(problem: Problem, size: float = 0.0) -> Variables:
    """All variables of a problem, at random of a size."""
    variables = Variables(problem, NOISE, 0.05, list(range(1, NUM_JOINTS)))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in variables.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return variables


def scene_of(problem: Problem, size: float = 0.0) -> Scene:
    """The scene of these variables, with no gradient."""
    with torch.no_grad():
        return variables_of(problem, size)(problem)


def legs(rest: Tensor) -> Tensor:
    """(P,) metres from the left hip over the knee to the ankle of joints (P, J, 3) at rest."""
    hip, knee, ankle = rest[:, 1], rest[:, 4], rest[:, 7]
    return (hip - knee).norm(dim=-1) + (knee - ankle).norm(dim=-1)


def sized(windows: MotionWindows, by: Tensor) -> MotionWindows:
    """People and where they are, (P,) times as large about the origin."""
    return MotionWindows(windows.pose, windows.pelvis * by[:, None, None], windows.rest * by[:, None, None], windows.contacts)


def swaying(fps: float, seconds: float = 1.0) -> MotionWindows:
    """Two people who move smoothly, by formulas of the time, at any frame rate."""
    draw = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    time = torch.arange(round(seconds * fps) + 1, dtype=torch.float64)[:, None, None] / fps
    rest = clips(2, 8).rest
    base, swing, phase = 0.3 * normal(2, 1, NUM_JOINTS, 3), 0.2 * normal(2, 1, NUM_JOINTS, 3), 6 * normal(2, 1, NUM_JOINTS, 1)
    pose = base + swing * torch.sin(4 * time + phase)
    pelvis = normal(2, 1, 3) + time[..., 0] * normal(2, 1, 3) + 0.05 * torch.sin(5 * time[..., 0]) + torch.tensor([0.0, 0.0, 1.0])
    return MotionWindows(pose, pelvis, rest, torch.zeros(*pose.shape[:2], 9, dtype=torch.bool))


def alive_from(problem: Problem, person: int, lives: slice) -> Problem:
    """The problem, with a person who lives on some frames only."""
    alive = problem.alive.clone()
    alive[person] = False
    alive[person, lives] = True
    return replace(problem, alive=alive, visible=alive)
