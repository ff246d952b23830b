"""Completion: a part of the body is hidden, and drawn or estimated from the rest (the masks of Lu et al., "DPoser")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData, spread
from pose_priors.benchmarks.priors.parts import scored_parts
from pose_priors.benchmarks.priors.skeleton import END_EFFECTORS, Skeleton, degrees
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores

_NUM_POSES = 500
_NUM_DRAWS = 10
_SEED = 11
ENDS_ONLY = "ends only"
"""The part whose hidden joints are all but the five end effectors."""


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """How far the hidden joints are from the true ones: the best and the mean of ten draws, and the point estimate."""
    poses, skeleton = spread(data.test, _NUM_POSES), Skeleton(data)
    parts = hidden_parts(data)
    tables: dict[str, dict[str, dict[str, Tensor | None]]] = {unit: {} for unit in ("deg", "mm")}
    for candidate in candidates:
        rows: dict[str, dict[str, Tensor | None]] = {unit: {} for unit in tables}
        for name, hidden in parts.items():
            drawn = candidate.complete(poses, hidden, _NUM_DRAWS, torch.Generator().manual_seed(_SEED))
            point = candidate.complete_point(poses, hidden)
            below = skeleton.below(hidden)
            for unit, of_draws, of_point in (
                ("deg", degrees(drawn, poses, hidden), degrees(point, poses, hidden)),
                ("mm", skeleton.millimetres(drawn, poses, below), skeleton.millimetres(point, poses, below)),
            ):
                rows[unit] |= {
                    f"{name}: best": of_draws.min(0).values,
                    f"{name}: mean": of_draws.mean(0),
                    f"{name}: point": of_point,
                }
        for unit, row in rows.items():
            tables[unit][candidate.name] = row
    given = f"{len(poses)} poses, {_NUM_DRAWS} draws each"
    titles = {
        "deg": f"Completion: geodesic degrees of the hidden joints, {given}",
        "mm": f"Completion: millimetres of the hidden joints and those below them on the built-in skeleton, {given}",
    }
    note = (
        f"Joints that are not scored are given. `{ENDS_ONLY}`: only head, wrists and ankles are seen. Best and mean of the draws pull "
        "apart: a wider density has a better best and a worse mean."
    )
    return [table_of_scores(f"completion_{unit}", titles[unit], scores, note) for unit, scores in tables.items()]


def hidden_parts(data: BenchmarkData) -> dict[str, tuple[int, ...]]:
    """SMPL-X indices of the joints that are hidden, by the part's name; all of them are scored, and some that are scored are seen."""
    parts = scored_parts(data.joint_indices)
    inner = tuple(joint for joint in data.joint_indices if joint not in END_EFFECTORS)
    if inner and len(inner) < len(data.joint_indices):
        parts[ENDS_ONLY] = inner
    return parts
