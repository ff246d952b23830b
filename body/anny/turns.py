"""How the parts of Anny's body are turned from its rest pose, arms half lowered, to that of SMPL-X, arms level: by the directions of bones.

The trunk and the head are as they are. Arms, legs and fingers are turned, after what carries them, by the smallest rotation that brings the
bone to the other skeleton's direction. A hand is turned as a whole, by its middle and its breadth, since a direction alone would leave
its palm open. A foot is turned about the vertical alone: its sole stays level.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of

_SIDES = ("left", "right")
# The joint that the bone of each joint ends at; fingers' last bones go on as those before them.
_ENDS = {
    f"{side}_{a}": f"{side}_{b}"
    for side in _SIDES
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("collar", "shoulder"), ("shoulder", "elbow"), ("elbow", "wrist"))
} | {
    f"{side}_{finger}{i}": f"{side}_{finger}{i + 1}"
    for side in _SIDES
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for i in (1, 2)
}
_TO = {index_of(a): index_of(b) for a, b in _ENDS.items()}
_FEET = {index_of(f"{side}_ankle"): index_of(f"{side}_foot") for side in _SIDES}
_HANDS = {index_of(f"{side}_wrist"): tuple(index_of(f"{side}_{finger}1") for finger in ("middle", "index", "pinky")) for side in _SIDES}


def turns_to_rest(joints: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(55, 3, 3) rotations of the parts that the joints carry.

    Args:
        joints: (55, 3) in Anny's rest pose.
        rest: (55, 3) at rest of the other skeleton; x to the left, y up, z forward.
    """
    turns = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
    for joint, parent in enumerate(PARENTS[1:], start=1):
        if joint in _FEET:
            turns[joint] = _about_the_vertical(*(at[_FEET[joint]] - at[joint] for at in (joints, rest)))
        elif joint in _HANDS:
            of_anny, of_rest = (_frame(at, joint, *_HANDS[joint]) for at in (joints, rest))
            turns[joint] = of_rest @ of_anny.T
        elif joint in _TO:
            before, wanted = (at[_TO[joint]] - at[joint] for at in (joints, rest))
            turns[joint] = smallest_turn(turns[parent] @ before, wanted) @ turns[parent]
        else:
            turns[joint] = turns[parent]
    return turns


def smallest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(3, 3) the rotation by the smallest angle that brings a direction (3,) to another."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    rotvec = axis / max(sine, 1e-12) * np.arctan2(sine, a @ b)
    turn: np.ndarray = Rotation.from_rotvec(rotvec).as_matrix()
    return turn


def _about_the_vertical(before: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    level = np.array([1.0, 0, 1.0])
    return smallest_turn(before * level, wanted * level)


def _frame(joints: np.ndarray, wrist: int, middle: int, index: int, pinky: int) -> np.ndarray:
    """(3, 3) columns: along a hand, out of its palm's plane, across."""
    along = joints[middle] - joints[wrist]
    out = np.cross(along, joints[index] - joints[pinky])
    columns = np.stack([along, out, np.cross(along, out)], 1)
    frame: np.ndarray = columns / np.linalg.norm(columns, axis=0)
    return frame
