"""A rig brought to where a skeleton of ours is, by inverse kinematics of all frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.rigs.model import Part, Rig

# What joints and their turns may be off by, and how much rest counts beside them.
_PLACE_M, _TURN = 0.01, 0.15
_REST_SHARE = 0.02
# Frames from which proportions are found, that are solved for at once, and steps.
_NUM_FOR_PROPORTIONS, _AT_ONCE, _STEPS = 16, 300, 400
_TORSO = ("left_hip", "right_hip", "left_shoulder", "right_shoulder", "neck")
# A frame whose joints are off by more, and by so many times more than frames are, starts anew from its neighbour's solution.
_FAR_M, _FAR_TIMES = 0.03, 3.0


@dataclass(frozen=True)
class Rigged:
    """A person in a rig.

    Attributes:
        parameters: the rig's own, (T, ...) each.
        joints: names of the K joints that both have.
        error: (T, K) distance of the rig's joints from ours in metres.
    """

    parameters: dict[str, np.ndarray]
    joints: tuple[str, ...]
    error: np.ndarray


def fit_rig(rig: Rig, names: Sequence[str], joints: np.ndarray, turns: np.ndarray, rest: np.ndarray) -> Rigged:
    """The rig where a skeleton is.

    Proportions are those with which the rig comes nearest to joints of some frames, from where it bends as they do, and how joints of the
    two differ in what they call unturned follows from the rig's pose for our skeleton at rest. After that places and turns of each frame
    are met, where they do not tell by what is nearest to the rig at rest: normal errors of 1 cm and 0.15 rad beside a normal prior, by
    L-BFGS.

    Args:
        names: SMPL-X's names of the J joints.
        joints: (T, J, 3) in metres.
        turns: (T, J, 3, 3) in the world, of each joint from its rest.
        rest: (J, 3) the joints when nothing is turned: y up, z forward, x to the body's left.
    """
    shared = tuple(name for name in rig.joints if name in names)
    columns = [list(names).index(name) for name in shared]
    middle = joints[:, columns].mean((0, 1))
    target, turned = (torch.from_numpy(value[:, columns]).float() for value in (joints - middle, turns))
    some = np.unique(np.linspace(0, len(target) - 1, _NUM_FOR_PROPORTIONS).round().astype(int))
    solver = _Solver(rig, shared)
    at_rest = torch.from_numpy(rest[None, columns]).float()
    unturned = solver.posed(solver.solve(at_rest, None, None))[1].detach()
    # by places alone legs of a rig that stands may come to lie beside those of somebody who squats: turns lead them there first
    bent = solver.solve(target[some], turned[some] @ unturned, None)
    clip = solver.solve(target[some], None, None, bent).clip
    unturned = solver.posed(solver.solve(at_rest, None, clip))[1].detach()
    found = [solver.solve(*chunk, clip) for chunk in zip(target.split(_AT_ONCE), (turned @ unturned).split(_AT_ONCE), strict=True)]
    frames = {key: torch.cat([chunk.frames[key] for chunk in found]) for key in found[0].frames}
    solution = solver.again_where_far(_Solution(frames, clip), target, turned @ unturned)
    parameters = {key: value.numpy() for key, value in solver.parameters(solution).items()}
    parameters["global_translation"] = parameters["global_translation"] + middle
    return Rigged(parameters, shared, solver.errors(solution, target).numpy())


@dataclass(frozen=True)
class _Solution:
    """Numbers of each part: of `frames` (T, count), of the `clip` (1, count), by parameter and position."""

    frames: dict[tuple[str, int], Tensor]
    clip: dict[tuple[str, int], Tensor]


class _Solver:
    def __init__(self, rig: Rig, joints: Sequence[str]) -> None:
        self._rig, self._joints = rig, joints
        rest = {name: value.reshape(1, -1).float() for name, value in rig.at_rest(1).items()}
        self._rest = {  # (1, count) of each part
            (name, number): value
            for name, parts in rig.parts.items()
            for number, value in enumerate(rest[name].split([part.count for part in parts], 1))
        }
        self._torso = [list(joints).index(name) for name in _TORSO if name in joints]

    def parameters(self, solution: _Solution) -> dict[str, Tensor]:
        """(T, *shape) of each parameter."""
        num = len(next(iter(solution.frames.values())))
        result = {}
        for name, parts in self._rig.parts.items():
            values = []
            for number, part in enumerate(parts):
                key = (name, number)
                own = solution.frames.get(key, solution.clip.get(key))
                values.append((self._rest[key] if own is None else _within(part, own)).expand(num, -1))
            result[name] = torch.cat(values, 1).reshape(num, *self._rig.shapes[name])
        return result

    def posed(self, solution: _Solution) -> tuple[Tensor, Tensor]:
        """Places (T, K, 3) and turns (T, K, 3, 3)."""
        return self._rig(self.parameters(solution), self._joints)

    @torch.no_grad()
    def errors(self, solution: _Solution, target: Tensor) -> Tensor:
        """(T, K) distances from the places (T, K, 3)."""
        distance: Tensor = torch.linalg.vector_norm(self.posed(solution)[0] - target, dim=-1)
        return distance

    def solve(
        self, target: Tensor, turned: Tensor | None, clip: dict[tuple[str, int], Tensor] | None, start: _Solution | None = None
    ) -> _Solution:
        """Places (T, K, 3) met, and turns (T, K, 3, 3) where they are given; what the clip shares is found, too, where it is not given."""
        frames = self._frames(target) if start is None else {key: value.clone() for key, value in start.frames.items()}
        first = self._starts("clip", 1) if start is None else start.clip
        shared = clip if clip is not None else {key: value.clone() for key, value in first.items()}
        unknown = [*frames.values(), *(shared.values() if clip is None else ())]
        for value in unknown:
            value.requires_grad_()
        solution = _Solution(frames, shared)
        search = torch.optim.LBFGS(
            unknown, max_iter=_STEPS, history_size=30, tolerance_grad=1e-5, tolerance_change=1e-8, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            search.zero_grad()
            loss = self._loss(solution, target, turned) / len(target)
            loss.backward()
            return float(loss.detach())

        search.step(closure)
        return _Solution(*({key: value.detach() for key, value in values.items()} for values in (frames, shared)))

    def again_where_far(self, solution: _Solution, target: Tensor, turned: Tensor) -> _Solution:
        """Frames that ended elsewhere start anew from the nearest one that did not, and keep what is nearer."""
        error = self.errors(solution, target).mean(-1)
        is_far = (error > _FAR_M) & (error > _FAR_TIMES * error.median())
        rows, near = is_far.nonzero().squeeze(-1), (~is_far).nonzero().squeeze(-1)
        if not len(rows) or not len(near):
            return solution
        neighbour = near[(rows[:, None] - near).abs().argmin(-1)]
        start = _Solution({key: value[neighbour] for key, value in solution.frames.items()}, solution.clip)
        again = self.solve(target[rows], turned[rows], solution.clip, start)
        better = self.errors(again, target[rows]).mean(-1) < error[rows]
        frames = {key: value.index_copy(0, rows[better], again.frames[key][better]) for key, value in solution.frames.items()}
        return _Solution(frames, solution.clip)

    def _loss(self, solution: _Solution, target: Tensor, turned: Tensor | None) -> Tensor:
        place, turn = self.posed(solution)
        loss = ((place - target) / _PLACE_M).square().sum() / 2
        if turned is not None:  # of a small angle the squared difference of two rotations is twice its square
            loss = loss + ((turn - turned) / _TURN).square().sum() / 4
        for (name, number), value in (solution.frames | solution.clip).items():
            part = self._rig.parts[name][number]
            if not name.startswith("global"):
                at_rest = _unbound(part, self._rest[name, number])
                loss = loss + _REST_SHARE * ((value - at_rest) / part.spread).square().sum() / 2
        return loss

    def _starts(self, over: str, num: int) -> dict[tuple[str, int], Tensor]:
        """Numbers at rest of the parts that frames or the clip have, (num, count)."""
        parts = {(name, number): self._rig.parts[name][number] for name, number in self._rest}
        return {key: _unbound(part, self._rest[key]).repeat(num, 1) for key, part in parts.items() if part.over == over}

    def _frames(self, target: Tensor) -> dict[tuple[str, int], Tensor]:
        """The rig at rest, its torso where the skeleton's is (Procrustes)."""
        result = self._starts("frames", len(target))
        with torch.no_grad():
            rest, _ = self.posed(_Solution(self._starts("frames", 1), self._starts("clip", 1)))
        ours, theirs = target[:, self._torso], rest[:, self._torso]
        centre, centre_at_rest = ours.mean(1, keepdim=True), theirs.mean(1, keepdim=True)
        turn = conversions.special_procrustes(torch.einsum("tki,kj->tij", ours - centre, (theirs - centre_at_rest)[0]))
        result["global_rotation", 0] = conversions.rotmat_to_rotvec(turn)
        result["global_translation", 0] = (centre - centre_at_rest @ turn.mT)[:, 0]
        return result


def _within(part: Part, value: Tensor) -> Tensor:
    """From an unbounded number to the part's range."""
    if part.within is None:
        return value
    low, high = part.within
    return low + (high - low) * value.sigmoid()


def _unbound(part: Part, value: Tensor) -> Tensor:
    """The inverse of `_within`."""
    if part.within is None:
        return value
    low, high = part.within
    return ((value - low) / (high - low)).logit()
