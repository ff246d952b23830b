"""A motion without its faults, one kind after the other, each looked for in what the ones before have left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.body.skeleton import MIRROR
from pose_priors.refinement.motions.faults.frozen import frozen
from pose_priors.refinement.motions.faults.jitter import jitter
from pose_priors.refinement.motions.faults.pops import pops
from pose_priors.refinement.motions.faults.support import find_support, floating, sliding
from pose_priors.refinement.motions.faults.swaps import KINDS, LIMBS, Swaps, swapped, swaps
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.repair.fill import filled
from pose_priors.refinement.motions.repair.path import grounded, unslid
from pose_priors.refinement.motions.repair.smooth import denoised
from pose_priors.refinement.motions.signals import closed, odd, widened, without_short

FAULTS = ("missing", "frozen", "swapped", "pop", "jitter", "floating", "sliding")
"""The kinds of faults, in the order in which they are looked for and taken out."""

_LEAST_S = {"jitter": 0.2, "floating": 0.15, "sliding": 0.3}
_LEAST_JITTERING = 3  # joints, or the path


@dataclass(frozen=True)
class Restored:
    """What was found, and what became of it.

    Attributes:
        motion: without the faults.
        joints: fault -> (T, 22) scores, 1 where it is taken out.
        path: fault -> (T,) scores of the path.
        marked: fault -> (T,) bool, the frames on which it was taken out.
    """

    motion: Motion
    joints: dict[str, np.ndarray]
    path: dict[str, np.ndarray]
    marked: dict[str, np.ndarray]

    def of_frames(self, fault: str) -> np.ndarray:
        """(T,) the most of one fault in each frame."""
        return np.maximum(self.joints[fault].max(1), self.path[fault])


def restore(motion: Motion) -> Restored:
    """Finds the faults of a motion and takes them out. Frames and joints without one keep their numbers, but that a path which was too
    short or glided goes on from where its mended part ends."""
    num = len(motion)
    joints = {name: np.zeros((num, NUM_JOINTS)) for name in FAULTS}
    path = {name: np.zeros(num) for name in FAULTS}
    marked = {name: np.zeros(num, dtype=bool) for name in FAULTS}

    def found(fault: str, of_joints: np.ndarray, of_path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joints[fault], path[fault] = of_joints, of_path
        marked[fault] = (of_joints > 1).any(1) | (of_path > 1)
        return of_joints > 1, of_path > 1

    lost = np.where(motion.known, 0.0, 1e3)
    motion = filled(motion, *found("missing", np.repeat(lost[:, None], NUM_JOINTS, 1), lost))
    copies = frozen(motion)
    motion = filled(motion, *found("frozen", np.repeat(copies[:, None], NUM_JOINTS, 1), copies))
    sides = swaps(motion)
    found("swapped", *_by_joint(sides, num))
    motion = _unswapped(motion, sides)
    motion = filled(motion, *found("pop", *pops(motion)))
    noisy = _lasting(*found("jitter", *jitter(motion)), motion.fps)
    marked["jitter"] = noisy[0].any(1) | noisy[1]
    motion = denoised(motion, *noisy)
    doubted = widened(marked["missing"] | marked["frozen"], 2)
    for fault, of_path, repair in (("floating", floating, grounded), ("sliding", sliding, unslid)):
        support = find_support(motion, doubted)
        path[fault] = of_path(motion, support)
        least = round(_LEAST_S[fault] * motion.fps)
        marked[fault] = without_short(closed(path[fault] > 1, least), least)
        motion = repair(motion, support, marked[fault])
    return Restored(motion, joints, path, marked)


def _by_joint(sides: dict[str, Swaps], num: int) -> tuple[np.ndarray, np.ndarray]:
    scores = np.zeros((num, NUM_JOINTS))
    for limbs, found in sides.items():
        left = list(LIMBS[limbs])
        scores[:, [*left, *(MIRROR[joint] for joint in left)]] = found.score[:, None]
    return scores, np.zeros(num)


def _unswapped(motion: Motion, sides: dict[str, Swaps]) -> Motion:
    quat = motion.quat
    for limbs, found in sides.items():
        for kind in range(1, len(KINDS)):
            quat = np.where((found.kind == kind)[:, None, None], swapped(quat, limbs, kind), quat)
    return motion if quat is motion.quat else motion.changed(quat)


def _lasting(joints: np.ndarray, path: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Marks of noise that are no chance: of some time, and of several joints or the path; noise of a body is smoothed on all of it."""
    several = (joints.sum(1) >= _LEAST_JITTERING) | path
    least = odd(_LEAST_S["jitter"], fps)
    whole = widened(without_short(closed(several, least), least), 1)
    return np.repeat(whole[:, None], NUM_JOINTS, 1), whole
