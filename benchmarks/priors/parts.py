"""The parts of the body that tasks hide, swap or condition on; as in DPoser (Lu et al., "DPoser: Diffusion Model as Robust 3D Human Pose
Prior"), so that results can be set beside published ones."""

from __future__ import annotations

from collections.abc import Sequence

from pose_priors.body.skeleton import FINGERS, PARTS, index_of


def _both(*names: str) -> tuple[int, ...]:
    return tuple(sorted(index_of(f"{side}_{name}") for side in ("left", "right") for name in names))


def _left(*names: str) -> tuple[int, ...]:
    return tuple(index_of(f"left_{name}") for name in names)


LEFT_ARM = _left("collar", "shoulder", "elbow", "wrist")
LEGS = _both("hip", "knee", "ankle", "foot")

BODY_PARTS: dict[str, tuple[int, ...]] = {
    "left leg": _left("hip", "knee", "ankle", "foot"),
    "legs": LEGS,
    "left arm": LEFT_ARM,
    "arms": _both("collar", "shoulder", "elbow", "wrist"),
    "trunk": tuple(sorted((*map(index_of, ("spine1", "spine2", "spine3")), *_both("shoulder")))),
    "hands": _both("wrist"),
}
"""SMPL-X indices of the joints of each part. `hands` are the wrists, as in body models without fingers."""


def _fingers(*names: str, joints: Sequence[int] = (1, 2, 3)) -> tuple[int, ...]:
    return _both(*(f"{name}{i}" for name in names for i in joints))


FINGER_PARTS: dict[str, tuple[int, ...]] = {
    "thumb": _fingers("thumb"),
    "index": _fingers("index"),
    "outer fingers": _fingers("middle", "ring", "pinky"),
    "last joints": _fingers(*FINGERS, joints=(3,)),
}
"""The same of the parts of hands."""


def hand_of(joints: Sequence[int]) -> str | None:
    """The part of the body, `left_hand` or `right_hand`, that all of some joints belong to, by their SMPL-X indices."""
    return next((hand for hand in ("left_hand", "right_hand") if set(joints) <= set(PARTS[hand])), None)


def scored_parts(joint_indices: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Those of each part's joints that are scored, of fingers where all that are scored are of one hand, else of the body; parts of which
    none is are left out, and such as leave nothing to go by."""
    parts = BODY_PARTS if hand_of(joint_indices) is None else FINGER_PARTS
    scored = {name: tuple(joint for joint in part if joint in joint_indices) for name, part in parts.items()}
    return {name: part for name, part in scored.items() if part and len(part) < len(joint_indices)}
