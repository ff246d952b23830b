"""One clip with one fault, or none: what is found in it, and what cleaning leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.benchmarks.motions.injection import INJECTIONS
from pose_priors.refinement.motions.files.read import MotionFile
from pose_priors.refinement.motions.motion import Motion, quat_of, rotvec_of
from pose_priors.refinement.motions.restore import restore
from pose_priors.refinement.motions.scoring import Scores, score_motion
from pose_priors.refinement.motions.sizing import sized

FAULT_OF = {
    "pops": "pop",
    "frozen": "frozen",
    "swaps": "swapped",
    "floating": "floating",
    "sliding": "sliding",
    "jitter": "jitter",
    "shortened": "shortened",
}
"""What is found and mended of each fault that is injected."""
_FASTEST = 0.99  # of a clip's frames are slower than its peak speed


@dataclass(frozen=True)
class Trial:
    """What came of one clip.

    Attributes:
        marked: (T,) bool, the frames with the fault; none of a clip as it was.
        frames: `badness`, the score of the `kind` of fault, `jerk` and `height`, (T,) each.
        clip: `badness`, `jerk` and `height` of the whole.
        before, after: mean distance of joints to the clip as it was, of the input and when cleaned, mm.
        jerk, peak: mean jerk and the largest speed of a joint, when cleaned, over those of the clip as it was.
    """

    marked: np.ndarray
    frames: dict[str, np.ndarray]
    clip: dict[str, float]
    before: float
    after: float
    jerk: float
    peak: float


def try_clean(file: MotionFile) -> Trial:
    """The first person of a file as it is."""
    return _trial(file.people[0], file.people[0], np.zeros(len(file.people[0]), dtype=bool), None)


def try_faulty(file: MotionFile, kind: str, rng: np.random.Generator) -> Trial:
    """The first person of a file with one of `INJECTIONS`; stature and floor are found anew, as of a file that came so."""
    truth = file.people[0]
    above = np.array([0, 0, truth.floor])
    faulty = INJECTIONS[kind](rotvec_of(truth.quat), truth.pelvis + above, truth.fps, rng)
    motion = sized(quat_of(faulty.pose), faulty.trans, truth.fps, truth.known)
    # the clip as it was, with the body that is seen in the faulty one: bones are not what is judged
    same = Motion(truth.quat, truth.pelvis + above - np.array([0, 0, motion.floor]), motion.rest, motion.stature, truth.fps, truth.known)
    return _trial(motion, same, faulty.marked, kind)


def _trial(motion: Motion, truth: Motion, marked: np.ndarray, kind: str | None) -> Trial:
    scores: Scores = score_motion(motion)
    cleaned = restore(motion).motion
    height = np.abs(scores.parts["floor_m"])
    jerk = scores.parts["jerk_m_s3"]
    frames = {"badness": scores.badness, "jerk": jerk, "height": height}
    if kind is not None:
        frames["kind"] = scores.parts[f"fault_{FAULT_OF[kind]}"]
    return Trial(
        marked,
        frames,
        {"badness": scores.clip["badness"], "jerk": float(jerk[1:].mean()), "height": float(np.quantile(height, 0.95))},
        _distance(motion, truth),
        _distance(cleaned, truth),
        _jerk(cleaned) / max(_jerk(truth), 1e-12),
        _peak(cleaned) / max(_peak(truth), 1e-12),
    )


def _distance(motion: Motion, truth: Motion) -> float:
    return float(np.linalg.norm(motion.joints - truth.joints, axis=-1).mean() * 1000)


def _jerk(motion: Motion) -> float:
    """Of all but the first frame, which may be a pose of its own."""
    return float(np.linalg.norm(np.diff(motion.joints[1:], n=3, axis=0), axis=-1).mean())


def _peak(motion: Motion) -> float:
    return float(np.quantile(np.linalg.norm(np.diff(motion.joints[1:], axis=0), axis=-1).max(1), _FASTEST))
