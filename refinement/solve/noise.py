"""How noisy the input is, read from the input itself.

Motion is smooth at 30 frames a second and noise is not: differences of high order suppress the first and amplify the second, so that the
median of their size tells the white part of the noise (the estimator of Gasser, Sroka & Jennen-Steinmetz, "Residual Variance and Residual
Pattern in Nonlinear Regression", Biometrika 73, 1986, made robust). Differences of the fourth order still take fast motion for noise: a
quarter of a pixel of it in a clip that has none, and half as much again as there is at 15 frames a second. Those of the sixth see an
outlier on seven frames instead of five. Both err towards more, so that the lesser is nearer. Terms divide by these levels, hence clean
input stays clean and noisy input is smoothed, by one rule.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import height_in_image, mean_of_joints, project, start_joints_in_cameras

# Of the differences.
_ORDERS = (4, 6)
# Values of which a median tells something; and those from which on differences of another order are asked as well, since the lesser of two
# medians of few values is less than either should be.
_FEW, _ENOUGH = 20, 100
# a median of |N(0, 1)|
_MEDIAN_ABS_NORMAL = 0.6745
# What cannot be told from rounding or from motion itself: a tenth of a pixel, a twentieth of a degree, a thousandth of a depth.
_FLOOR_PX, _FLOOR_RAD, _FLOOR_DEPTH = 0.1, 0.001, 0.001
_USUAL_PX, _USUAL_RAD, _USUAL_DEPTH = 3.0, 0.01, 0.005
_EXPLAINED_BIAS = 0.025
# Stage 3's reprojection error as a fraction of the body's height in the image: the least that can be told, and what is usual.
_FLOOR_BIAS, _USUAL_BIAS = 0.0005, 0.013
# Of a keypoint's noise: bodies that are nearer to them were projected into them. Where there is no noise to speak of, in pixels, all are.
_PROJECTED, _NOISY_PX = 0.3, 0.3

SLOW_ERROR = 1.25
"""What fitted bodies miss keypoints by, in units of their white noise, from which on they err slowly as well."""
# Of their noise, what keypoints are off by in places alone, from which on that is so: with white noise they are off by 1.25 times as much.
_PLACED = 0.75


@dataclass(frozen=True)
class NoiseLevels:
    """Standard deviations of the white part of the input's noise.

    Attributes:
        keypoint_px: of a keypoint's coordinate; at least what detected points and joints differ by.
        rotation_rad: of one component of a joint's rotation in stage 3, the body's joints only.
        hand_rotation_rad: the same of the fingers, which another network sees, at fewer pixels.
        depth_ratio: of a reading of the depth map, as a fraction of the depth.
        bias: of the slow part of stage 3's error, as it shows in the image, as a fraction of the body's height there.
        projected: whether keypoints lie on stage 3's joints by far nearer than they are noisy: they are its bodies projected, and say of
            its error nothing.
        slow_keypoints: how many times its white noise a keypoint is off by where it also errs slowly, `keypoint_px` being that much then; 1
            where it does not.
        asked: whether keypoints have been asked for that.
        placed_px: what keypoints are off by, slowly, since the points of their format are no joints; it is part of `keypoint_px`.
    """

    keypoint_px: float
    rotation_rad: float
    hand_rotation_rad: float
    depth_ratio: float
    bias: float
    projected: bool = False
    slow_keypoints: float = 1.0
    asked: bool = False
    placed_px: float = 0.0

    @property
    def keypoints_decide(self) -> bool:
        """Whether keypoints are known to be off by white noise alone, so that many frames of them tell more than one."""
        return self.asked and not self.projected and self.slow_keypoints == 1 and self.placed_px < _PLACED * self.keypoint_px


def white_noise(series: Tensor, valid: Tensor) -> float:
    """Robust standard deviation of the white part of many time series; nan where stretches of 5 valid frames hold hardly any.

    Args:
        series: (..., T, N) along time.
        valid: (..., T, N) bool.
    """
    return _robust_level(series, valid)


def estimate_noise(problem: Problem) -> NoiseLevels:
    """Noise of a problem's keypoints, rotations and depths."""
    seen = problem.observations
    valid = (seen.keypoint_confidence > 0).transpose(1, 2)[..., None].expand(-1, -1, -1, 2)
    height_px = _typical_height(problem)
    placed = seen.keypoint_error * height_px
    keypoint = _sensible(white_noise(seen.keypoints.transpose(1, 2), valid), max(_FLOOR_PX, placed), _USUAL_PX)

    body, hands = (_rotation_level(problem, joints) for joints in (problem.bodies.body_joints, problem.bodies.hand_joints))

    ratio = torch.where(seen.joint_depth_confidence > 0, seen.joint_depth, torch.ones_like(seen.joint_depth)).log()
    depth = _sensible(white_noise(ratio, seen.joint_depth_confidence > 0), _FLOOR_DEPTH, _USUAL_DEPTH)
    misfit = keypoint_residual(problem, start_joints_in_cameras(problem))
    if keypoint > _NOISY_PX and misfit < _PROJECTED * keypoint:
        # they are off by what stage 3 is off by, which agreement with it does not tell
        return NoiseLevels(max(keypoint, _USUAL_BIAS * height_px), body, hands, depth, _USUAL_BIAS, projected=True, placed_px=placed)
    return NoiseLevels(keypoint, body, hands, depth, _slow_bias(problem, keypoint, misfit), placed_px=placed)


@torch.no_grad()
def keypoint_residual(problem: Problem, camera_joints: Tensor, person: int | None = None) -> float:
    """Robust standard deviation in pixels of what keypoints miss joints (P, T, J, 3) in the cameras by, of all people or of the row of one;
    nan without keypoints."""
    missed, used = (found if person is None else found[person] for found in _missed(problem, camera_joints))
    return _robust(missed[used]) if used.any() else math.nan


def with_slow_keypoints(noise: NoiseLevels, problem: Problem, camera_joints: Tensor) -> NoiseLevels:
    """The same levels; where bodies (P, T, J, 3) in the cameras that were fitted to keypoints by their white noise miss them by more than
    that, as much as they miss them by, and stage 3's error without it.

    Detectors are off by pixels that last for some frames, which differences over time do not show: fitted to those, bodies would be bent
    after them. To be done once, and not over and over: bodies that are held to keypoints less miss them by more.
    """
    if noise.asked:
        return noise
    missed = keypoint_residual(problem, camera_joints)
    if not missed > SLOW_ERROR * noise.keypoint_px:
        return replace(noise, asked=True)
    bias = min(noise.bias, max(_bias_of_joints(problem, missed), _USUAL_BIAS))
    return replace(noise, keypoint_px=missed, slow_keypoints=missed / noise.keypoint_px, asked=True, bias=bias)


def depth_bias_width(problem: Problem) -> Tensor:
    """(P,) standard deviation of what a person's depths are off by, all together, in the logarithm: what depth and floor disagree by beyond
    what feet that do not stand flat explain; 0 where they agree, and the depths count as they are."""
    found = problem.observations.depth_bias.abs().expand(len(problem.visible))
    return torch.where(found > _EXPLAINED_BIAS, found, 0)


def _rotation_level(problem: Problem, joints: Sequence[int]) -> float:
    """Of the rotations of some joints, the root not among them."""
    rotvec = problem.start.body_pose[:, :, [joint - 1 for joint in joints]]
    steps = conversions.rotvec_composition([-rotvec[:, :-1], rotvec[:, 1:]]).flatten(-2)
    both = (problem.visible[:, 1:] & problem.visible[:, :-1])[..., None].expand_as(steps)
    return _sensible(_robust_level(steps, both, differenced=1), _FLOOR_RAD, _USUAL_RAD)


@torch.no_grad()
def _missed(problem: Problem, camera_joints: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (P, T, K, 2) between keypoints and joints in the cameras, and (P, T, K) whether there is such a keypoint."""
    seen = problem.observations
    used = (seen.keypoint_confidence > 0) & problem.visible[..., None]
    return project(mean_of_joints(camera_joints, seen.keypoint_joints), problem.cameras) - seen.keypoints, used


def _robust(values: Tensor) -> float:
    """Standard deviation by the median, which ignores what is off altogether."""
    return float(values.abs().median() / _MEDIAN_ABS_NORMAL)


def _slow_bias(problem: Problem, keypoint_px: float, error: float) -> float:
    """What stage 3's reprojection error in pixels has beyond the noise of the keypoints.

    Some joints err by much more than others. Beside much noise of keypoints their squares weigh as in a mean, beside little a median passes
    over them; an unusual error is therefore taken joint by joint, where that makes it no less than usual.
    """
    if math.isnan(error):
        return _USUAL_BIAS
    together = max(math.sqrt(max(error**2 - keypoint_px**2, 0.0)) / _typical_height(problem), _FLOOR_BIAS)
    return min(together, max(_bias_of_joints(problem, keypoint_px), _USUAL_BIAS))


def _bias_of_joints(problem: Problem, keypoint_px: float) -> float:
    """The same of the median joint of all people; infinite where none is seen often enough."""
    missed, used = _missed(problem, start_joints_in_cameras(problem))
    cells = (missed[p, used[p, :, k], k] for p in range(used.shape[0]) for k in range(used.shape[2]))
    beyond = [max(_robust(cell) ** 2 - keypoint_px**2, 0.0) for cell in cells if len(cell) >= _FEW]
    return math.sqrt(statistics.median(beyond)) / _typical_height(problem) if beyond else math.inf


def _typical_height(problem: Problem) -> float:
    """Of a body in the image, in pixels."""
    return float(height_in_image(problem)[problem.typical].median())


def _robust_level(series: Tensor, valid: Tensor, *, differenced: int = 0) -> float:
    """As `white_noise`, of series that have been differenced so many times already."""
    found = list[float]()
    for order in _ORDERS:
        more = order - differenced
        if series.shape[-2] <= more:
            continue
        residual = torch.diff(series, n=more, dim=-2)[valid.unfold(-2, more + 1, 1).all(-1)]
        if residual.numel() >= (_ENOUGH if found else _FEW):
            gain = math.sqrt(sum(math.comb(order, k) ** 2 for k in range(order + 1)))
            found.append(_robust(residual) / gain)
    return min(found, default=math.nan)


def _sensible(value: float, floor: float, usual: float) -> float:
    """A level that is never below what can be told, and the usual one where there was nothing to measure."""
    return max(value, floor) if math.isfinite(value) else usual
