"""Poses that are fitted to observations with a prior: the most probable ones, by L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.minimize import Fit, minimize
from pose_priors.benchmarks.priors.skeleton import Skeleton

NO_PRIOR = "no prior"
"""The row of what the observations tell alone."""


@dataclass(frozen=True)
class Problem:
    """N poses, or motions of T frames, that are to be found from observations.

    Args:
        truth: (N, ..., 55, 3), of which a fit is given only the joints that are not scored.
        start: (N, ..., 55, 3) where it begins.
        data_energy: negative log-likelihood of what is seen but for a constant, of poses (M, ..., 55, 3) of the numbers (M,): (M,) nats.
        basis: of motions: (T, T) courses over time, in columns, by whose sums the search moves; without it each frame moves by itself.
    """

    truth: Tensor
    start: Tensor
    data_energy: Callable[[Tensor, Tensor], Tensor]
    basis: Tensor | None = None

    def of(self, numbers: Tensor) -> Problem:
        """Some of the N, by their numbers (M,)."""

        def data_energy(pose: Tensor, rows: Tensor) -> Tensor:
            return self.data_energy(pose, numbers[rows])

        return Problem(self.truth[numbers], self.start[numbers], data_energy, self.basis)


def fit(
    problem: Problem,
    candidate: Candidate | None,
    skeleton: Skeleton,
    max_steps: int,
    weight: float = 1.0,
    noises: Sequence[float] = (),
) -> tuple[Tensor, Fit]:
    """The poses (N, ..., 55, 3) that minimise the sum of data term and prior, and how the search went.

    Args:
        candidate: the prior, or none.
        max_steps: of L-BFGS.
        weight: of the prior's energy.
        noises: radians about each axis by which the prior is smoothed, one after another, before it is taken as it is: each search goes
            on where the last one ended. Of candidates that know it.
    """
    of_prior = [None] if candidate is None else [*(candidate.smoothed(noise) for noise in noises), candidate.energy]
    *_, last = searches(problem, of_prior, skeleton, max_steps, weight)
    return last


def searches(
    problem: Problem, of_prior: Sequence[Callable[[Tensor], Tensor] | None], skeleton: Skeleton, max_steps: int, weight: float = 1.0
) -> Iterator[tuple[Tensor, Fit]]:
    """What `fit` returns, after a search with each of the energies of a prior in turn; each goes on where the last one ended."""
    start = problem.start[..., skeleton.scored, :]

    def at(moved: Tensor, rows: Tensor | slice) -> Tensor:
        change = moved if problem.basis is None else torch.einsum("ts,ns...->nt...", problem.basis, moved)
        return skeleton.with_scored(problem.truth[rows], start[rows] + change)

    def objective(moved: Tensor, rows: Tensor, energy_of: Callable[[Tensor], Tensor] | None) -> Tensor:
        pose = at(moved, rows)
        energy = problem.data_energy(pose, rows)
        if energy_of is None:
            return energy
        return energy + weight * energy_of(pose.flatten(0, -3)).view(len(pose), -1).sum(1)

    point = torch.zeros_like(start)
    for energy_of in of_prior:
        found = minimize(partial(objective, energy_of=energy_of), point, max_steps)
        point = found.point
        yield at(point, slice(None)), found


def remaining_errors(
    candidates: Sequence[Candidate],
    skeleton: Skeleton,
    levels: Mapping[str, tuple[Problem, Problem]],
    error: Callable[[Tensor, Tensor], Tensor],
    weights: Sequence[float],
    max_steps: int,
    noises: Sequence[float],
) -> tuple[dict[str, dict[str, Tensor | None]], str]:
    """The error that each prior leaves, with weight 1, with the weight that leaves the least on validation, and with weight 1 after it was
    smoothed.

    Args:
        levels: by their name, what is scored, and what the weight is chosen by.
        error: of poses and true ones, (N, ...).
        weights: to choose among.
        noises: by which priors are smoothed, as of `fit`.
    Returns:
        what each prior leaves of the N poses or motions, (N,), by the columns of a table, and a sentence that tells the weights.
    """

    def error_with(problem: Problem, candidate: Candidate | None, weight: float, noises: Sequence[float] = ()) -> Tensor:
        pose, _ = fit(problem, candidate, skeleton, max_steps, weight, noises)
        return error(pose, problem.truth).view(len(pose), -1).mean(1)

    def judged(problem: Problem, candidate: Candidate, weight: float) -> float:
        return float(error_with(problem, candidate, weight).mean())

    scores: dict[str, dict[str, Tensor | None]] = {name: {} for name in (NO_PRIOR, *(candidate.name for candidate in candidates))}
    chosen_weights: dict[str, list[str]] = {candidate.name: [] for candidate in candidates}
    for level, (test, val) in levels.items():
        scores[NO_PRIOR][level] = error_with(test, None, 0)
        for candidate in candidates:
            chosen = min(weights, key=partial(judged, val, candidate))
            plain = error_with(test, candidate, 1)
            scores[candidate.name] |= {level: plain, f"{level}*": plain if chosen == 1 else error_with(test, candidate, chosen)}
            smooths = candidate.smoothed(noises[0]) is not None
            scores[candidate.name][f"{level}~"] = error_with(test, candidate, 1, noises) if smooths else None
            chosen_weights[candidate.name].append(f"{chosen:g}")
    told = "; ".join(f"{name} {', '.join(numbers)}" for name, numbers in chosen_weights.items())
    of_noises = ", ".join(f"{math.degrees(noise):.0f}" for noise in noises)
    return (
        scores,
        f"*: with the weight chosen, {told}. ~: with weight 1, after as many steps each with the prior smoothed by {of_noises} deg.",
    )
