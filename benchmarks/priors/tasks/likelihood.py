"""Likelihood: how much of its density a prior gives to poses that it has not seen, whole and part by part."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate, ConditionalDensityCandidate, DensityCandidate
from pose_priors.benchmarks.priors.completion import fitted_mixture
from pose_priors.benchmarks.priors.conditional import conditional_log_prob
from pose_priors.benchmarks.priors.data import BenchmarkData, spread
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.parts import scored_parts
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores
from pose_priors.priors.evaluation.scores import bits_per_dof

_CONDITIONED_POSES = 50
_DRAWS = 600
_MAX_CHANGE = 0.5


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Likelihood of the test poses, and of each part given the rest of the pose; of joints of which none make a part, such as fingers, the
    first alone."""
    whole = _whole(candidates, data)
    return [whole, _by_part(candidates, data)] if scored_parts(data.joint_indices) else [whole]


def _whole(candidates: Sequence[Candidate], data: BenchmarkData) -> ResultTable:
    scores: dict[str, dict[str, Tensor | None]] = {}
    more: dict[str, dict[str, float | None]] = {}
    for candidate in candidates:
        nll = candidate.surprisal(data.test) if candidate.has_density else None
        scores[candidate.name] = {"NLL": nll}
        more[candidate.name] = dict.fromkeys(("bits/DoF", "median", "worst"))
        if nll is not None:
            bits = bits_per_dof(float(nll.mean()), len(data.joint_indices))
            more[candidate.name] = {"bits/DoF": bits, "median": float(nll.median()), "worst": float(nll.max())}
    title = f"Likelihood of {len(data.test)} poses: nats against normalised Haar measure over {len(data.joint_indices)} joints"
    return table_of_scores("likelihood", title, scores, *_without_density(candidates), more=more)


def _by_part(candidates: Sequence[Candidate], data: BenchmarkData) -> ResultTable:
    poses, parts = spread(data.test, _CONDITIONED_POSES), scored_parts(data.joint_indices)
    mixtures = [candidate for candidate in candidates if isinstance(candidate, Mixture)]
    best = sorted(mixtures, key=lambda candidate: float(candidate.energies(data.val).mean()))[:1]
    scores: dict[str, dict[str, Tensor | None]] = {candidate.name: dict.fromkeys(parts) for candidate in candidates}
    estimated = []
    for candidate in candidates:
        if isinstance(candidate, ConditionalDensityCandidate):
            scores[candidate.name] = {name: -candidate.conditional_log_prob(poses, part) for name, part in parts.items()}
        elif isinstance(candidate, DensityCandidate):
            proposals, told = [*best, fitted_mixture(candidate)], []
            for name, part in parts.items():
                log_prob, change = conditional_log_prob(candidate, poses, part, proposals, _DRAWS)
                scores[candidate.name][name] = -log_prob if change < _MAX_CHANGE else None
                told.append(f"{name} {change:.2f}")
            estimated.append(f"{candidate.name}: {', '.join(told)}.")
    if estimated:
        about = (
            "Mixtures are exact, and flow matching has learnt its conditionals beside its density. Others are estimated from "
            f"{_DRAWS} draws a pose, which errs towards a lower NLL: with half of the draws by so many nats "
            f"more. Where this is {_MAX_CHANGE} or more, the estimate is not shown."
        )
        estimated.insert(0, about)
    title = f"Likelihood of a part given the rest of the pose: NLL in nats, {len(poses)} poses"
    return table_of_scores("conditional_likelihood", title, scores, *estimated, *_without_density(candidates))


def _without_density(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    names = [candidate.name for candidate in candidates if not candidate.has_density]
    return (f"Without a density: {', '.join(names)}.",) if names else ()
