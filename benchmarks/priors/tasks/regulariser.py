"""As a regulariser: does a fit with the prior converge from anywhere, and how soon?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.fitting import NO_PRIOR, Problem, fit
from pose_priors.benchmarks.priors.minimize import PATIENCE, TOLERANCE
from pose_priors.benchmarks.priors.noise import noisy_joints
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tables import ResultTable

_NUM_STARTS = 1000
_NUM_ALONE = 5
_MAX_STEPS = 4000
_NOISE_MM = 20.0
_SEED = 17


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Steps, seconds and failures of fits to noisy joints from random starts."""
    skeleton = Skeleton(data)
    problem = from_random_starts(data.test, skeleton, _SEED)
    rows: dict[str, dict[str, float | None]] = {}
    for candidate in (None, *candidates):
        began = time.perf_counter()
        found, fits = fit(problem, candidate, skeleton, _MAX_STEPS)
        together = time.perf_counter() - began
        rows[NO_PRIOR if candidate is None else candidate.name] = {
            "failures": int(fits.failed.sum()),
            "of them not finite": int((fits.broken | ~torch.isfinite(fits.energy)).sum()),
            "steps, median": float(fits.steps.double().median()),
            "steps, 95 %": float(fits.steps.double().quantile(0.95)),
            "s, one alone": statistics.median(_seconds_alone(problem, row, candidate, skeleton) for row in range(_NUM_ALONE)),
            "s, all at once": together,
            "mm, median": float(skeleton.mpjpe(found, problem.truth).median()),
        }
    title = f"As a regulariser: L-BFGS fits to joints with {_NOISE_MM:.0f} mm of noise, from {_NUM_STARTS} random starts"
    note = (
        "Starts: uniformly random rotations at all joints; in every tenth, every joint turns by pi. Converged: the energy fell by less "
        f"than {TOLERANCE} nats in {PATIENCE} steps, or no step along the gradient lowers it. Failed: anything not finite on the way, an "
        f"end above the start, or no convergence in {_MAX_STEPS} steps. A fit that converged may be in another minimum than the true "
        f"pose's. `one alone`: median of {_NUM_ALONE}."
    )
    return [ResultTable("regulariser", title, rows, ("failures", "mm, median"), notes=(note,))]


def _seconds_alone(problem: Problem, row: int, candidate: Candidate | None, skeleton: Skeleton) -> float:
    """Wall time of one of the fits by itself."""
    alone = problem.of(torch.tensor([row]))
    began = time.perf_counter()
    fit(alone, candidate, skeleton, _MAX_STEPS)
    return time.perf_counter() - began


def from_random_starts(poses: Tensor, skeleton: Skeleton, seed: int) -> Problem:
    """Noisy joints of poses (N, 55, 3), one after another and over again, each with a start of its own."""
    truth = poses[torch.arange(_NUM_STARTS) % len(poses)]
    return noisy_joints(truth, random_starts(_NUM_STARTS, seed), skeleton, _NOISE_MM, seed)


def random_starts(num: int, seed: int = _SEED) -> Tensor:
    """Poses (num, 55, 3) of uniformly random rotations; in every tenth, every joint turns by pi about a random axis."""
    generator = torch.Generator().manual_seed(seed)
    quat = torch.randn(num, 55, 4, generator=generator, dtype=torch.float64)
    quat[::10, :, 3] = 0  # xyzw: a quaternion without a real part is half a turn
    starts: Tensor = roma.unitquat_to_rotvec(quat / quat.norm(dim=-1, keepdim=True))
    return starts
