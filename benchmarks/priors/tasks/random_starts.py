"""Fits from random starts by better estimates than the nearest mode: searches from coarse to fine, and the posterior mean."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.fitting import NO_PRIOR, Problem, fit, searches
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores
from pose_priors.benchmarks.priors.tasks import posteriors
from pose_priors.benchmarks.priors.tasks.regulariser import from_random_starts

log = logging.getLogger("benchmark")

# Starts of the task `regulariser` that are looked at; every tenth of those is half a turn at all joints, of these too.
_EVERY, _EVERY_OF_VALIDATION = 13, 41
_SEED = 17
_MAX_STEPS = 4000
# Degrees about each axis by which a prior is smoothed, until it is taken as it is.
_NOISES = (40, 16, 8, 4, 0)
_NUM_DRAWS = 64
ONE_SEARCH, COARSE_TO_FINE, POSTERIOR_MEAN = "one search", "coarse to fine", "posterior mean"


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """What each estimate is off by, given the noisy joints of the task `regulariser`."""
    skeleton = Skeleton(data)
    test = _some(from_random_starts(data.test, skeleton, _SEED), _EVERY)
    val = _some(from_random_starts(data.val, skeleton, _SEED + 1), _EVERY_OF_VALIDATION)
    alone, fits = fit(test, None, skeleton, _MAX_STEPS)
    scores: dict[str, dict[str, Tensor | None]] = {NO_PRIOR: {ONE_SEARCH: skeleton.mpjpe(alone, test.truth)}}
    more: dict[str, dict[str, float | None]] = {NO_PRIOR: {f"{ONE_SEARCH}: failed": int(fits.failed.sum())}}
    of_means = posteriors.errors(candidates, {POSTERIOR_MEAN: test}, skeleton, _NUM_DRAWS, ("mm",))
    told = []
    for candidate in candidates:
        name, began = candidate.name, time.process_time()
        found, fits = fit(test, candidate, skeleton, _MAX_STEPS)
        _log(name, ONE_SEARCH, error := skeleton.mpjpe(found, test.truth), began)
        scores[name], more[name] = {ONE_SEARCH: error}, {f"{ONE_SEARCH}: failed": int(fits.failed.sum())}
        if noises := _chosen_by(val, candidate, skeleton):
            began = time.process_time()
            of_test = list(searches(test, [_smoothed(candidate, noise) for noise in noises], skeleton, _MAX_STEPS))
            _log(name, COARSE_TO_FINE, error := skeleton.mpjpe(of_test[-1][0], test.truth), began)
            scores[name][COARSE_TO_FINE] = error
            more[name][f"{COARSE_TO_FINE}: failed"] = int(torch.stack([fits.failed for _, fits in of_test]).any(0).sum())
            told.append(f"{name} {noises[-1]:g}")
        scores[name] |= of_means[name]
    for name, row in scores.items():
        more[name] |= {f"{column}: median": float(value.median()) for column, value in row.items() if value is not None}
    title = f"Fits to joints with noise from random starts, by estimate: mm per joint, {len(test.truth)} starts"
    note = (
        f"Every {_EVERY}th start of the task `regulariser`. `{ONE_SEARCH}`: as there. `{COARSE_TO_FINE}`: searches with the prior smoothed "
        f"by {', '.join(f'{noise:g}' for noise in _NOISES)} degrees about each axis, each from where the last one ended, down to the one "
        f"whose median is the least from {len(val.truth)} random starts on validation poses: {'; '.join(told)}. `{POSTERIOR_MEAN}`: of "
        f"{_NUM_DRAWS} draws, which need no start."
    )
    return [table_of_scores("random_starts", title, scores, note, more=more)]


def _chosen_by(val: Problem, candidate: Candidate, skeleton: Skeleton) -> Sequence[float]:
    """The degrees by which the prior is smoothed in turn, down to those that leave the least; none of one that knows no noise."""
    known = [noise for noise in _NOISES if _smoothed(candidate, noise) is not None]
    if known in ([], [0]):
        return []
    began, medians = time.process_time(), []
    for noise, (pose, _) in zip(known, searches(val, [_smoothed(candidate, noise) for noise in known], skeleton, _MAX_STEPS), strict=True):
        _log(candidate.name, f"validation, {noise:g} deg", error := skeleton.mpjpe(pose, val.truth), began)
        medians.append(float(error.median()))
    return known[: medians.index(min(medians)) + 1]


def _smoothed(candidate: Candidate, noise: float) -> Callable[[Tensor], Tensor] | None:
    return candidate.smoothed(math.radians(noise)) if noise else candidate.energy


def _some(problem: Problem, every: int) -> Problem:
    return problem.of(torch.arange(0, len(problem.truth), every))


def _log(name: str, estimate: str, error: Tensor, began: float) -> None:
    spent = time.process_time() - began
    log.info("%s, %s: median %.4g mm, mean %.4g, %.0f processor seconds", name, estimate, error.median(), error.mean(), spent)
