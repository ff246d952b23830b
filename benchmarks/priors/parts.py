"""The parts of the body that tasks hide, swap or condition on; as in DPoser (Lu et al., "DPoser: Diffusion Model as Robust 3D Human Pose
Prior"), so that results can be set beside published ones."""

from __future__ import annotations

from collections.abc import Sequence

from pose_priors.body.skeleton import index_of


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


def scored_parts(joint_indices: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Those of each part's joints that are scored; parts of which none is are left out, and such as leave nothing to go by."""
    scored = {name: tuple(joint for joint in part if joint in joint_indices) for name, part in BODY_PARTS.items()}
    return {name: part for name, part in scored.items() if part and len(part) < len(joint_indices)}
