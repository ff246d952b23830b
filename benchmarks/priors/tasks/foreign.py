"""Poses that come from elsewhere: likelihood, what is told apart, and what is left of noise, on sources that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.significance import auroc_by_pose
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores
from pose_priors.benchmarks.priors.tasks import posterior_means
from pose_priors.benchmarks.priors.tasks.ood import corruptions

MEAN = "mean of sources"
"""The column in which each source counts once, whatever it holds."""
_TOLD_APART = ("1 joint", "left arm", "2 deg")
_ALIKE = "Poses of one clip resemble each other: of single sources, and of all poses together, the true errors are larger."


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Nothing where there are no other sources."""
    if not data.foreign:
        return []
    poses = torch.cat(list(data.foreign.values()))
    scores: dict[str, dict[str, Tensor | None]] = {}
    told: dict[str, dict[str, Tensor | None]] = {}
    wrong = {name: changed for name, changed in corruptions(poses, data).items() if name in _TOLD_APART}
    for candidate in candidates:
        real = candidate.surprisal(poses)
        told[candidate.name] = {name: auroc_by_pose(real, candidate.surprisal(changed)) for name, changed in wrong.items()}
        if candidate.has_density:
            of_sources = real.split([len(source) for source in data.foreign.values()])
            mean = torch.stack([values.mean() for values in of_sources])
            scores[candidate.name] = {MEAN: mean, **dict(zip(data.foreign, of_sources, strict=True))}
    given = f"{len(poses)} poses of {len(data.foreign)} other sources"
    title = f"Likelihood of {given}: nats against normalised Haar measure over {len(data.joint_indices)} joints"
    about = f"`{MEAN}`: each source counts once, and the test is over {len(data.foreign)} sources. {_ALIKE}"
    left = posterior_means.remaining(candidates, poses, Skeleton(data))
    return [
        table_of_scores("foreign_likelihood", title, scores, about),
        table_of_scores("foreign_ood", f"Out of distribution: AUROC of the surprisal, {given}", told, _ALIKE, higher_is_better=True),
        table_of_scores(
            "foreign_posterior_means",
            f"Denoising of rotations by the posterior mean: degrees per scored joint, {given}",
            left,
            f"{posterior_means.NOTE} {_ALIKE}",
        ),
    ]
