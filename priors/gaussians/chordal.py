"""The rotation that is nearest to a matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.priors.networks.derived import is_traced

# Squarings of the matrix whose largest eigenvector is looked for: 2^12 steps of the power method.
_NUM_SQUARINGS = 12
# The eigenvalues of Horn's matrix are no lower than minus the sum of M's singular values, at most sqrt(3) times its norm.
_SHIFT = 1.8
# By which Horn's matrix depends on the nine numbers of M, quaternions in the order x, y, z, w.
_HORN = (
    ((1, 0, 0, 0, -1, 0, 0, 0, -1), (0, 1, 0, 1, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 1, 0, 0), (0, 0, 0, 0, 0, -1, 0, 1, 0)),
    ((0, 1, 0, 1, 0, 0, 0, 0, 0), (-1, 0, 0, 0, 1, 0, 0, 0, -1), (0, 0, 0, 0, 0, 1, 0, 1, 0), (0, 0, 1, 0, 0, 0, -1, 0, 0)),
    ((0, 0, 1, 0, 0, 0, 1, 0, 0), (0, 0, 0, 0, 0, 1, 0, 1, 0), (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, -1, 0, 1, 0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0, -1, 0, 1, 0), (0, 0, 1, 0, 0, 0, -1, 0, 0), (0, -1, 0, 1, 0, 0, 0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation at the least chordal distance from a matrix: (..., 3, 3) -> (..., 3) rotation vectors."""
    if is_traced():
        return by_squaring(matrix)
    found: Tensor = conversions.rotmat_to_rotvec(conversions.special_procrustes(matrix))
    return found


def by_squaring(matrix: Tensor) -> Tensor:
    """The same for programs that have no decompositions of matrices, in sums and products alone.

    It is the eigenvector of the largest eigenvalue of a 4 x 4 matrix (Horn, "Closed-form solution of absolute orientation using unit
    quaternions", JOSA A 4, 1987), by the power method in double precision; wrong where the two largest differ by less than a
    thousandth of the matrix's norm.
    """
    wide = matrix.double()
    horn = torch.einsum("abn,...n->...ab", torch.tensor(_HORN, dtype=wide.dtype, device=wide.device), wide.flatten(-2))
    eye = torch.eye(4, dtype=wide.dtype, device=wide.device)
    power = horn + _SHIFT * wide.square().sum((-2, -1), keepdim=True).sqrt() * eye
    for _ in range(_NUM_SQUARINGS):
        power = power @ power
        power = power / (power * eye).sum((-2, -1), keepdim=True)
    largest = (power * eye).sum(-1).argmax(-1)[..., None, None].expand(*power.shape[:-1], 1)
    column = power.gather(-1, largest).squeeze(-1)
    found: Tensor = conversions.unitquat_to_rotvec((column / column.square().sum(-1, keepdim=True).sqrt()).to(matrix))
    return found
