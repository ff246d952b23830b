"""Left taken for right: legs of stage 3 and keypoints that change sides for some frames, and are changed back.

Networks mistake one leg for the other where people are seen from the side, for a few frames at a time. A leg that goes on where the
other one was going, and a few frames later back again, has not done so: the sides along a clip are those of least acceleration, found by
the algorithm of Viterbi (IEEE Trans. Information Theory 13, 1967).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose_priors.body.pinhole import project
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import counted, listed
from pose_priors.refinement.formats.cameras import USUAL_FPS, CameraTrack
from pose_priors.refinement.formats.keypoints import Correspondence
from pose_priors.refinement.given.people import LEAP_M
from pose_priors.refinement.given.problem import Bodies
from pose_priors.refinement.given.start import PosedPeople
from pose_priors.refinement.given.units import stature

_LEGS = [[index_of(f"{side}_{name}") for name in ("hip", "knee", "ankle", "foot")] for side in ("left", "right")]
_ARMS = [[index_of(f"{side}_{name}") for name in ("collar", "shoulder", "elbow", "wrist")] for side in ("left", "right")]
_HANDS = [[22], [23]]  # SMPL's stubs
# metres that a joint of a leg changes its step by, from frame to frame at 30 a second: half of that noise; and the cost of one that jumps
_CHANGES, _CAP = 0.04, 12.0
_LEAPS = 0.4  # share of what legs cost of which all joints jump, from which on no side goes on where they were
_OFF, _CAP_OFF = 0.03, 8.0  # of a person's height in the image, standing, that keypoints are off by
_NEAREST_M = 0.1
_SWAPPED, _SWITCH = 0.5, 4.0  # what a frame on the other side costs, and a change of sides
# nats that a change of sides must be worth, and on average on each frame of keypoints: bodies whose legs are turned wrongly gain up to 12
_GAIN, _CLEAR = 20.0, 14.0
_LEAST = 4  # keypoints of a pair of limbs


def on_their_sides(
    people: PosedPeople,
    keypoints: np.ndarray,
    bodies: Bodies,
    of: Sequence[Correspondence],
    cameras: CameraTrack,
    fps: float,
    broken: list[str],
) -> tuple[PosedPeople, np.ndarray]:
    """People and keypoints (P, T, K, 3) with left and right as they move least; `broken` takes a line for those that were changed."""
    people, legs = unswapped_legs(people, bodies, fps)
    joints = people.joints(bodies)
    points, limbs = unswapped_keypoints(keypoints, joints, of, np.broadcast_to(cameras.intrinsics, (*joints.shape[:2], 3, 3)))
    limbs &= people.seen
    for what, swapped in (("the legs of stage 3", legs), ("keypoints", limbs)):
        if swapped.any():
            frames = cameras.frame_ids[swapped.any(0)].tolist()
            broken.append(f"{what} are on the wrong side on {counted(len(frames), 'frame')} ({listed(frames)}), and are changed back")
    return people, points


def unswapped_legs(people: PosedPeople, bodies: Bodies, fps: float) -> tuple[PosedPeople, np.ndarray]:
    """The people with their legs on the sides of least movement, and (P, T) bool, where they were on the other."""
    pose = people.pose.copy()
    pose[:, :, _LEGS[0]], pose[:, :, _LEGS[1]] = people.pose[:, :, _LEGS[1]], people.pose[:, :, _LEGS[0]]
    legs = [*_LEGS[0], *_LEGS[1]]
    both = [side.joints(bodies)[:, :, legs] - people.pelvis[:, :, None] for side in (people, replace(people, pose=pose))]
    swapped = np.zeros(people.seen.shape, bool)
    for p, seen in enumerate(people.seen):
        frames = np.flatnonzero(seen)
        if len(frames) < 3:
            continue
        places = np.stack([side[p, frames] for side in both], 1)  # (n, 2, 8, 3)
        first, middle, last = places[:-2, :, None, None], places[1:-1, None, :, None], places[2:, None, None]
        jerked = np.square(last - 2 * middle + first).sum(-1) / (2 * _width(fps) ** 2)
        change = np.minimum(jerked, _CAP).sum(-1)  # (n - 2, before, then, after)
        change[np.diff(frames, n=1)[1:] + np.diff(frames, n=1)[:-1] > 2] = 0
        goes_on = change.min((1, 2, 3)) <= _LEAPS * _CAP * len(legs)
        change[_leaps(people.pelvis[p, frames]) | ~goes_on] = 0  # who is somebody else from there on
        alone = np.tile([0.0, _SWAPPED], (len(frames), 1))
        swapped[p, frames] = _sides(alone, change)
    return replace(people, pose=np.where(swapped[:, :, None, None], pose, people.pose)), swapped


def _leaps(pelvis: np.ndarray) -> np.ndarray:
    """(n - 2,) whether a pelvis (n, 3) leaps across the image; along the ray, places are noisy."""
    depth = np.maximum(pelvis[:, 2:], _NEAREST_M)
    leaps: np.ndarray = np.linalg.norm(np.diff(pelvis[:, :2] / depth, n=2, axis=0), axis=-1) * depth[1:-1, 0] > LEAP_M
    return leaps


def unswapped_keypoints(
    keypoints: np.ndarray, joints: np.ndarray, of: Sequence[Correspondence], intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (P, T, K, 3) on the sides that are nearer to the joints (P, T, J, 3) in the camera's axes, legs and arms apart; and (P, T)
    bool, where some were on the other."""
    out, swapped = keypoints.copy(), np.zeros(keypoints.shape[:2], bool)
    place = {pair.joints[0]: k for k, pair in enumerate(of) if len(pair.joints) == 1}
    pixels = project(joints, intrinsics)
    for sides in (_LEGS, [[*_ARMS[side], *_HANDS[side]] for side in (0, 1)]):
        pairs = [(place[left], place[right], left, right) for left, right in zip(*sides, strict=True) if left in place and right in place]
        if 2 * len(pairs) < _LEAST:
            continue
        left, right, left_joint, right_joint = (list(column) for column in zip(*pairs, strict=True))
        points, at = [*left, *right], [*left_joint, *right_joint]
        mirrored = [*right, *left]
        used = (keypoints[:, :, points, 2] > 0) & (keypoints[:, :, mirrored, 2] > 0)
        height = _height_px(joints, intrinsics)[..., None]
        for p in range(len(keypoints) if keypoints.shape[1] > 2 else 0):
            cost = []
            for source in (points, mirrored):
                off = np.square(keypoints[p][:, source, :2] - pixels[p][:, at]).sum(-1) / (2 * (_OFF * np.maximum(height[p], 1)) ** 2)
                cost.append(np.where(used[p], np.minimum(np.nan_to_num(off, nan=_CAP_OFF), _CAP_OFF), 0).sum(-1))
            change = np.tile(_SWITCH * (1 - np.eye(2)), (max(len(cost[0]) - 2, 0), 2, 1, 1))
            cost[1] = cost[1] + _SWAPPED
            other = _clear(_sides(np.stack(cost, 1), change), cost[0] - cost[1])
            out[p][np.ix_(other, points)] = keypoints[p][np.ix_(other, mirrored)]
            swapped[p] |= other
    return out, swapped


def _height_px(joints: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(P, T) how tall people (P, T, J, 3) would stand in the image, whatever their pose: who squats has joints that are as far off."""
    tall = np.array([stature(np.nan_to_num(body)) for body in joints])[:, None]
    height: np.ndarray = tall * intrinsics[..., 1, 1] / np.maximum(np.nan_to_num(joints[..., 0, 2]), _NEAREST_M)
    return height


def _clear(swapped: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Those of the runs of frames (n,) that are clearly better so: limbs that nearly meet in the image are nearer to one side or the other
    by chance."""
    out = np.zeros_like(swapped)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], swapped, [False]]).astype(int)))
    for first, end in edges.reshape(-1, 2):
        out[first:end] = gain[first:end].mean() > _CLEAR
    return out


def _width(fps: float) -> float:
    """Metres by which steps change from frame to frame: half of it noise, half of it motion, which has less time at higher rates."""
    width: float = _CHANGES * np.hypot(0.5, 0.5 * min((USUAL_FPS / fps) ** 2, 4.0)) / np.hypot(0.5, 0.5)
    return width


def _sides(alone: np.ndarray, change: np.ndarray) -> np.ndarray:
    """(n,) bool, the cheapest sequence of two states; all false where it is little cheaper than to stay in the first.

    Args:
        alone: (n, 2) what each state costs on each frame.
        change: (n - 2, 2, 2, 2) what three states that follow each other cost.
    """
    count, found = len(alone), np.zeros(len(alone), int)
    best, came = alone[0][:, None] + alone[1], np.zeros((count, 2, 2), int)  # of the last two states
    for t in range(2, count):
        total = best[:, :, None] + change[t - 2]
        came[t] = total.argmin(0)
        best = total.min(0) + alone[t]
    found[-2:] = np.unravel_index(best.argmin(), best.shape)
    for t in range(count - 1, 1, -1):
        found[t - 2] = came[t, found[t - 1], found[t]]
    stays = alone[:, 0].sum() + change[:, 0, 0, 0].sum()
    return found.astype(bool) if stays - best.min() > _GAIN and found.mean() <= 0.5 else np.zeros(count, bool)
