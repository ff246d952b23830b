"""The numbers that motion priors are judged by, on held-out clips.

A clip is a `MotionWindows` of one window, as long as the clip is. States are those of all its frames but the first and last. Where a number
is compared with constant velocity, that is each joint going on at the velocity that the state holds, as the prior sees it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS, FPS, NUM_JOINTS, STATE, joints_of
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.priors.motion.base import Criterion
from pose_priors.priors.motion.cvae import MotionCVAE
from pose_priors.priors.motion.negatives import at_times

_CHUNK = 4096
_ROLLOUT_S, _ROLLOUT_EVERY = 1.0, 5
_FEET = [i for i, joint in enumerate(CONTACT_JOINTS) if JOINT_NAMES[joint].endswith(("ankle", "foot"))]
_SECOND = round(FPS)
_LEAST_PIECE = 10  # transitions of a rest that still counts as a piece of a second
_TOUCHING = 0.5
_LIFT_M = 0.05
SCALES = torch.linspace(0.8, 1.25, 19)
"""Factors, 0.025 apart, by which `scale_scores` makes paths longer and shorter."""
_NEAR = 0.05
_TRAVELLING = 0.4  # m/s, mean speed of the pelvis over the floor from which a clip says something about scale


@torch.no_grad()
def one_step_errors(prior: MotionCVAE, clips: Sequence[MotionWindows]) -> dict[str, float]:
    """Mean distance in mm of all joints one frame ahead, predicted by the prior's mean and by constant velocity, and the ratio of both."""
    before, after, _ = _transitions(clips)
    predicted = _in_chunks(lambda states: joints_of(prior.step(states)[0]), prior, before)
    return _against_constant_velocity("one_step", predicted, before, after, 1 / FPS)


@torch.no_grad()
def rollout_errors(prior: MotionCVAE, clips: Sequence[MotionWindows]) -> dict[str, float | None]:
    """As `one_step_errors`, one second ahead by a rollout along the prior's mean, from every fifth frame; None without long clips."""
    num_steps = round(_ROLLOUT_S * FPS)
    all_states = [clip.states()[0] for clip in clips]
    starts = torch.cat([states[: len(states) - num_steps : _ROLLOUT_EVERY] for states in all_states if len(states) > num_steps] or [_NONE])
    ends = torch.cat([states[num_steps::_ROLLOUT_EVERY] for states in all_states] or [_NONE])
    if not len(starts):
        return dict.fromkeys(("rollout_mm", "rollout_constant_velocity_mm", "rollout_ratio"))
    predicted = _in_chunks(lambda states: joints_of(prior.rollout(states, num_steps)[0][:, -1]), prior, starts)
    return {**_against_constant_velocity("rollout", predicted, starts, ends, _ROLLOUT_S)}


@torch.no_grad()
def contact_f1(prior: MotionCVAE, clips: Sequence[MotionWindows]) -> dict[str, float]:
    """F1 score of the contacts that the prior expects, over all joints that may touch, and over ankles and balls of the feet alone."""
    before, after, contacts = _transitions(clips)
    found = _in_chunks(lambda states: prior.contact_probabilities(states)[:, 0] > _TOUCHING, prior, torch.stack([before, after], 1))

    def score(columns: slice | list[int]) -> float:
        return float(f1_score(contacts[:, columns].flatten(), found[:, columns].flatten(), zero_division=0.0))

    return {"contact_f1": score(slice(None)), "contact_f1_feet": score(_FEET)}


@torch.no_grad()
def transition_scores(prior: MotionCVAE, clips: Sequence[MotionWindows], by: Criterion = "contrast") -> list[Tensor]:
    """How plausible the transitions of each clip of T frames are, (T - 3,) nats, no log-densities."""
    before, after, _ = _transitions(clips)
    scores = _in_chunks(lambda pairs: prior.transition_plausibility(pairs, by)[:, 0], prior, torch.stack([before, after], 1))
    return list(scores.split([clip.pose.shape[1] - 3 for clip in clips]))


def negative_auroc(prior: MotionCVAE, clips: Sequence[MotionWindows]) -> dict[str, float]:
    """Area under the ROC curve of the mean plausibility, real against each of `NEGATIVES`: of pieces of a second, and of whole clips."""
    real = transition_scores(prior, clips)
    values = {}
    for name, make in NEGATIVES.items():
        negative = transition_scores(prior, [make(clip) for clip in clips])
        for kind, pieces in (("second", _seconds), ("clip", list)):
            means = [[float(piece.mean()) for piece in pieces(scores)] for scores in (real, negative)]
            labels = [1] * len(means[0]) + [0] * len(means[1])
            values[f"auroc_{name}_{kind}"] = float(roc_auc_score(labels, means[0] + means[1]))
    return values


def scale_curve(prior: MotionCVAE, clips: Sequence[MotionWindows], scales: Tensor = SCALES) -> Tensor:
    """Mean stance (C, S) of the transitions of each clip whose path over the floor is longer by S factors, the body as it is."""
    return torch.stack(
        [torch.stack([s.mean() for s in transition_scores(prior, [scaled(c, float(f)) for c in clips], by="stance")]) for f in scales],
        1,
    )


def scale_scores(curve: Tensor, clips: Sequence[MotionWindows]) -> dict[str, Any]:
    """What a curve (C, S) over `SCALES` says: the scale of the highest plausibility, of the clips that travel at 0.4 m/s or more.

    Returns:
        `scale_clips`, how many travel; `scale_within_5_percent`, the share of them whose scale is; `scale_median`; None without any.
    """
    travelling = torch.tensor([speed_over_floor(clip) >= _TRAVELLING for clip in clips], dtype=torch.bool)
    peaks = SCALES[curve.argmax(1)][travelling]
    if not len(peaks):
        return {"scale_clips": 0, "scale_within_5_percent": None, "scale_median": None}
    near = (peaks - 1).abs() <= _NEAR + 1e-6
    return {"scale_clips": len(peaks), "scale_within_5_percent": float(near.float().mean()), "scale_median": float(peaks.median())}


def speed_over_floor(clip: MotionWindows) -> float:
    """Mean horizontal speed of the pelvis in m/s."""
    return float(torch.diff(clip.pelvis[0, :, :2], dim=0).norm(dim=-1).mean()) * FPS


def backwards(clip: MotionWindows) -> MotionWindows:
    """The motion played backwards."""
    return MotionWindows(clip.pose.flip(1), clip.pelvis.flip(1), clip.rest, clip.contacts.flip(1))


def at_speed(clip: MotionWindows, factor: float) -> MotionWindows:
    """The motion played so many times as fast, in steps of the same length."""
    at = torch.arange(0, clip.pose.shape[1] - 1 + 1e-6, factor)
    pose, pelvis = at_times(clip, at[None])
    return MotionWindows(pose, pelvis, clip.rest, clip.contacts[:, at.round().long()])


def lifted(clip: MotionWindows) -> MotionWindows:
    """The motion 5 cm above the floor."""
    return replace(clip, pelvis=clip.pelvis + clip.pelvis.new_tensor([0.0, 0.0, _LIFT_M]))


def scaled(clip: MotionWindows, factor: float) -> MotionWindows:
    """The motion with its path over the floor so many times as long."""
    return replace(clip, pelvis=clip.pelvis * clip.pelvis.new_tensor([factor, factor, 1.0]))


NEGATIVES: dict[str, Callable[[MotionWindows], MotionWindows]] = {
    "reversed": backwards,
    "slower_0.7": lambda clip: at_speed(clip, 0.7),
    "faster_1.4": lambda clip: at_speed(clip, 1.4),
    "lifted_5cm": lifted,
}
"""What is done to a motion so that a prior should find it less likely."""

_NONE = torch.zeros(0, STATE["joints_vel"].stop)


def _transitions(clips: Sequence[MotionWindows]) -> tuple[Tensor, Tensor, Tensor]:
    """All states (N, 339) that have one after them, those (N, 339), and the contacts there (N, 9)."""
    states = [clip.states()[0] for clip in clips]
    before, after = torch.cat([s[:-1] for s in states]), torch.cat([s[1:] for s in states])
    return before, after, torch.cat([clip.contacts[0, 2:-1] for clip in clips])


def _in_chunks(function: Callable[[Tensor], Tensor], prior: MotionCVAE, states: Tensor) -> Tensor:
    """A function of rows, on the prior's device in its precision, in chunks of bounded memory; the result is on the CPU."""
    like = next(prior.parameters())
    return torch.cat([function(chunk.to(like)).cpu() for chunk in states.split(_CHUNK)])


def _against_constant_velocity(name: str, predicted: Tensor, before: Tensor, after: Tensor, seconds: float) -> dict[str, float]:
    velocity = before[:, STATE["joints_vel"]].unflatten(-1, (NUM_JOINTS, 3))
    truth = joints_of(after)
    ours, theirs = (float((joints - truth).norm(dim=-1).mean()) * 1000 for joints in (predicted, joints_of(before) + velocity * seconds))
    return {f"{name}_mm": ours, f"{name}_constant_velocity_mm": theirs, f"{name}_ratio": ours / max(theirs, 1e-9)}


def _seconds(scores: Sequence[Tensor]) -> list[Tensor]:
    return [piece for of_clip in scores for piece in of_clip.split(_SECOND) if len(piece) >= _LEAST_PIECE]
