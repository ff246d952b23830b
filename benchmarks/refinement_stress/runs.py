"""One family at one seed: made, refined, and held against the truth at the start and at the end."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.benchmarks.quiet import quiet
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES
from pose_priors.datamodules.synthetic.scenes.stress.writing import write_family
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.metrics import Track, abs_mpjpe, align, moved, scale_error_percent
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.truth import Truth, read_truth
from pose_priors.refinement.solve.config import RefinementConfig

JUDGED = ("abs_mpjpe_mm", "mpjpe_mm", "w_mpjpe_mm", "jitter", "fs_joints_mm", "ground_penetration_mm")
"""Metrics that must not get worse."""
_WORSE, _SLACK = 1.05, 2.0  # what ends above this multiple of where it started, and this many mm or 10 m/s^3 more, is worse
_STAGES = ("1_camera_estimation", "2_tracking", "3_pose_estimation")
_JOINTS = 22


@dataclass(frozen=True)
class Run:
    """What became of one family.

    Attributes:
        start, end: metrics, means over people; of the same program without iterations, and with them.
        worse: metrics of `JUDGED` that ended worse.
        verdict, reasons: of `quality` at the end.
        kept: ids of people who kept their input.
        warnings: lines of the end.
        cpu_seconds: of the refinement.
    """

    family: str
    seed: int
    start: Mapping[str, float | None]
    end: Mapping[str, float | None]
    verdict: str
    reasons: tuple[str, ...]
    kept: tuple[int, ...]
    warnings: tuple[str, ...]
    cpu_seconds: float
    worse: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "worse", tuple(name for name in JUDGED if is_worse(self.start.get(name), self.end.get(name))))


def is_worse(start: float | None, end: float | None) -> bool:
    """Whether a metric ended worse than it started, by more than can be put down to chance."""
    return start is not None and end is not None and not end <= _WORSE * start + _SLACK


def measured(family: str, seed: int, scenes: Path | None = None, config: Mapping[str, Any] | None = None) -> Run:
    """Makes a family's scene, refines it, and scores both.

    Args:
        scenes: a folder that keeps the scene as `<family>_<seed>`, with its truth beside it; None to keep nothing, and what is told of
            its files calls it SCENE.
        config: fields of a `RefinementConfig`.
    """
    with tempfile.TemporaryDirectory() as aside:
        folder = (scenes or Path(aside)) / f"{family}_{seed}"
        write_family(folder, FAMILIES[family], seed)
        truth = read_truth(folder.with_name(f"{folder.name}_gt.npz"))
        cameras, tracks, bodies = (folder / stage for stage in _STAGES)
        problem = load_problem(cameras, tracks, bodies, None)
    settings = dict(config or {})
    with quiet("pytorch_lightning", "lightning.pytorch", "refine"):
        start, _ = _refined(problem, truth, settings | {"max_total_iterations": 0})
        began = time.process_time()
        end, found = _refined(problem, truth, settings)
        seconds = time.process_time() - began
    quality = found.results["quality"]

    def told(lines: Sequence[str]) -> tuple[str, ...]:
        return tuple(lines if scenes else (line.replace(str(folder), "SCENE") for line in lines))

    return Run(
        family,
        seed,
        start,
        end,
        quality["verdict"],
        told(quality["reasons"]),
        tuple(quality.get("kept", ())),
        told(found.results["warnings"]),
        seconds,
    )


def _refined(problem: Problem, truth: Truth, config: Mapping[str, Any]) -> tuple[dict[str, float | None], RefinementOutput]:
    refiner = Stage5Refiner(RefinementConfig.model_validate(dict(config)), trainer={"enable_progress_bar": False})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = refiner.refine(RefinementInput(problem))
    return scores(problem, found, truth), found


def scores(problem: Problem, found: RefinementOutput, truth: Truth) -> dict[str, float | None]:
    """Means over people of `metrics.person_metrics`, beside them: `w_mpjpe_rigid_mm` (W-MPJPE without alignment of the scale),
    `scale_error_percent`, `floor_deg` (angle to the true floor), `floor_cm` (by how much it is too low where the people are), and by
    `_doubts` what joints were said to be off by."""
    frames, joints = np.array(problem.frame_ids), found.joints.double().numpy()[:, :, :_JOINTS]
    tracks = [Track(frames[alive], joints[p, alive]) for p, alive in enumerate(problem.alive.numpy())]
    people = [truth.score(track, p) | {"w_mpjpe_rigid_mm": _w_mpjpe_rigid(track, truth.joints[p])} for p, track in enumerate(tracks)]
    plane, true = found.ground_plane.double().numpy(), truth.ground_plane
    middle = truth.joints.mean((0, 1, 2))
    below = middle - (true[:3] @ middle + true[3]) * true[:3]
    return {name: _mean([person[name] for person in people]) for name in people[0]} | {
        "scale_error_percent": scale_error_percent(found.scale_alpha, truth.alpha),
        "floor_deg": math.degrees(math.acos(min(1.0, float(plane[:3] @ true[:3] / np.linalg.norm(plane[:3]))))),
        "floor_cm": 100 * float(plane[:3] @ below + plane[3]),
        **_doubts(found, np.linalg.norm(joints - truth.joints, axis=-1), problem.visible.numpy(), problem.alive.numpy()),
    }


def _doubts(found: RefinementOutput, error: np.ndarray, visible: np.ndarray, alive: np.ndarray) -> dict[str, float | None]:
    """`joint_sigma_mm`, and `within_sigma` and `within_two_sigma`, the shares of joints whose error (P, T, J) in metres is below it and
    twice it, on frames (P, T) on which people are seen; the same of the others of their lives as `hidden_...`. None where they have none.
    """
    if found.joint_sigma is None:
        return {}
    sigma = found.joint_sigma.double().numpy()[:, :, :_JOINTS]
    out: dict[str, float | None] = {}
    for name, frames in (("", visible), ("hidden_", alive & ~visible)):
        values = 1e3 * sigma, error < sigma, error < 2 * sigma
        for metric, value in zip(("joint_sigma_mm", "within_sigma", "within_two_sigma"), values, strict=True):
            out[name + metric] = float(value[frames].mean()) if frames.any() else None
    return out


def _w_mpjpe_rigid(track: Track, truth: np.ndarray) -> float | None:
    """Over the whole track, which is shorter than a chunk: aligned rigidly by the first two frames."""
    true = truth[track.frames]
    if len(true) < 3:
        return None
    found = align(track.joints[:2].reshape(-1, 3), true[:2].reshape(-1, 3), with_scale=False)
    return abs_mpjpe(moved(track.joints, found), true)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
