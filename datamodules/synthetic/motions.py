"""Motions from a seed, for training without licence or download: people of any stature who walk, turn, reach and sit down.

What they do is described in `walking`, `turning`, `reaching` and `sitting`; here it is drawn how much, how fast and how often.
"""

from __future__ import annotations

import numpy as np
import torch

from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import MIRROR
from pose_priors.datamodules.synthetic.legs_ik import BODY_JOINTS
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.reaching import Reach, reaching
from pose_priors.datamodules.synthetic.sitting import Sit, sitting
from pose_priors.datamodules.synthetic.turning import Turn, turning
from pose_priors.datamodules.synthetic.walking import Walk, walking

_KINDS = {"walking": 0.5, "turning": 0.15, "reaching": 0.2, "sitting": 0.15}
SECONDS = (2.0, 6.0)
"""The shortest and the longest clip."""
_STATURE_M, _STATURE_STD, _STATURES = 1.70, 0.09, (1.48, 1.98)
# metres a second: how often which mean and standard deviation
_SPEEDS = ((0.6, 1.3, 0.16), (0.2, 0.75, 0.13), (0.2, 1.62, 0.08))
_SPEED_BOUNDS = (0.5, 1.75)
# fractions of the stature: how often which heights of what is reached for, and how far before the ankles that is
_PLACES = {
    "shelf": (0.3, (0.80, 1.02), (0.18, 0.27)),
    "table": (0.4, (0.42, 0.60), (0.20, 0.32)),
    "floor": (0.3, (0.10, 0.28), (0.14, 0.26)),
}
_MIRROR = list(MIRROR[:BODY_JOINTS])


def synthetic_motions(num_clips: int, fps: float, seed: int) -> list[Motion]:
    """Draws clips of 2 to 6 seconds, each of one person who does one thing.

    Each clip has a seed of its own: it is the same however many are drawn, in whatever order they are made and on however many threads. A
    clip is as likely as its mirror image.

    Args:
        num_clips: how many.
        fps: frames a second.
        seed: the same seed gives the same clips.
    Raises:
        ValueError: if there is no clip to be made, or the frame rate is not above 10 a second.
    """
    if num_clips < 1:
        raise ValueError(f"num_clips must be at least 1; got {num_clips}")
    if not fps >= 10:
        raise ValueError(f"fps must be at least 10; got {fps}")
    return [_clip(np.random.default_rng((seed, index)), fps) for index in range(num_clips)]


def _clip(rng: np.random.Generator, fps: float) -> Motion:
    kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
    stature = float(np.clip(rng.normal(_STATURE_M, _STATURE_STD), *_STATURES))
    mirrored = rng.random() < 0.5
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    motion = _MAKERS[kind](rng, fps, stature, generator)
    pose, pelvis = motion.pose, motion.pelvis
    if mirrored:
        pose, pelvis = pose[:, _MIRROR] * pose.new_tensor([1.0, -1.0, -1.0]), pelvis * pelvis.new_tensor([-1.0, 1.0, 1.0])
    return Motion(canonicalize(pose), pelvis, stature, motion.kind)


def _walking(rng: np.random.Generator, fps: float, stature: float, generator: torch.Generator) -> Motion:
    chances, means, stds = zip(*_SPEEDS, strict=True)
    which = rng.choice(len(_SPEEDS), p=chances)
    begin = rng.normal(means[which], stds[which])
    end = begin * rng.uniform(0.75, 1.3) if rng.random() < 0.35 else begin
    starts, stops = rng.random(2) < 0.3
    seconds = rng.uniform(4.0 if starts and stops else 3.0 if starts or stops else SECONDS[0], SECONDS[1])
    straight = rng.random() < 0.4
    plan = Walk(
        speed=(float(np.clip(begin, *_SPEED_BOUNDS)), float(np.clip(end, *_SPEED_BOUNDS))),
        turn_deg=float(rng.normal(0, 3.0 if straight else 20.0)),
        corner_deg=0.0 if straight or rng.random() < 0.6 else float(rng.normal(0, 50.0)),
        starts=bool(starts),
        stops=bool(stops),
        gesturing=bool(rng.random() < 0.12),
        vigour=float(np.clip(rng.normal(1, 0.04), 0.9, 1.1)),
    )
    return walking(plan, round(seconds * fps), fps, stature, generator)


def _turning(rng: np.random.Generator, fps: float, stature: float, generator: torch.Generator) -> Motion:
    plan = Turn(
        angle_deg=float(rng.uniform(30, 270)),
        step_deg=float(rng.uniform(25, 50)),
        step_s=float(rng.uniform(0.46, 0.68)),
        begin_s=float(rng.uniform(0.2, 0.7)),
    )
    seconds = float(np.clip(plan.seconds + rng.uniform(0.1, 0.6), *SECONDS))
    return turning(plan, round(seconds * fps), fps, stature, generator)


def _reaching(rng: np.random.Generator, fps: float, stature: float, generator: torch.Generator) -> Motion:
    chances, heights, distances = zip(*_PLACES.values(), strict=True)
    which = rng.choice(len(_PLACES), p=chances)
    height = rng.uniform(*heights[which])
    both = rng.random() < 0.4
    out_s, back_s = (rng.uniform(0.75, 1.1) + 0.8 * (1 - height) * rng.uniform(0.7, 1.2) for _ in range(2))
    plan = Reach(
        height=float(height),
        forward=float(rng.uniform(*distances[which])),
        left_deg=float(rng.normal(0, 12) if both else rng.normal(18, 22)),
        apart=float(rng.uniform(0.05, 0.11)) if both else 0.0,
        # who goes down to the floor bends the knees more or less
        knees=float(rng.beta(1.3, 1.3) if height > heights[-1][1] else rng.uniform(0.25, 1)),
        begin_s=float(rng.uniform(0.05, 0.6)),
        out_s=float(out_s),
        there_s=float(rng.uniform(0.1, 0.8)),
        back_s=float(back_s),
    )
    seconds = float(np.clip(plan.seconds + rng.uniform(0.0, 0.5), *SECONDS))
    return reaching(plan, round(seconds * fps), fps, stature, generator)


def _sitting(rng: np.random.Generator, fps: float, stature: float, generator: torch.Generator) -> Motion:
    sits_down, stands_up = ((True, True), (True, False), (False, True))[rng.choice(3, p=(0.4, 0.3, 0.3))]
    plan = Sit(
        seat=float(np.clip(rng.normal(0.45, 0.03) / stature, 0.23, 0.29)),
        shank_deg=float(rng.uniform(6, 19)),
        lean_deg=float(rng.uniform(30, 48)),
        sits_down=sits_down,
        stands_up=stands_up,
        begin_s=float(rng.uniform(0.1, 0.5)),
        down_s=float(rng.uniform(1.5, 2.2)),
        seated_s=float(rng.uniform(0.3, 1.0)),
        up_s=float(rng.uniform(1.4, 2.0)),
    )
    seconds = float(np.clip(plan.seconds + rng.uniform(0.0, 0.5), *SECONDS))
    return sitting(plan, round(seconds * fps), fps, stature, generator)


_MAKERS = {"walking": _walking, "turning": _turning, "reaching": _reaching, "sitting": _sitting}
