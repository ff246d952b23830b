"""Trained motion priors on held-out clips: their scores, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import joints_of
from pose_priors.figures.drawing import draw_curves, draw_motions
from pose_priors.priors.motion.cvae import MotionCVAE
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.scores import pieces, restoration_scores
from pose_priors.priors.motion.scores import (
    SCALES,
    contact_f1,
    negative_auroc,
    one_step_errors,
    rollout_errors,
    scale_curve,
    scale_scores,
    transition_scores,
)

_NUM_DRAWN = 4
_CHUNK = 64


def score_motions(prior: MotionCVAE, clips: Mapping[str, MotionWindows]) -> tuple[dict[str, Any], Tensor]:
    """All scores of a motion prior on clips by their names, see `motion.scores`, and the curve (C, S) over `SCALES`."""
    motions = list(clips.values())
    curve = scale_curve(prior, motions)
    scores: dict[str, Any] = {"plausibility": float(torch.cat(transition_scores(prior, motions)).mean())}
    scores |= one_step_errors(prior, motions) | rollout_errors(prior, motions) | contact_f1(prior, motions) | negative_auroc(prior, motions)
    scores |= scale_scores(curve, motions)
    peaks = {name: round(float(scale), 3) for name, scale in zip(clips, SCALES[curve.argmax(1)], strict=True)}
    return scores | {"num_clips": len(clips), "scales": peaks}, curve


@torch.no_grad()
def score_clips(prior: MotionFlow, clips: Mapping[str, MotionWindows]) -> dict[str, Any]:
    """All scores of a prior of clips on clips by their names: those of `flow.scores`, and the energy of real pieces."""
    windows = pieces(list(clips.values()))
    parts = zip(*(value.split(_CHUNK) for value in (windows.pose, windows.pelvis, windows.rest, windows.contacts)), strict=True)
    energy = torch.cat([prior.energy(MotionWindows(*part)) for part in parts])
    return {"energy": float(energy.mean()), **restoration_scores(prior, list(clips.values())), "num_clips": len(clips)}


def draw_samples(prior: MotionCVAE | MotionFlow) -> Any:
    """A figure of motions drawn from the prior, the same ones each time; None if it has no states to start from."""
    if isinstance(prior, MotionCVAE) and not prior.seeds.any():
        return None
    states = prior.sample(_NUM_DRAWN, torch.Generator(prior.leg.device).manual_seed(0))
    return draw_motions(joints_of(states))


def plot_scales(clips: Mapping[str, MotionWindows], curve: Tensor, output: Path, name: str) -> None:
    """Writes the likelihood over the scale of each clip's path."""
    curves = dict(zip(clips, curve - curve.max(1, keepdim=True).values, strict=True))
    draw_curves(SCALES, curves, "scale of the path over the floor", "log-likelihood [nats a transition]", mark=1.0).savefig(
        output / f"scale_{name}.png", dpi=120
    )


def plot_samples(prior: MotionCVAE | MotionFlow, output: Path, name: str) -> None:
    """Writes a picture of sampled motions, where the prior can draw any."""
    if (figure := draw_samples(prior)) is not None:
        figure.savefig(output / f"samples_{name}.png", dpi=120)
