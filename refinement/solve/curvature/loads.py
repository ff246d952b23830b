"""What residuals of one person weigh, as matrices at points that its bodies carry, or along the moves themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pose_priors.refinement.solve.curvature.arrow import Band
from pose_priors.refinement.solve.curvature.composite import Chain

_CHUNK = 64  # frames, whose blocks are in memory together


def runs_of(moving: np.ndarray) -> list[range]:
    """The frames (T,) that move, by those that follow each other."""
    edges = np.flatnonzero(np.diff(np.r_[False, moving, False]))
    return [range(begin, stop) for begin, stop in edges.reshape(-1, 2).tolist()]


@dataclass(frozen=True)
class Load:
    """Residuals that are differences over time of points that are fixed to bodies.

    Attributes:
        steps: what each frame of a difference counts, in the order of time; (1,) of points as they are.
        joints: (N,) which carry the points.
        moved: (T, N, 3, 6) what the points move by with their bodies' twists.
        weight: (T', N, 3, 3), or (T', N, 1, 1) where it is the same in all directions, of the T' = T - len(steps) + 1 differences.
        pull: (T', N, 3, G) weight times what the differences change by along each shared variable.
    """

    steps: tuple[int, ...]
    joints: Tensor
    moved: Tensor
    weight: Tensor
    pull: Tensor

    def of_frames(self, apart: int) -> Tensor:
        """(T, N, 3, 3) or (T, N, 1, 1) what points weigh against themselves so many frames after."""
        count, total = len(self.weight), self.weight.new_zeros(len(self.moved), *self.weight.shape[1:])
        for first in range(len(self.steps) - apart):
            total[first : first + count].add_(self.weight, alpha=self.steps[first] * self.steps[first + apart])
        return total

    def forces(self) -> Tensor:
        """(T, N, 6, G) the pull on the bodies' twists."""
        count, total = len(self.pull), self.pull.new_zeros(len(self.moved), *self.pull.shape[1:])
        for first, step in enumerate(self.steps):
            total[first : first + count].add_(self.pull, alpha=step)
        return self.moved.mT @ total


@dataclass(frozen=True)
class Rows:
    """Residuals whose slopes along the moves are known: of means of several joints.

    Attributes:
        slope: (T, M, D) times the square root of what each weighs.
        share: (T, M, G) the same along the shared variables.
    """

    slope: Tensor
    share: Tensor


def add_loads(band: Band, chain: Chain, loads: Sequence[Load], rows: Sequence[Rows], runs: Sequence[range]) -> None:
    """Adds what they weigh to a person's part, of those runs of frames one after the other."""
    weights = [[load.of_frames(apart) for apart in range(len(load.steps))] for load in loads]
    place = 0
    for run in runs:
        for begin in range(run.start, run.stop, _CHUNK):
            for apart, block in enumerate(band.blocks):
                span = slice(begin, min(begin + _CHUNK, run.stop - apart))
                if span.stop <= begin:
                    continue
                after = slice(begin + apart, span.stop + apart)
                at_joints = chain.twists.new_zeros(span.stop - begin, chain.joints, 36)
                for load, weight in zip(loads, weights, strict=True):
                    if apart < len(weight):
                        of_twists = load.moved[span].mT @ _times(weight[apart][span], load.moved[after])
                        at_joints.index_add_(1, load.joints, of_twists.flatten(2))
                there = slice(place + begin - run.start, place + span.stop - run.start)
                block[there] = chain.block(chain.composite(at_joints).unflatten(2, (6, 6)), begin, apart).numpy()
                if apart == 0:
                    for each in rows:
                        block[there] += (each.slope[span].mT @ each.slope[span]).triu().numpy()
        place += len(run)


def _times(weight: Tensor, moved: Tensor) -> Tensor:
    return weight * moved if weight.shape[-1] == 1 else weight @ moved


def border_of(chain: Chain, loads: Sequence[Load], rows: Sequence[Rows], shared: int) -> Tensor:
    """(T, D, G) what the moves weigh against the shared variables."""
    at_joints = chain.twists.new_zeros(chain.frames, chain.joints, 6 * shared)
    for load in loads:
        at_joints.index_add_(1, load.joints, load.forces().flatten(2))
    border = chain.coordinates(chain.composite(at_joints).unflatten(2, (6, shared)))
    for each in rows:
        border += each.slope.mT @ each.share
    return border
