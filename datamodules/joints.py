"""Which joints of a data set carry a density, and why the others do not."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from pose_priors.body.skeleton import JOINT_NAMES, PARTS
from pose_priors.configs.base import UserError

log = logging.getLogger(__name__)

MIN_SPREAD = 1e-4
"""Radians. A joint whose standard deviation in its narrowest direction is below this (0.006 degrees) has no density on SO(3)."""
MAX_REPEATED = 0.05
"""Largest share of rows that may hold one and the same value, bit for bit. More is a point mass, whose likelihood has no upper bound."""


def find_joints(poses: np.ndarray, include_root: bool) -> tuple[tuple[int, ...], dict[str, str]]:
    """The joints that a density can be learnt for.

    Left out are joints that are constant or padded, that hold one exact value in more than `MAX_REPEATED` of the rows (AMASS's feet are
    exactly zero in 97 %), or that move in fewer than three directions (hinges): against Haar measure none of them has a density.

    Args:
        poses: (N, 55, 3) canonical rotation vectors.
        include_root: whether the root's orientation may count.
    Returns:
        SMPL-X indices, ascending; and the name of each joint left out with the reason.
    Raises:
        UserError: if no joint is left.
    """
    left_out: dict[str, str] = {}
    for joint, name in enumerate(JOINT_NAMES):
        if joint in PARTS["root"] and not include_root:
            left_out[name] = "data.include_root is false"
        elif reason := _degenerate(np.ascontiguousarray(poses[:, joint], dtype=np.float32)):
            left_out[name] = reason
    indices = tuple(joint for joint, name in enumerate(JOINT_NAMES) if name not in left_out)
    if not indices:
        raise UserError(
            f"none of the {len(JOINT_NAMES)} joints can be learnt from {len(poses)} poses ({describe(left_out)}); give more varied data"
        )
    return indices, left_out


def describe(left_out: Mapping[str, str]) -> str:
    """The joints left out on one line, grouped by reason."""
    groups: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        groups.setdefault(reason.partition(":")[0], []).append(name + reason.partition(":")[2])
    return "; ".join(f"{reason}: {', '.join(names)}" for reason, names in groups.items())


def _degenerate(rotvec: np.ndarray) -> str | None:
    """Why (N, 3) float32 rotation vectors have no density, or None. A detail of the single joint follows a colon."""
    if (rotvec == rotvec[:1]).all():
        return "constant"
    # equal keys for equal vectors; adding 0 turns -0 into 0. The odd factors mix the words so that others practically never collide
    words = (rotvec + np.float32(0)).view(np.uint32).astype(np.uint64)
    keys = words @ np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
    most = np.unique(keys, return_counts=True)[1].max()
    if most > max(1, MAX_REPEATED * len(rotvec)):
        return f"one value repeated: ({most / len(rotvec):.0%})"
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(rotvec, rowvar=False, dtype=np.float64)).clip(0))
    if spread[0] < MIN_SPREAD:
        return "no spread" if spread[-1] < MIN_SPREAD else "moves in fewer than three directions"
    return None
