"""The numbers that a prior of clips is judged by: what it leaves of noise, gaps and hidden limbs, on held-out clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.body.motion import MotionWindows, posed_joints
from pose_priors.body.motion_state import FPS, NUM_JOINTS
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.priors.motion.flow.planting import FEET
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import Motion, Noise, exact, motion_of_windows

NOISES_MM, GAPS = (20, 40, 100), (10, 20, 40)
"""Of the noise in joints, millimetres; and lengths of gaps, frames."""
LEGS = [joint for joint in range(NUM_JOINTS) if JOINT_NAMES[joint].endswith(("hip", "knee", "ankle", "foot"))]
_SHARE_HIDDEN, _NOISE_ELSEWHERE_M = 0.1, 0.04
_SEED = 5


@dataclass(frozen=True)
class Task:
    """What is seen of held-out windows, and where errors are counted.

    Attributes:
        motion: (N, T, ...), with noise where there is any.
        noise: how much.
        counted: (N, T, 22) bool, the joints whose errors count.
    """

    motion: Motion
    noise: Noise
    counted: Tensor


def pieces(clips: Sequence[MotionWindows], num_frames: int = 60) -> MotionWindows:
    """All pieces (N, num_frames) of clips, one after the other. Raises `ValueError` if there are none."""
    parts = [
        (
            clip.pose[0, first : first + num_frames],
            clip.pelvis[0, first : first + num_frames],
            clip.rest[0],
            clip.contacts[0, first : first + num_frames],
        )
        for clip in clips
        for first in range(0, clip.pose.shape[1] - num_frames + 1, num_frames)
    ]
    if not parts:
        raise ValueError(f"no clip has {num_frames} frames")
    return MotionWindows(*map(torch.stack, zip(*parts, strict=True)))


def tasks(truth: Motion) -> dict[str, Task]:
    """All tasks on windows of 60 frames by their names, with the same noise each time."""
    generator = torch.Generator().manual_seed(_SEED)
    shape = truth.joints.shape[:3]
    nothing = Noise.of(torch.full(shape, torch.inf), torch.zeros(shape))
    body = torch.ones(shape, dtype=torch.bool)
    body[..., 0] = False
    found = {}
    for noise in NOISES_MM:
        found[f"denoise_{noise}mm"] = Task(*_noisy(truth, nothing, noise / 1000, generator), body)
    for gap in GAPS:
        frames = torch.zeros(shape, dtype=torch.bool)
        first = (shape[1] - gap) // 2
        frames[:, first : first + gap] = True
        found[f"gap_{gap}"] = Task(truth, hiding(exact(truth), frames), frames)
    legs = torch.zeros(shape, dtype=torch.bool)
    legs[..., LEGS] = True
    found["legs_hidden"] = Task(truth, hiding(exact(truth), legs), legs)
    some = (torch.rand(shape[:2], generator=generator).argsort(1) < round(_SHARE_HIDDEN * shape[1]))[..., None].expand(shape)
    noisy, noise_of = _noisy(truth, nothing, _NOISE_ELSEWHERE_M, generator)
    found["frames_hidden"] = Task(noisy, hiding(noise_of, some & body), some & body)
    return found


def _noisy(truth: Motion, nothing: Noise, std: float, generator: torch.Generator) -> tuple[Motion, Noise]:
    """Joints with noise from a pelvis that is known, as is the root's rotation; of other rotations nothing."""
    moved = std * torch.randn(truth.joints.shape, generator=generator).to(truth.joints)
    moved[..., 0, :] = 0
    of_joints = torch.full_like(nothing.joints, std)
    of_joints[..., 0] = 0
    of_rotations = nothing.rotations.clone()
    of_rotations[..., 0] = 0
    return Motion(truth.rotations, truth.joints + moved), Noise.of(of_rotations, of_joints)


def hiding(noise: Noise, hidden: Tensor) -> Noise:
    """The noise with joints (N, T, 22) hidden as well."""
    rotations, joints = (value.masked_fill(hidden, torch.inf) for value in (noise.rotations, noise.joints))
    return Noise(rotations, joints, noise.contacts, noise.path)


def errors_mm(joints: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """(N,) mean distances in mm of the joints (N, T, 22, 3) of windows that count."""
    apart = torch.linalg.vector_norm(joints - truth, dim=-1)
    means: Tensor = 1000 * (apart * counted).flatten(1).sum(1) / counted.flatten(1).sum(1)
    return means


def interpolated(task: Task, rest: Tensor) -> Tensor:
    """Joints (N, T, 22, 3) by slerp of rotations and lerp of the pelvis between the frames on which the whole body is seen."""
    outcome = []
    for row in range(len(rest)):
        seen = (task.noise.joints[row] == 0).all(-1).numpy()
        pose = slerp_missing(conversions.rotmat_to_rotvec(task.motion.rotations[row].double()).numpy(), seen)
        pelvis = lerp_missing(task.motion.joints[row, :, 0].double().numpy(), seen)
        outcome.append(posed_joints(torch.from_numpy(pose), torch.from_numpy(pelvis), rest[row, None].double()))
    return torch.stack(outcome).to(rest)


def sliding(joints: Tensor, contacts: Tensor, counted: Tensor) -> float:
    """Mean speed over the floor in m/s of ankles and balls of the feet (N, T, 22, 3) where the true motion's (N, T, 9) touch, on frames
    (N, T) that count."""
    speed = torch.linalg.vector_norm(torch.diff(joints[..., [joint for _, joint in FEET], :2], dim=1), dim=-1) * FPS
    touching = contacts[..., [i for i, _ in FEET]].bool() & counted[..., None]
    both = touching[:, 1:] & touching[:, :-1]
    return float((speed * both).sum() / both.sum().clamp_min(1))


Restore = Callable[[Task, MotionWindows], Tensor]
"""What makes joints (N, T, 22, 3) of what is seen of windows, which tell the skeletons."""


def by_prior(prior: MotionFlow) -> Restore:
    """What a prior expects."""
    return lambda task, windows: prior.restore(task.motion, task.noise, bones_of_rest(windows.rest)).motion.joints


@torch.no_grad()
def restoration_scores(prior: MotionFlow, clips: Sequence[MotionWindows], names: Sequence[str] = ()) -> dict[str, float]:
    """Mean errors in mm for each of `tasks`, or those of some names; of gaps over that of slerp and lerp, too, and the sliding of feet."""
    windows = pieces(clips)
    truth = motion_of_windows(windows)
    found: dict[str, float] = {}
    for name, task in tasks(truth).items():
        if names and name not in names:
            continue
        restored = by_prior(prior)(task, windows)
        found[f"{name}_mm"] = float(errors_mm(restored, truth.joints, task.counted).mean())
        if name.startswith("gap"):
            by_lerp = interpolated(task, windows.rest)
            found[f"{name}_ratio"] = found[f"{name}_mm"] / float(errors_mm(by_lerp, truth.joints, task.counted).mean())
            frames = task.counted.any(-1)
            found[f"{name}_sliding"] = sliding(restored, windows.contacts, frames)
            found[f"{name}_sliding_truth"] = sliding(truth.joints, windows.contacts, frames)
    return found
