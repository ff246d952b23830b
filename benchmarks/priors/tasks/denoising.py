"""Denoising of rotations and of joints with normal noise of known size, single poses and motions: their most probable values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData, spread
from pose_priors.benchmarks.priors.fitting import remaining_errors
from pose_priors.benchmarks.priors.noise import noisy_joints, noisy_rotations
from pose_priors.benchmarks.priors.parts import hand_of
from pose_priors.benchmarks.priors.skeleton import Skeleton, degrees
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores
from pose_priors.body.motion_state import FPS
from pose_priors.configs.base import UserError
from pose_priors.datamodules.motion_data import load_clips
from pose_priors.datamodules.synthetic import synthetic_motions

_NUM_POSES, _NUM_VALIDATION = 100, 50
_DEGREES = (2, 5, 10)
_WEIGHTS = (0.1, 0.3, 1.0, 3.0)
_MAX_STEPS = 60
# radians by which priors are smoothed before they are taken as they are
_NOISES = tuple(math.radians(std) for std in (20, 8))
_NUM_MOTIONS, NUM_VALIDATION_MOTIONS, _NUM_FRAMES = 4, 2, 60
# a prior of poses takes the frames of a motion for independent, which they are far from
_MOTION_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
_MAX_MOTION_STEPS = 40

SEED = 19


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Errors that are left of noise in rotations, in joints, and, of bodies, in the joints of motions, whose fingers do not move."""
    skeleton = Skeleton(data)
    of_poses = [_rotations(candidates, data, skeleton), _joints(candidates, data, skeleton)]
    return of_poses if hand_of(data.joint_indices) else [*of_poses, _motions(candidates, data, skeleton)]


def _rotations(candidates: Sequence[Candidate], data: BenchmarkData, skeleton: Skeleton) -> ResultTable:
    test, val = spread(data.test, _NUM_POSES), spread(data.val, _NUM_VALIDATION)
    levels = {f"{std} deg": (noisy_rotations(test, skeleton, std, SEED), noisy_rotations(val, skeleton, std, SEED + 1)) for std in _DEGREES}

    def error(pose: Tensor, truth: Tensor) -> Tensor:
        return degrees(pose, truth, skeleton.scored)

    scores, told = remaining_errors(candidates, skeleton, levels, error, _WEIGHTS, _MAX_STEPS, _NOISES)
    note = (
        f"The minimum of energy and exact negative log-likelihood of the noise, whose components have so many degrees each, by at most "
        f"{_MAX_STEPS} steps of L-BFGS from what is seen. Weight of the energy 1, or the best of {_WEIGHTS} on {len(val)} "
        "validation poses."
    )
    return _table("rotations", f"Denoising of rotations: degrees per scored joint, {len(test)} poses", scores, note, told)


def _joints(candidates: Sequence[Candidate], data: BenchmarkData, skeleton: Skeleton) -> ResultTable:
    test, val = spread(data.test, _NUM_POSES), spread(data.val, _NUM_VALIDATION)
    start = data.default_pose
    levels = {
        f"{std} mm": (noisy_joints(test, start, skeleton, std, SEED), noisy_joints(val, start, skeleton, std, SEED + 1))
        for std in skeleton.sight.levels_mm
    }
    scores, told = remaining_errors(candidates, skeleton, levels, skeleton.mpjpe, _WEIGHTS, _MAX_STEPS, _NOISES)
    note = "As above, from the mean training pose; components of the noise have so many millimetres each."
    return _table("joints", f"Denoising of joints: mm per joint, {len(test)} poses", scores, note, told)


def _motions(candidates: Sequence[Candidate], data: BenchmarkData, skeleton: Skeleton) -> ResultTable:
    val, test = motions(data).split([NUM_VALIDATION_MOTIONS, _NUM_MOTIONS])
    expected = float(torch.diff(skeleton.joints(val)[..., 1:, :], n=2, dim=1).square().mean().sqrt())
    start = data.default_pose
    levels = {
        f"{std} mm": (
            noisy_joints(test, start, skeleton, std, SEED, expected),
            noisy_joints(val, start, skeleton, std, SEED + 1, expected),
        )
        for std in skeleton.sight.levels_mm
    }
    scores, told = remaining_errors(candidates, skeleton, levels, skeleton.mpjpe, _MOTION_WEIGHTS, _MAX_MOTION_STEPS, _NOISES)
    note = (
        f"As above, by at most {_MAX_MOTION_STEPS} steps, with a normal likelihood of the joints' second differences, whose standard "
        f"deviation of {1000 * expected:.1f} mm is that of {len(val)} validation motions, by which the weight is chosen too, of "
        f"{_MOTION_WEIGHTS}. Motions are {'those of ' + data.motions if data.motions else 'built-in'}."
    )
    title = f"Denoising of motions: mm per joint, {len(test)} motions of {_NUM_FRAMES} frames at {FPS:.0f} a second"
    return _table("motions", title, scores, note, told)


def motions(data: BenchmarkData) -> Tensor:
    """Pieces of motions (N, 60, 55, 3) float64, those that settings are chosen by first; fingers and face hold the mean training pose.

    They are of the data's motion files, or else built-in. Raises `UserError` if the files hold too little.
    """
    num = NUM_VALIDATION_MOTIONS + _NUM_MOTIONS
    if data.motions is None:
        clips = [motion.pose for motion in synthetic_motions(num, FPS, SEED)]
    else:
        clips = [clip.pose for clip in load_clips(data.motions)]
    pieces = [piece for clip in clips for piece in clip.split(_NUM_FRAMES) if len(piece) == _NUM_FRAMES]
    if len(pieces) < num:
        raise UserError(f"--motions: '{data.motions}' has {len(pieces)} pieces of {_NUM_FRAMES} frames at {FPS:.0f} a second; give {num}")
    picked = spread(torch.stack(pieces).double(), num)
    filled = data.default_pose.expand(*picked.shape[:2], -1, -1).clone()
    filled[..., : picked.shape[-2], :] = picked
    return filled


def _table(key: str, title: str, scores: dict[str, dict[str, Tensor | None]], *notes: str) -> ResultTable:
    return table_of_scores(f"denoising_{key}", title, scores, *notes)
