"""Poses from joints in space, or keypoints in a picture, by the posterior mean: what is expected of them, not what is most probable."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData, spread
from pose_priors.benchmarks.priors.fitting import Problem
from pose_priors.benchmarks.priors.noise import noisy_joints
from pose_priors.benchmarks.priors.significance import standard_error
from pose_priors.benchmarks.priors.skeleton import Skeleton, degrees
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores
from pose_priors.benchmarks.priors.tasks.denoising import SEED
from pose_priors.benchmarks.priors.tasks.inverse_kinematics import observed
from pose_priors.body.rotations import mean_rotation

log = logging.getLogger("benchmark")

_NUM_POSES = 100
_NUM_DRAWS, _NUM_DRAWS_OF_NOISY = 48, 64
# Poses whose posteriors are drawn at once.
_NUM_TOGETHER = 25


def kinematics(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Errors of posterior means given what the task `inverse_kinematics` sees."""
    poses, skeleton = spread(data.test, _NUM_POSES), Skeleton(data)
    problems = observed(poses, data.default_pose, skeleton)
    scores = errors(candidates, problems, skeleton, _NUM_DRAWS, ("mm", "deg"))
    title = f"Inverse kinematics by posterior means: error over all joints in mm, over the scored ones in degrees, {len(poses)} poses"
    return [table_of_scores("posterior_kinematics", title, scores, _note(_NUM_DRAWS))]


def joints(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Errors of posterior means given the noisy joints of the task `denoising`."""
    poses, skeleton = spread(data.test, _NUM_POSES), Skeleton(data)
    problems = {f"{std} mm": noisy_joints(poses, data.default_pose, skeleton, std, SEED) for std in skeleton.sight.levels_mm}
    scores = errors(candidates, problems, skeleton, _NUM_DRAWS_OF_NOISY, ("mm",))
    title = f"Denoising of joints by posterior means: mm per joint, {len(poses)} poses"
    return [table_of_scores("posterior_joints", title, scores, _note(_NUM_DRAWS_OF_NOISY))]


def errors(
    candidates: Sequence[Candidate], problems: Mapping[str, Problem], skeleton: Skeleton, num_draws: int, measures: Sequence[str]
) -> dict[str, dict[str, Tensor | None]]:
    """What each candidate's posterior means are off by, by the columns of a table: (N,) of N poses, None where it draws no posteriors.

    Args:
        measures: `mm`, the mean distance of all points but the root, `deg`, the mean angle of the joints scored, or both. With one
            alone, columns are called as the problems are.
    """
    scores: dict[str, dict[str, Tensor | None]] = {candidate.name: {} for candidate in candidates}
    for name, problem in problems.items():
        for candidate in candidates:
            began = time.process_time()
            found = _means(candidate, problem, skeleton, num_draws)
            of = {"mm": None, "deg": None} if found is None else _errors(*found, problem.truth, skeleton)
            scores[candidate.name] |= {name if len(measures) == 1 else f"{name}: {measure}": of[measure] for measure in measures}
            if found is not None:
                known = {measure: value for measure, value in of.items() if value is not None}
                told = ", ".join(f"{value.mean():.4g} ± {standard_error(value):.2g} {measure}" for measure, value in known.items())
                log.info("%s, %s: %s, in %.0f processor seconds", candidate.name, name, told, time.process_time() - began)
    return scores


def _errors(at: Tensor, pose: Tensor, truth: Tensor, skeleton: Skeleton) -> dict[str, Tensor]:
    apart = (at - skeleton.joints(truth))[:, 1:].norm(dim=-1).mean(-1)
    return {"mm": 1000 * apart, "deg": degrees(pose, truth, skeleton.scored)}


def _means(candidate: Candidate, problem: Problem, skeleton: Skeleton, num_draws: int) -> tuple[Tensor, Tensor] | None:
    """Means of joints (N, n, 3) in metres and of rotations (N, 55, 3), drawn for some poses at a time."""
    places, poses = [], []
    for number, rows in enumerate(torch.arange(len(problem.truth)).split(_NUM_TOGETHER)):

        def log_likelihood(pose: Tensor, rows: Tensor = rows) -> Tensor:
            return -problem.data_energy(_given(problem, pose, rows, skeleton).flatten(0, 1), rows.repeat(len(pose))).view(pose.shape[:2])

        drawn = candidate.posterior(log_likelihood, len(rows), num_draws, torch.Generator().manual_seed(number))
        if drawn is None:
            return None
        whole = _given(problem, drawn, rows, skeleton)
        places.append(skeleton.joints(whole).mean(0))
        poses.append(mean_rotation(whole))
    return torch.cat(places), torch.cat(poses)


def _given(problem: Problem, pose: Tensor, rows: Tensor, skeleton: Skeleton) -> Tensor:
    """Poses (S, O, 55, 3) of the numbers (O,), with what is given of each: the joints that are not scored."""
    truth = problem.truth[rows].double()
    return skeleton.with_scored(truth.expand(len(pose), -1, -1, -1), pose[..., skeleton.scored, :].double())


def _note(num_draws: int) -> str:
    return (
        f"The mean of {num_draws} draws from the prior times the exact likelihood: of joints in space for mm, of rotations (chordal) for "
        "deg. What is seen is that of the table of what is most probable."
    )
