"""What residuals of one person weigh, as moments of points that its bodies carry, by joints, or along the moves themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.refinement.solve.curvature.arrow import Blocks
from pose_priors.refinement.solve.curvature.composite import Chain

_CHUNK = 32  # frames, whose blocks are in memory together


def runs_of(moving: np.ndarray) -> list[range]:
    """The frames (T,) that move, by those that follow each other."""
    edges = np.flatnonzero(np.diff(np.r_[False, moving, False]))
    return [range(begin, stop) for begin, stop in edges.reshape(-1, 2).tolist()]


@dataclass(frozen=True)
class Load:
    """Residuals that are differences over time of points that are fixed to bodies, in all directions alike.

    Attributes:
        steps: what each frame of a difference counts, in the order of time; (1,) of points as they are.
        joints: (N,) which carry the points.
        places: (T, N, 3) metres from the pelvis.
        weight: (T', N) of the T' = T - len(steps) + 1 differences.
        pull: (T', N, 3, G) weight times what the differences change by along each shared variable.
    """

    steps: tuple[int, ...]
    joints: Tensor
    places: Tensor
    weight: Tensor
    pull: Tensor

    def of_frames(self, apart: int) -> Tensor:
        """(T, N) what points weigh against themselves so many frames after."""
        count, total = len(self.weight), self.weight.new_zeros(len(self.places), *self.weight.shape[1:])
        for first in range(len(self.steps) - apart):
            total[first : first + count].add_(self.weight, alpha=self.steps[first] * self.steps[first + apart])
        return total

    def forces(self) -> Tensor:
        """(T, N, 6, G) the pull on the bodies' twists."""
        count, total = len(self.pull), self.pull.new_zeros(len(self.places), *self.pull.shape[1:])
        for first, step in enumerate(self.steps):
            total[first : first + count].add_(self.pull, alpha=step)
        return torch.cat([total, torch.linalg.cross(self.places[..., None], total, dim=-2)], -2)


@dataclass(frozen=True)
class Single:
    """Residuals of a person's joints, each on one frame, and of what else is fixed to them.

    Attributes:
        weight: (T, J, 6, 6) what twists about the pelvis weigh.
        forces: (T, J, 6, G) against the shared variables.
    """

    weight: Tensor
    forces: Tensor


@dataclass(frozen=True)
class Rows:
    """Residuals whose slopes along the moves are known: of means of several joints.

    Attributes:
        slope: (T, M, D) times the square root of what each weighs.
        share: (T, M, G) the same along the shared variables.
    """

    slope: Tensor
    share: Tensor


def blocks_of(
    chain: Chain, single: Single, loads: Sequence[Load], rows: Sequence[Rows], turns: tuple[Tensor, Tensor], runs: Sequence[range]
) -> Iterator[Blocks]:
    """What a person's frames weigh, of those runs of frames one after the other.

    Args:
        turns: (T, F) what turns of the free joints weigh by themselves, (T - 1, F) and changes of them from frame to frame.
    """
    weights = [[load.of_frames(apart) for apart in range(len(load.steps))] for load in loads]
    place, change = (values.repeat_interleave(3, -1) for values in turns)
    for run in runs:
        for begin in range(run.start, run.stop, _CHUNK):
            count = min(_CHUNK, run.stop - begin)
            found = []
            for apart in range(3):
                span = slice(begin, max(begin, min(begin + count, run.stop - apart)))
                moments = chain.twists.new_zeros(span.stop - begin, chain.joints, 16)
                for load, weight in zip(loads, weights, strict=True):
                    if apart < len(weight):
                        after = load.places[begin + apart : span.stop + apart]
                        moments.index_add_(1, load.joints, _moments(weight[apart][span], load.places[span], after))
                composite = _of_twists(chain.composite(moments))
                if apart == 0:
                    composite += chain.composite(single.weight[span])
                block = chain.block(composite, begin, apart)
                found.append(block if len(block) == count else torch.cat([block, block.new_zeros(count - len(block), *block.shape[1:])]))
            same, following, after = found
            for each in rows:
                same.baddbmm_(each.slope[begin : begin + count].mT, each.slope[begin : begin + count])
            own, next_one = (block.diagonal(dim1=1, dim2=2)[:, 3:] for block in (same, following))
            own += place[begin : begin + count]
            own[: len(change) - begin] += change[begin : begin + count]
            first = 1 if begin == 0 else 0
            own[first:] += change[begin + first - 1 : begin + count - 1]
            next_one[: run.stop - 1 - begin] -= change[begin : min(begin + count, run.stop - 1)]
            yield Blocks(same.numpy(), following.numpy(), after.numpy())


def _moments(weight: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """(T', N, 16) what points weigh (T', N), that times their places (T', N, 3) on one frame, on another, and each of the one times each of
    the other: all that their twists need of them, and it adds up."""
    weighed = weight[..., None] * there
    return torch.cat([weight[..., None], weight[..., None] * here, weighed, (here[..., None] * weighed[..., None, :]).flatten(2)], -1)


def _of_twists(moments: Tensor) -> Tensor:
    """(T', C, 6, 6) what twists on one frame weigh against those on another: a point at a that moves by u + w x a weighs
    (u + w x a) . (v + z x b) = u . v - u . (b x z) + w . (a x v) + (w . z) (a . b) - (w . b) (z . a)."""
    total, here, there, both = moments.split([1, 3, 3, 9], -1)
    out = moments.new_zeros(*moments.shape[:2], 6, 6)
    out.flatten(2)[..., [0, 7, 14]] = total
    for place, sign, rows, columns in ((there, -1, 0, 3), (here, 1, 3, 0)):
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            out[..., rows + j, columns + i] = sign * place[..., k]
            out[..., rows + i, columns + j] = -sign * place[..., k]
    both = both.unflatten(-1, (3, 3))
    out[..., 3:, 3:] = -both.mT
    out.flatten(2)[..., [21, 28, 35]] += both.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    return out


def border_of(chain: Chain, single: Single, loads: Sequence[Load], rows: Sequence[Rows]) -> Tensor:
    """(T, D, G) what the moves weigh against the shared variables."""
    at_joints = single.forces.flatten(2).clone()
    for load in loads:
        at_joints.index_add_(1, load.joints, load.forces().flatten(2))
    border = chain.coordinates(chain.composite(at_joints).unflatten(2, single.forces.shape[2:]))
    for each in rows:
        border += each.slope.mT @ each.share
    return border
