"""Clips of different lengths at shared lengths, so that whatever depends on shapes is made once: 87 and 35 frames both run as 100.

Nobody is alive or seen on the frames that are added, so that no term counts them; time filters and contacts leave them out
(`solve.variables`, `solve.contacts`). A padded clip is therefore the same problem: the objective and its gradient differ by the
rounding of sums over more zeros, nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem, with_frames

_HELD = ("w2c", "intrinsics", "global_orient", "body_pose", "pelvis")


def padded(problem: Problem, multiple: int | None) -> Problem:
    """The problem at the next multiple of so many frames; None leaves it as it is. The last camera and pose are held, nothing is seen."""
    frames = len(problem.frame_ids)
    extra = -frames % multiple if multiple else 0
    if not extra:
        return problem

    def more(name: str, value: Tensor, dim: int) -> Tensor:
        last = value.narrow(dim, frames - 1, 1).repeat_interleave(extra, dim)
        return torch.cat([value, last if name in _HELD else torch.zeros_like(last)], dim)

    last = problem.frame_ids[-1]
    numbers = (*problem.frame_ids, *range(last + 1, last + 1 + extra))
    return replace(with_frames(problem, numbers, more), padding=problem.padding + extra)
