"""The tasks, by the names that `--tasks` takes. A task is a function of candidates and data that returns tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.tables import ResultTable
from pose_priors.benchmarks.priors.tasks import (
    completion,
    denoising,
    foreign,
    generation,
    inverse_kinematics,
    likelihood,
    ood,
    posterior_means,
    posteriors,
    random_starts,
    regulariser,
)

Task = Callable[[Sequence[Candidate], BenchmarkData], list[ResultTable]]

TASKS: dict[str, Task] = {
    "likelihood": likelihood.run,
    "generation": generation.run,
    "completion": completion.run,
    "denoising": denoising.run,
    "posterior_means": posterior_means.run,
    "posterior_kinematics": posteriors.kinematics,
    "posterior_joints": posteriors.joints,
    "ood": ood.run,
    "foreign": foreign.run,
    "inverse_kinematics": inverse_kinematics.run,
    "regulariser": regulariser.run,
    "random_starts": random_starts.run,
}
