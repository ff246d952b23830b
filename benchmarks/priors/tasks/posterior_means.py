"""Denoising of rotations with normal noise of known size by the posterior mean, of all test poses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.noise import noisy_rotations
from pose_priors.benchmarks.priors.skeleton import Skeleton, degrees
from pose_priors.benchmarks.priors.tables import ResultTable

_DEGREES = (2, 5, 10)
# the noise of the task `denoising`
_SEED = 19


@torch.no_grad()
def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Errors that are left by the posterior mean of each candidate that knows it, with standard errors over poses."""
    skeleton = Skeleton(data)
    seen = {std: noisy_rotations(data.test, skeleton, std, _SEED).start for std in _DEGREES}
    rows: dict[str, dict[str, float | None]] = {"as seen": {}}
    errors: dict[str, dict[int, torch.Tensor]] = {}
    for std, start in seen.items():
        of_start = degrees(start, data.test, skeleton.scored)
        rows["as seen"] |= {f"{std} deg": float(of_start.mean()), f"{std} deg +-": None}
        for candidate in candidates:
            found = candidate.denoise(start, math.radians(std))
            row = rows.setdefault(candidate.name, {})
            if found is None:
                row |= dict.fromkeys((f"{std} deg", f"{std} deg +-"))
                continue
            error = degrees(found, data.test, skeleton.scored)
            errors.setdefault(candidate.name, {})[std] = error
            row |= {f"{std} deg": float(error.mean()), f"{std} deg +-": float(error.std() / math.sqrt(len(error)))}
    title = f"Denoising of rotations by the posterior mean: degrees per scored joint, {len(data.test)} poses"
    notes = ["Components of the noise have so many degrees each. +-: the standard error over poses.", *_paired(errors)]
    return [ResultTable("posterior_means", title, rows, tuple(f"{std} deg" for std in _DEGREES), notes=tuple(notes))]


def _paired(errors: dict[str, dict[int, torch.Tensor]]) -> list[str]:
    """How far the best of each column is ahead of the second, pose by pose."""
    if len(errors) < 2:
        return []
    told = []
    for std in _DEGREES:
        first, second = sorted(errors, key=lambda name: float(errors[name][std].mean()))[:2]
        ahead = errors[second][std] - errors[first][std]
        told.append(f"{std} deg: {first} ahead of {second} by {ahead.mean():.3f} +- {ahead.std() / math.sqrt(len(ahead)):.3f}")
    return ["Pose by pose, " + "; ".join(told) + "."]
