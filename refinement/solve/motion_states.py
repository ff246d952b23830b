"""A scene as a motion prior sees it: people at 30 frames a second, z up from the floor, in the size of body that the prior knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_priors.body.motion import leg_length
from pose_priors.body.motion_state import FPS, NUM_JOINTS, make_states
from pose_priors.body.pinhole import to_camera
from pose_priors.body.rotations import between, slerp
from pose_priors.priors import MotionPrior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import Scene, camera_centres

# Frames of a clip that one at 30 a second may miss and still be taken to fall on.
_SAME = 1e-4
LEAST_MOVEMENT = 0.01
"""Of the depth of the scene: cameras that move by less leave every person where she is, whatever the scale."""


class ClipMotionPrior(nn.Module):
    """A motion prior on one clip: how it sees the people there, and whether their motions tell it the scale.

    A module, so that whatever of it is tensors goes to the device of the module that holds it.

    Args:
        problem: what is given.
        prior: frozen.
        horizon: frames of the clip that are looked at, from the first on; None for all.
    Attributes:
        view: makes the prior's states of a scene.
        movement: how far the cameras move, as a fraction of the scene's depth.
    """

    prior: MotionPrior
    view: MotionView

    def __init__(self, problem: Problem, prior: MotionPrior, horizon: int | None = None) -> None:
        super().__init__()
        self.prior, self.view, self.movement = prior, MotionView(problem, prior, horizon), camera_movement(problem)

    @property
    def scale_is_observable(self) -> bool:
        """Whether the cameras move enough for motions to tell the scale."""
        return self.movement >= LEAST_MOVEMENT


def camera_movement(problem: Problem) -> float:
    """How far the cameras move, from end to end of the box that they stay in, as a fraction of the median depth of the people."""
    seen = (problem.alive | problem.typical).any(0)
    centres = camera_centres(problem.cameras)[seen] * problem.start.alpha0
    depth = to_camera(problem.start.pelvis[:, :, None], problem.cameras.w2c, problem.start.alpha0)[..., 0, 2]
    return float((centres.amax(0) - centres.amin(0)).norm() / depth[problem.typical].median())


def scale_shows(problem: Problem) -> bool:
    """Whether the cameras move enough for people's places in the world to hang on the scale."""
    return camera_movement(problem) >= LEAST_MOVEMENT


class MotionView(nn.Module):
    """How the states of a problem's people are made, and which of their transitions count.

    People are measured in lengths of their own legs, times those of the prior's bodies, so that the prior judges how they move for their
    size and has no say in the size itself. A prior that knows bodies of all sizes gets them as they are.

    Args:
        problem: what is given.
        prior: frozen.
        horizon: frames of the clip that are looked at, from the first on; None for all.
    Attributes:
        alive: (P, T) bool, of the frames at 30 a second.
        valid: (P, T - 3) bool, transitions between states whose neighbours, which tell their velocities, are there as well.
    Raises:
        ValueError: if the bodies lack one of the 22 joints.
    """

    places: Tensor
    left: Tensor
    right: Tensor
    share: Tensor
    alive: Tensor
    valid: Tensor

    def __init__(self, problem: Problem, prior: MotionPrior, horizon: int | None = None) -> None:
        super().__init__()
        index = problem.bodies.smplx_index
        if any(joint not in index for joint in range(NUM_JOINTS)):
            raise ValueError("the bodies lack joints of the motion prior")
        self.leg = float(prior.leg) or None
        self.rate = problem.fps / FPS
        frames = problem.alive.shape[1]
        self.num_frames = int((frames - 1) / self.rate + _SAME) + 1
        at = torch.arange(self.num_frames, dtype=torch.float64, device=problem.alive.device) * self.rate
        at = torch.where((at - at.round()).abs() < _SAME, at.round(), at)
        left = at.floor().long().clamp_max(frames - 1)
        right = at.ceil().long().clamp_max(frames - 1)
        known = problem.alive[:, left] & problem.alive[:, right]
        if horizon is not None:
            known = known & (at < horizon)

        def keep(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        keep("places", torch.tensor([index.index(joint) for joint in range(NUM_JOINTS)], device=problem.alive.device))
        keep("left", left)
        keep("right", right)
        keep("share", (at - left).to(problem.start.pelvis))
        keep("alive", known)
        keep("valid", known.unfold(1, 4, 1).all(-1) if self.num_frames > 3 else known[:, :0])

    def states(self, scene: Scene, joints: Tensor | None = None) -> Tensor:
        """(P, T - 2, 339) of all frames but the first and last.

        Args:
            joints: (P, T, J, 3) metres, instead of the scene's.
        """
        joints = (scene.joints if joints is None else joints)[:, :, self.places]
        rotvec = scene.rotvec[:, :, self.places]
        as_it_is = (1 / scene.growth).expand(len(joints))
        scale = as_it_is if self.leg is None else self.leg / leg_length(scene.rest_joints[:, self.places])
        up = between(scene.normal, scene.normal.new_tensor([0.0, 0.0, 1.0]))
        floor = torch.cat([scene.normal.new_zeros(2), scene.offset[None]])
        points = (joints @ up.T + floor) * scale[:, None, None, None]
        return make_states(*self._resampled(rotvec, points), turn=up)[:, 1:-1]

    def _resampled(self, rotvec: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        if self.rate == 1:
            return rotvec, points
        share = self.share[:, None, None]
        a, b = points[:, self.left], points[:, self.right]
        return slerp(rotvec[:, self.left], rotvec[:, self.right], share), a + (b - a) * share

    def nearest(self, num_frames: int) -> tuple[Tensor, Tensor]:
        """For each person and frame of the clip, the transition of hers (of T - 3) that ends nearest to it, and whether it is among the
        frames that her transitions are seen on: (P, num_frames) each."""
        at = torch.arange(num_frames, device=self.left.device) / self.rate
        at = at.round().long().clamp_max(self.num_frames - 1)
        last = self.valid.shape[1] - 1
        first_valid, last_valid = self.valid.int().argmax(1), last - self.valid.flip(1).int().argmax(1)
        nearest = torch.maximum(torch.minimum(at - 2, last_valid[:, None]), first_valid[:, None])
        return nearest, self.alive[:, at] & self.valid.any(1, keepdim=True)
