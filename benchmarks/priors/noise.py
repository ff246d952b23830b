"""Poses and motions of which noisy rotations or noisy joints are seen, with the exact likelihood of what is seen."""

from __future__ import annotations

import math

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.fitting import Problem
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.body.rotations import haar_correction


def noisy_rotations(truth: Tensor, skeleton: Skeleton, std_deg: float, seed: int) -> Problem:
    """Every scored joint of poses (N, 55, 3) is turned by a rotation vector whose components are normal; the search begins there."""
    std, generator = math.radians(std_deg), torch.Generator().manual_seed(seed)
    exact = roma.rotvec_to_unitquat(truth[:, skeleton.scored].double())
    noise = torch.randn(*exact.shape[:-1], 3, generator=generator, dtype=torch.float64) * std
    seen = roma.quat_product(exact, roma.rotvec_to_unitquat(noise))

    def data_energy(pose: Tensor, rows: Tensor) -> Tensor:
        clean = roma.rotvec_to_unitquat(pose[:, skeleton.scored])
        apart = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(clean), seen[rows]))
        energy: Tensor = (apart.square().sum(-1) / (2 * std**2) - haar_correction(apart)).sum(-1)
        return energy

    return Problem(truth, skeleton.with_scored(truth, roma.unitquat_to_rotvec(seen)), data_energy)


def noisy_joints(
    truth: Tensor, start: Tensor, skeleton: Skeleton, std_mm: float, seed: int, second_difference_std: float | None = None
) -> Problem:
    """Every joint but the pelvis is moved by a vector whose components are normal.

    Args:
        truth: (N, 55, 3), or motions (N, T, 55, 3).
        start: (55, 3) the pose where the search begins, or as many as `truth`.
        second_difference_std: of motions: what second differences of joints over time are expected to be, a standard deviation in metres;
            their normal likelihood is added. None adds nothing.
    """
    std, generator = std_mm / 1000, torch.Generator().manual_seed(seed)
    exact = skeleton.joints(truth)[..., 1:, :]
    seen = exact + std * torch.randn(exact.shape, generator=generator, dtype=torch.float64)

    def data_energy(pose: Tensor, rows: Tensor) -> Tensor:
        joints = skeleton.joints(pose)[..., 1:, :]
        energy = ((joints - seen[rows]) / std).square().flatten(1).sum(1) / 2
        if second_difference_std is None:
            return energy
        return energy + (torch.diff(joints, n=2, dim=1) / second_difference_std).square().flatten(1).sum(1) / 2

    basis = None if second_difference_std is None else smooth_courses(truth.shape[1], std, second_difference_std)
    return Problem(truth, start.expand_as(truth), data_energy, basis)


def smooth_courses(num_frames: int, std: float, second_difference_std: float) -> Tensor:
    """The discrete cosines over time (T, T), each as large as noise and smoothness leave it free to be, the constant one first, of size 1.

    In these coordinates the sum of the two likelihoods bends alike in all directions, but for kinematics; frame by frame a stiff second
    difference takes an optimiser hundreds of steps.
    """
    wave = math.pi * torch.arange(num_frames, dtype=torch.float64) / num_frames
    cosines = torch.cos((torch.arange(num_frames, dtype=torch.float64)[:, None] + 0.5) * wave)
    stiffness = (2 - 2 * torch.cos(wave)).square() / second_difference_std**2
    freedom = torch.rsqrt(1 + stiffness * std**2)
    return cosines * freedom * torch.where(wave > 0, math.sqrt(2), 1.0)
