"""Denoising of rotations with normal noise of known size by the posterior mean, of all test poses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.noise import noisy_rotations
from pose_priors.benchmarks.priors.skeleton import Skeleton, degrees
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores

_DEGREES = (2, 5, 10)
# the noise of the task `denoising`
_SEED = 19
NOTE = "Components of the noise have so many degrees each."


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Errors that are left by the posterior mean of each candidate that knows it."""
    scores = remaining(candidates, data.test, Skeleton(data))
    title = f"Denoising of rotations by the posterior mean: degrees per scored joint, {len(data.test)} poses"
    return [table_of_scores("posterior_means", title, scores, NOTE)]


@torch.no_grad()
def remaining(candidates: Sequence[Candidate], poses: Tensor, skeleton: Skeleton) -> dict[str, dict[str, Tensor | None]]:
    """Of poses (N, 55, 3), what each candidate leaves of each noise, and what there was of it: (N,) degrees per scored joint."""
    scores: dict[str, dict[str, Tensor | None]] = {"as seen": {}, **{candidate.name: {} for candidate in candidates}}
    for std in _DEGREES:
        seen = noisy_rotations(poses, skeleton, std, _SEED).start
        scores["as seen"][f"{std} deg"] = degrees(seen, poses, skeleton.scored)
        for candidate in candidates:
            found = candidate.denoise(seen, math.radians(std))
            scores[candidate.name][f"{std} deg"] = None if found is None else degrees(found, poses, skeleton.scored)
    return scores
