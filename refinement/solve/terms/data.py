"""What was seen: keypoints in the image, and the bodies that stage 3 saw."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.rates import within
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene, height_in_image, mean_of_joints, project, start_in_cameras
from pose_priors.refinement.solve.terms.base import Term, num_visible, per_person_frame, seen_for
from pose_priors.refinement.solve.terms.kernels import differences, geman_mcclure, squared_norm

_LASTS_S = 0.25  # for which a turn is hardly other than one that was told
_SURE = 0.3  # confidence of a keypoint that is believed by itself


class KeypointReprojection(Term):
    """Keypoints against the projected joints, with a Geman-McClure kernel as wide as a part of the body's size in the image."""

    name: ClassVar[str] = "keypoints"
    sigma_px: float
    """Noise of a keypoint's coordinate."""
    size_fraction: float = 0.1
    """Error, as a fraction of the body's height in the image, at which the kernel has reached half of its bound."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        offsets, bound, trust = self.offsets(scene, problem)
        return per_person_frame(geman_mcclure(squared_norm(offsets), bound), trust, num_visible(problem))

    def offsets(self, scene: Scene, problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
        """(P, T, K, 2) in units of the noise; the square (P, T, 1) at which the kernel bends; and the trust (P, T, K)."""
        pixels = project(mean_of_joints(scene.camera_joints, problem.observations.keypoint_joints), problem.cameras)
        return (pixels - _keypoints(problem)) / self.sigma_px, _bend(problem, self.size_fraction, self.sigma_px), _trust(problem)


@once
def _trust(problem: Problem) -> Tensor:
    """(P, T, K) confidence of keypoints, zero where nobody was seen."""
    confidence = problem.observations.keypoint_confidence
    return torch.where((confidence > 0) & problem.visible[..., None], confidence, 0)


@once
def _keypoints(problem: Problem) -> Tensor:
    """(P, T, K, 2) pixels, zero where nothing was seen, since they may be anything there."""
    return torch.where(_trust(problem)[..., None] > 0, problem.observations.keypoints, 0)


@once
def _bend(problem: Problem, size_fraction: float, sigma_px: float) -> Tensor:
    """(P, T, 1) the square at which the kernel of keypoints bends."""
    return (size_fraction * height_in_image(problem) / sigma_px).square()[..., None]


class StayNearPose(Term):
    """Stage 3's rotations, as an HMR network errs: a bias that drifts over many frames, and white noise on top.

    The bias bounds how far a joint may turn from stage 3; the noise bounds how fast that turn may change, since stage 3 knows motion better
    than place. A bias that lasts is told once and not anew by every frame. Yet each frame's counts in full where nothing else tells how a
    joint is turned: what poses are like in general counts on every frame, too, and would have its way there.
    """

    name: ClassVar[str] = "near_pose"
    noise_rad: float
    hand_noise_rad: float
    """Of the fingers, which are noisier than the body."""
    bias_rad: float
    drift: float = 0.66
    """Standard deviation of what the bias changes by in a second, as a fraction of it: 0.12 from frame to frame at 30 a second."""
    anew: float = 1.0
    """How often the bias counts on a frame on which keypoints tell how a joint is turned, where that makes it once in all."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        variance = self.variance_of_change(problem)
        place = 0.5 / self.bias_rad**2 * squared_norm(scene.turn)
        change = squared_norm(differences(scene.turn)) * (0.5 / variance)
        count = num_visible(problem)
        return per_person_frame(place, self.counts(problem), count) + per_person_frame(change, seen_for(problem, 2), count)

    def counts(self, problem: Problem) -> Tensor:
        """(P, T, J) how often the bias of each joint counts on a frame, 0 where nobody was seen."""
        return _counts(problem, self.anew)

    def variance_of_change(self, problem: Problem) -> Tensor:
        """(J,) radians squared by which each component of a joint's turn may change from frame to frame."""
        return _of_joints(problem, *(self._variance_of_change(noise, problem.fps) for noise in (self.noise_rad, self.hand_noise_rad)))

    def _variance_of_change(self, noise_rad: float, fps: float) -> float:
        """Radians squared, from frame to frame; a bias that wanders changes with the square root of the time."""
        return 2 * noise_rad**2 + (self.drift * self.bias_rad) ** 2 / fps


@once
def _counts(problem: Problem, anew: float) -> Tensor:
    """(P, T, J) 1 on frames on which somebody was seen; `anew`, and once in all at least, for joints, the root not among them, of a bone
    that is told within a quarter of a second: keypoints at both of its ends are believed by themselves. One that is farther down would be
    taken to its place by any of the turns above it."""
    sure, parents = _trust(problem) >= _SURE, problem.bodies.parents
    ends = torch.zeros(*sure.shape[:2], len(parents), dtype=torch.bool, device=sure.device)
    for k, joints in enumerate(problem.observations.keypoint_joints):
        ends[..., list(joints)] |= sure[..., k, None]
    told = torch.zeros_like(ends)
    for joint, parent in enumerate(parents):
        if parent > 0:
            told[..., parent] |= ends[..., parent] & ends[..., joint]
    near = within(told.transpose(1, 2), _LASTS_S, problem.fps).transpose(1, 2) & problem.visible[..., None]
    once_in_all = 1 / near.sum(1, keepdim=True).clamp_min(1).to(problem.start.pelvis)
    return torch.where(near, once_in_all.clamp_min(anew), 1.0) * problem.visible[..., None]


@once
def _of_joints(problem: Problem, body: float, hands: float) -> Tensor:
    """(J,) one value for joints of the body, and another for those of the hands."""
    start = problem.start.body_pose
    values = start.new_full((start.shape[2] + 1,), body)
    values[list(problem.bodies.hand_joints)] = hands
    return values


class StayNearScale(Term):
    """The unit of the cameras, as the tool that made them knows it: what holds the scale where neither depth nor the floor tells it.

    A moving camera tells it by how people would speed up and slow down with it, at another scale. That evidence is thin, and it is counted
    for each joint and frame, though what the scale changes moves all joints alike, and slowly: the tool's word has to count as often.
    """

    name: ClassVar[str] = "near_scale"
    sigma: float = 0.03
    """Standard deviation of the logarithm of the scale."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return 0.5 * self.residual(scene, problem).square() / num_visible(problem)

    def residual(self, scene: Scene, problem: Problem) -> Tensor:
        """() in units of its width."""
        return (scene.alpha / problem.start.alpha0).log() / self.sigma


class StayNearRoot(Term):
    """Stage 3's place of the pelvis in the camera: direction well known, depth badly."""

    name: ClassVar[str] = "near_root"
    depth: float
    """Standard deviation of the depth, as a fraction of it."""
    lateral: float
    """Standard deviation across the view, as a fraction of the depth."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return per_person_frame(0.5 * self.residuals(scene, problem).square(), problem.visible, num_visible(problem))

    def residuals(self, scene: Scene, problem: Problem) -> Tensor:
        """(P, T, 3) across the view, twice, and along it, in units of their widths."""
        depth, across = _view_of_start(problem)
        moved = (scene.camera_joints[:, :, 0] / scene.growth - start_in_cameras(problem)) / depth
        return (moved - across * moved[..., 2:]) / _widths(problem, self.lateral, self.depth)


@once
def _view_of_start(problem: Problem) -> tuple[Tensor, Tensor]:
    """Depths (P, T, 1) of the pelvis where the refinement starts, in metres, and how far across the view it stands, as a share of them,
    with 0 along it (P, T, 3)."""
    start = start_in_cameras(problem)
    depth = start[..., 2:].clamp_min(MIN_DEPTH)
    return depth, start / depth * start.new_tensor([1.0, 1.0, 0.0])


@once
def _widths(problem: Problem, lateral: float, depth: float) -> Tensor:
    """(3,) across the view, twice, and along it."""
    return problem.start.pelvis.new_tensor([lateral, lateral, depth])
