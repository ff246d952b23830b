"""How plausible a motion is, by clip, frame and joint."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.plausibility import MAX_SPEED
from pose_priors.refinement.motions.faults.support import find_support, velocities
from pose_priors.refinement.motions.learned.load import Learned
from pose_priors.refinement.motions.learned.surprisal import surprisal
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.restore import FAULTS, restore

_CARRIERS = [index_of(name) for name in ("pelvis", "left_ankle", "right_ankle", "left_foot", "right_foot")]
# The frames whose mean stands for a clip: the worst tenth of a second, and at least this share of the frames for what lasts.
_WORST_S = 0.1
_WORST_SHARE = {"jitter": 0.15, "floating": 0.15, "shortened": 0.15, "sliding": 0.15}
# Where the mean of a clip is called a fault, over where a frame is: real clips jump now and then, and do not slide for long.
_OF_CLIP = {"pop": 2.0, "floating": 0.7, "shortened": 0.5, "sliding": 0.7}
# By what power badness rises beyond the threshold, where it is a half: capture itself jumps, glides and repeats frames at up to nine times
# the threshold, and hardly ever shakes or floats at one and a half.
_STEEP = {"swapped": 4.0, "jitter": 6.0, "floating": 4.0, "shortened": 4.0}
_OTHERS_STEEP = 2.0
_MOST_JOINT_SPEED = 30.0  # metres a second; the wrist of a pitcher reaches 20


@dataclass(frozen=True)
class Scores:
    """What is known of one person.

    Attributes:
        badness: (T,) in [0, 1], a half where people would call something a fault.
        joint_badness: (T, 22) in [0, 1]; what is wrong with the path counts for pelvis and feet.
        parts: name -> (T,): `fault_<name>` over its threshold, and measures in metres and seconds.
        clip: measures of the whole: `badness` in [0, 1] first.
        joint_parts: name -> (T, 22).
    """

    badness: np.ndarray
    joint_badness: np.ndarray
    parts: dict[str, np.ndarray]
    clip: dict[str, float]
    joint_parts: dict[str, np.ndarray] = field(default_factory=dict)


def score_motion(motion: Motion, learned: Learned | None = None) -> Scores:
    """Scores a motion by its faults, each looked for in what is left when those before it are taken out.

    Args:
        learned: priors whose judgement is told beside, see `_judged`. Badness does not hang on them: it is calibrated without.
    """
    found = restore(motion)
    faults = {name: found.of_frames(name) for name in FAULTS}
    joints = np.zeros((len(motion), NUM_JOINTS))
    for name in FAULTS:
        joints = np.maximum(joints, _bad(name, found.joints[name]))
        joints[:, _CARRIERS] = np.maximum(joints[:, _CARRIERS], _bad(name, found.path[name])[:, None])
    fps = motion.fps
    speed = np.linalg.norm(velocities(motion.joints, fps), axis=-1)
    step = np.linalg.norm(np.diff(motion.joints, axis=0, prepend=motion.joints[:1]), axis=-1) * fps
    too_fast = np.maximum(step[:, 0] / MAX_SPEED, step.max(1) / _MOST_JOINT_SPEED)
    joints = np.maximum(joints, _bad("speed", step / _MOST_JOINT_SPEED))
    support = find_support(found.motion, ~motion.known)
    jerk = np.zeros(len(motion))
    if len(motion) > 3:
        third = np.linalg.norm(np.diff(motion.joints, n=3, axis=0), axis=-1).mean(1) * fps**3
        jerk = np.concatenate([third[:1], third, third[-1:], third[-1:]])
    looked_for = faults | {"speed": too_fast}
    badness = np.max([_bad(name, values) for name, values in looked_for.items()], axis=0)
    parts = {f"fault_{name}": values for name, values in faults.items()} | {
        "fault_speed": too_fast,
        "floor_m": motion.soles[..., 2].min(1),
        "slip_m_s": np.linalg.norm(support.slip, axis=-1) if motion.has_path else np.zeros(len(motion)),
        "speed_m_s": speed.mean(1),
        "jerk_m_s3": jerk,
    }
    of_clip = {name: _of_clip(name, values, fps) for name, values in looked_for.items()}
    clip = {"badness": max(float(_bad(name, np.array(value))) for name, value in of_clip.items())}
    clip |= {f"fault_{name}": value for name, value in of_clip.items()}
    clip |= {f"frames_{name}": float(found.marked[name].mean()) for name in FAULTS}
    clip |= {
        "first_frame": float(max(values[0] for values in looked_for.values())),
        "floor_m": motion.floor,
        "lowest_m": float(np.quantile(parts["floor_m"], 0.02)),
        "slip_m_s": float(np.median(parts["slip_m_s"])),
        "motion_energy_m2_s2": float((speed**2).mean()),
        "jerk_m_s3": float(jerk.mean()),
        "stature_m": motion.stature,
    }
    return _judged(Scores(badness, joints, parts, clip), motion, learned or Learned())


def _judged(scores: Scores, motion: Motion, learned: Learned) -> Scores:
    """Scores with what priors say: of frames and joints `prior_joint_surprisal_nats` (T, 22), and of frames its sum over joints; of frames
    the percentile of the pose's energy. A clip has the means over the frames that the file has, and their worst tenth of a second."""
    parts, clip, of_joints = dict(scores.parts), dict(scores.clip), {}
    most = max(1, round(_WORST_S * motion.fps))
    told = {}
    if learned.motion is not None:
        of_joints["prior_joint_surprisal_nats"] = surprisal(learned.motion, motion)
        told["prior_motion_energy_nats"] = of_joints["prior_joint_surprisal_nats"].sum(1)
    if learned.poses is not None:
        told["prior_pose_energy_percentile"] = learned.poses.percentiles(motion)
    for name, values in told.items():
        parts[name] = values
        known = np.sort(values[motion.known]) if motion.known.any() else np.array([np.nan])
        clip |= {name: float(known.mean()), f"{name}_worst": float(known[-most:].mean())}
    return Scores(scores.badness, scores.joint_badness, parts, clip, of_joints)


def _bad(fault: str, values: np.ndarray) -> np.ndarray:
    """Scores over the threshold of a fault as numbers in [0, 1]."""
    power = np.minimum(values, 1e6) ** _STEEP.get(fault, _OTHERS_STEEP)
    bad: np.ndarray = power / (1 + power)
    return bad


def _of_clip(fault: str, values: np.ndarray, fps: float) -> float:
    """A clip's score of a fault. The first frame does not count where there are others: capture often begins with a pose of its own, and
    retargeters leave it out."""
    rest = values[1:] if len(values) > 1 else values
    most = max(1, round(_WORST_S * fps), round(_WORST_SHARE.get(fault, 0) * len(rest)))
    return float(np.sort(rest)[-most:].mean()) / _OF_CLIP.get(fault, 1.0)
