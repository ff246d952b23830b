"""Pose vectors of the field, by their length, and whole-body poses: there and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS, PARTS, POSE53_TO_SMPLX, SMPL_TO_SMPLX, SMPLH_TO_SMPLX

POSE_VECTORS: dict[int, tuple[str, tuple[int, ...]]] = {
    45: ("right hand", PARTS["right_hand"]),
    63: ("body", PARTS["body"]),
    66: ("root and body", SMPL_TO_SMPLX),
    69: ("SMPL body", PARTS["body"]),
    72: ("SMPL", SMPL_TO_SMPLX),
    90: ("both hands", (*PARTS["left_hand"], *PARTS["right_hand"])),
    156: ("SMPL-H", SMPLH_TO_SMPLX),
    159: ("53 joints", POSE53_TO_SMPLX),
    165: ("SMPL-X", tuple(range(NUM_JOINTS))),
}
"""Numbers of a pose vector -> what it is, and the SMPL-X joints that its leading joints are; SMPL's two stubs for hands come after."""

OF_MATRICES = "of rotation matrices, roma.rotmat_to_rotvec makes rotation vectors"
"""What to do with these, for errors."""


def as_poses(values: Tensor | np.ndarray) -> Tensor:
    """Whole-body poses from pose vectors of any known length, differentiable; joints that these lack are zero.

    Args:
        values: (*batch, D) rotation vectors in radians one after another, or (*batch, D / 3, 3); D as in `POSE_VECTORS`: 63 body, 66 root
            and body, 72 SMPL, 156 SMPL-H, 165 SMPL-X, ...
    Returns:
        (*batch, 55, 3), in the precision of `values`, floats of 32 bits from whole numbers. Angles are left as they are.
    Raises:
        ValueError: if D is none of these, or the values are no real numbers.
    """
    vectors = values if isinstance(values, Tensor) else _tensor(values)
    if vectors.is_complex():
        raise ValueError("pose vectors are real numbers; got complex ones")
    vectors = vectors if vectors.is_floating_point() else vectors.float()
    flat = vectors.flatten(-2) if _is_by_joint(vectors.shape) else vectors
    if flat.dim() == 0 or flat.shape[-1] not in POSE_VECTORS:
        known = ", ".join(f"{numbers} ({name})" for numbers, (name, _) in POSE_VECTORS.items())
        how = f"; {OF_MATRICES}" if vectors.shape[-2:] == (3, 3) else ""
        raise ValueError(f"pose vectors of shape {tuple(vectors.shape)}: the last dimension is none of {known}; nor is it (J, 3){how}")
    joints = POSE_VECTORS[flat.shape[-1]][1]
    poses = flat.new_zeros(*flat.shape[:-1], NUM_JOINTS, 3)
    poses[..., list(joints), :] = flat[..., : 3 * len(joints)].unflatten(-1, (len(joints), 3))
    return poses


def check_poses(poses: object) -> None:
    """Refuses what is no whole-body poses, (*batch, 55, 3) floats, and says what makes poses of it.

    Raises:
        TypeError: if it is no tensor of floats.
        ValueError: on another shape.
    """
    what = f"a pose is (*batch, {NUM_JOINTS}, 3) rotation vectors in SMPL-X order"
    if not isinstance(poses, Tensor):
        raise TypeError(f"{what}, a tensor; got {type(poses).__name__}; of an array, torch.from_numpy makes one")
    if not poses.is_floating_point():
        raise TypeError(f"{what}, floats; got {poses.dtype}")
    if poses.shape[-2:] == (NUM_JOINTS, 3):
        return
    how = ""
    if poses.shape[-2:] == (3, 3):
        how = f"; {OF_MATRICES}"
    elif _is_by_joint(poses.shape) or (poses.dim() > 0 and poses.shape[-1] in POSE_VECTORS):
        how = "; as_poses makes poses of such vectors"
    raise ValueError(f"{what}; got {tuple(poses.shape)}{how}")


def _is_by_joint(shape: Sequence[int]) -> bool:
    """Whether the numbers of a known vector stand as (*batch, J, 3)."""
    return len(shape) > 1 and shape[-1] == 3 and 3 * shape[-2] in POSE_VECTORS


def _tensor(values: object) -> Tensor:
    """Of an array in any byte order and with any strides."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"pose vectors are real numbers; got an array of {array.dtype}")
    is_known = array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8)  # torch has no others
    kept = array.dtype.newbyteorder("=") if is_known else np.dtype(np.float64 if array.dtype.kind == "f" else np.float32)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=kept))


def from_poses(poses: Tensor, numbers: int) -> Tensor:
    """The inverse of `as_poses`: (*batch, 55, 3) -> (*batch, numbers), differentiable; SMPL's stubs for hands are zero.

    Raises:
        TypeError: if the poses are no tensor; of an array, `torch.from_numpy` makes one.
        ValueError: if `numbers` is none of `POSE_VECTORS`, or the poses have another shape.
    """
    if not isinstance(poses, Tensor):
        raise TypeError(f"from_poses takes a tensor, got {type(poses).__name__}; of an array, torch.from_numpy makes one")
    if numbers not in POSE_VECTORS:
        raise ValueError(f"there is no pose vector of {numbers} numbers; there are {', '.join(map(str, POSE_VECTORS))}")
    if poses.shape[-2:] != (NUM_JOINTS, 3):
        raise ValueError(f"poses are (*batch, {NUM_JOINTS}, 3); got {tuple(poses.shape)}")
    flat = poses[..., list(POSE_VECTORS[numbers][1]), :].flatten(-2)
    return torch.cat([flat, flat.new_zeros(*flat.shape[:-1], numbers - flat.shape[-1])], -1)
