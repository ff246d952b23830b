"""The 55 joints of SMPL-X: names, parents, parts, and how the joints of its relatives map onto them.

Order, names and parents are those of the `smplx` package (Pavlakos et al., "Expressive Body Capture", CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

_BODY = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot neck "
    "left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist"
).split()
_FACE = ["jaw", "left_eye_smplhf", "right_eye_smplhf"]
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""In the order of their joints, three each."""
_OF_FINGERS = [f"{finger}{i}" for finger in FINGERS for i in (1, 2, 3)]

JOINT_NAMES: tuple[str, ...] = (*_BODY, *_FACE, *(f"left_{f}" for f in _OF_FINGERS), *(f"right_{f}" for f in _OF_FINGERS))
NUM_JOINTS = len(JOINT_NAMES)

_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)


def _hand_parents(first: int, wrist: int) -> list[int]:
    return [wrist if i % 3 == 0 else first + i - 1 for i in range(15)]


PARENTS: tuple[int, ...] = (*_BODY_PARENTS, 15, 15, 15, *_hand_parents(25, 20), *_hand_parents(40, 21))
"""Index of each joint's parent; -1 for the pelvis. Parents come before their children."""

PARTS: dict[str, tuple[int, ...]] = {
    "root": (0,),
    "body": tuple(range(1, 22)),
    "jaw": (22,),
    "eyes": (23, 24),
    "left_hand": tuple(range(25, 40)),
    "right_hand": tuple(range(40, 55)),
}

SMPLH_TO_SMPLX: tuple[int, ...] = (*range(22), *range(25, 55))
"""SMPL-H's 52 joints (no face) in SMPL-X."""
POSE53_TO_SMPLX: tuple[int, ...] = (*range(23), *range(25, 55))
"""The 53 joints of files without eyes (root, body, jaw, hands) in SMPL-X."""
SMPL_TO_SMPLX: tuple[int, ...] = tuple(range(22))
"""SMPL's first 22 joints in SMPL-X; its joints 22 and 23 are stubs for the whole hand, which SMPL-X replaces by fingers."""


def index_of(name: str) -> int:
    """Index of a joint by its name. Raises `ValueError` if there is none of that name."""
    if name not in JOINT_NAMES:
        raise ValueError(f"no joint is named {name!r}; the names are {', '.join(JOINT_NAMES)}")
    return JOINT_NAMES.index(name)


def tree_depth(parents: Sequence[int]) -> list[int]:
    """Number of edges from the root to each joint; `parents` must list parents before children."""
    depth: list[int] = []
    for parent in parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    return depth


def _opposite(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    return "left_" + name.removeprefix("right_") if name.startswith("right_") else name


MIRROR: tuple[int, ...] = tuple(JOINT_NAMES.index(_opposite(name)) for name in JOINT_NAMES)
"""Index of each joint's counterpart on the other side of the body; joints in the middle are their own."""
