"""Which joints the bodies of a clip have, and which of SMPL-X each of them is."""

from __future__ import annotations

from dataclasses import dataclass

from pose_priors.body.skeleton import PARENTS, SMPL_TO_SMPLX


@dataclass(frozen=True)
class Layout:
    """Which joints the bodies of a clip have: the 22 of the body alone, SMPL's 24 or SMPL-X's 55."""

    parents: tuple[int, ...]
    smplx_index: tuple[int, ...]

    @property
    def num_joints(self) -> int:
        return len(self.parents)


def layout(num_joints: int) -> Layout:
    """The layout of 22, 24 or 55 joints."""
    if num_joints == 24:
        return Layout((*PARENTS[:22], 20, 21), (*SMPL_TO_SMPLX, -1, -1))
    return Layout(PARENTS[:num_joints], tuple(range(num_joints)))
