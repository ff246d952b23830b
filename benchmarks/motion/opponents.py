"""What a prior of clips has to beat: interpolation, a smoother, and priors that see one pose at a time."""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

import roma
import torch
from torch import Tensor

from pose_priors.body.motion import MotionWindows, posed_joints
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import NUM_JOINTS as NUM_ALL
from pose_priors.datamodules.clips import Clip
from pose_priors.priors.mixture import Mixture, MixtureConfig
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.scores import Restore, Task, interpolated

_MAX_POSES = 4000
_CHUNK = 256


class CompletesToMean(Protocol):
    """A prior of poses that tells the mean of what is hidden."""

    def complete_point(self, pose: Tensor, visible: Tensor) -> Tensor:
        """(B, 55, 3) rotation vectors and which joints are visible, (B, 55) bool -> (B, 55, 3)."""


def by_interpolation(task: Task, windows: MotionWindows) -> Tensor:
    """Slerp and lerp between the frames on which all is seen; see `scores.interpolated`."""
    return interpolated(task, windows.rest)


def process_alone(prior: MotionFlow) -> MotionFlow:
    """The Gaussian process of a prior without what its networks have learnt."""
    alone = deepcopy(prior)
    alone.denoiser.regression = None
    with torch.no_grad():
        for layer in (alone.denoiser.network.last.weight, alone.denoiser.network.last.bias):
            layer.zero_()
    return alone


def fit_pose_prior(clips: list[Clip]) -> Mixture:
    """The mixture of kernels and Gaussians of `priors.mixture`, with its default options, of the poses of training clips."""
    poses = torch.cat([clip.pose for clip in clips])
    poses = poses[torch.linspace(0, len(poses) - 1, min(len(poses), _MAX_POSES)).round().long()]
    filled = torch.zeros(len(poses), NUM_ALL, 3)
    filled[:, :NUM_JOINTS] = poses
    prior = MixtureConfig(kind="mixture").build(range(1, NUM_JOINTS))
    prior.fit_statistics(filled)
    return prior.eval()


def by_pose_prior(prior: CompletesToMean) -> Restore:
    """Hidden joints at their mean given those that are seen exactly on the same frame; the root and its place are known."""

    def restore(task: Task, windows: MotionWindows) -> Tensor:
        rotvec = roma.rotmat_to_rotvec(task.motion.rotations)
        pose = rotvec.new_zeros(*rotvec.shape[:2], NUM_ALL, 3)
        pose[..., :NUM_JOINTS, :] = rotvec
        visible = torch.ones(pose.shape[:-1], dtype=torch.bool)
        visible[..., :NUM_JOINTS] = task.noise.rotations == 0
        rows = zip(pose.flatten(0, 1).split(_CHUNK), visible.flatten(0, 1).split(_CHUNK), strict=True)
        done = torch.cat([prior.complete_point(*row) for row in rows]).view(pose.shape)
        return posed_joints(done[..., :NUM_JOINTS, :].to(windows.rest), task.motion.joints[..., 0, :], windows.rest[:, None])

    return restore
