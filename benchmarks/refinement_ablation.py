"""What each part of the refinement is worth: `python -m benchmarks.refinement_ablation --scenes DIR [DIR ...]`.

Each scene is the folder of a sequence with its truth beside it, in `<DIR>_gt.npz`. Two blocks are printed: the refinement with one part off
at a time, and priors with and without half of the keypoints of every frame. Nothing is written.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from rich.console import Console
from rich.table import Table

from pose_priors.benchmarks.quiet import quiet
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.priors import Prior, load_prior
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.priors import Priors
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.result.report import before_and_after, read_before
from pose_priors.refinement.result.truth import Truth, read_truth
from pose_priors.refinement.solve.config import RefinementConfig

_COLUMNS = {
    "abs-MPJPE mm": "abs_mpjpe_mm",
    "MPJPE mm": "mpjpe_mm",
    "W-MPJPE mm": "w_mpjpe_mm",
    "jitter 10 m/s^3": "jitter",
    "foot sliding mm": "fs_joints_mm",
    "scale error %": "scale_error_percent",
    "time s": "seconds",
}
_EVERYTHING = "everything on"
_PARTS: dict[str, dict[str, Any]] = {
    _EVERYTHING: {},
    "without root": {"enable_root_fitting": False},
    "without smpl": {"enable_smpl_fitting": False},
    "without motion": {"enable_motion_prior": False},
    "without environmental": {"enable_environmental_constraints": False},
    "without scale": {"enable_scale_optimization": False},
    "without final": {"enable_final_refinement": False},
    "without depth": {"lambda_depth": 0.0},
    "without multi-person scale": {"lambda_multi_scale": 0.0},
}
_DROPOUTS = (0.0, 0.5)
_STAGES = ("1_camera_estimation", "2_tracking", "3_pose_estimation", "4_world_space")

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Case:
    """A scene and what is true of it."""

    folder: Path
    truth: Truth
    input: list[Track]

    @classmethod
    def read(cls, folder: Path) -> Case:
        return cls(folder, read_truth(folder.parent / f"{folder.name}_gt.npz"), read_before(folder, []))

    def problem(self, dropout: float = 0.0, seed: int = 0) -> Problem:
        """What the refinement is given, with a share of the keypoints dropped."""
        cameras, tracks, bodies, world = (self.folder / stage for stage in _STAGES)
        options = LoadOptions(keypoint_dropout=dropout, seed=seed)
        return load_problem(cameras, tracks, bodies, world if world.is_dir() else None, options)

    def scores(self, problem: Problem, config: RefinementConfig, prior: Prior | None = None) -> tuple[Scores, Scores]:
        """Metrics of the input and of the refined scene, means over people."""
        refiner = Stage5Refiner(config, priors=Priors(body=prior), trainer={"enable_progress_bar": False})
        began = time.perf_counter()
        found = refiner.refine(RefinementInput(problem))
        seconds = time.perf_counter() - began
        frames, joints = np.array(problem.frame_ids), found.joints.double().numpy()
        after = [Track(frames[alive], joints[p, alive, : self.truth.joints.shape[2]]) for p, alive in enumerate(problem.alive.numpy())]
        metrics = before_and_after(self.input, after, found.scale_alpha, self.truth)
        return metrics["before"], metrics["after"] | {"seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True, help="folders of sequences")
    parser.add_argument("--only", nargs="+", default=[*_PARTS, "priors"], metavar="NAME", help=f"{', '.join(_PARTS)}, priors")
    parser.add_argument("--priors", type=Path, nargs="*", default=[], help="checkpoints of body priors")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="draws of the keypoints that are dropped")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - {*_PARTS, "priors"}:
        raise UserError(f"--only {sorted(unknown)[0]}: no such part; the parts are {', '.join(_PARTS)}, priors")
    cases = [Case.read(folder) for folder in options.scenes]
    with quiet("pytorch_lightning", "lightning.pytorch"):
        if parts := {name: values for name, values in _PARTS.items() if name in options.only}:
            _ablate(cases, parts)
        if "priors" in options.only:
            _compare_priors(cases, options.priors, options.seeds)


def _ablate(cases: Sequence[Case], parts: Mapping[str, dict[str, Any]]) -> None:
    problems = [case.problem() for case in cases]
    rows: dict[str, Scores] = {}
    each: dict[str, Scores] = {}
    for name, values in parts.items():
        config = RefinementConfig(**values)
        scored = [case.scores(problem, config) for case, problem in zip(cases, problems, strict=True)]
        rows["input"] = _mean([before for before, _ in scored])
        rows[name] = _mean([after for _, after in scored])
        if name == _EVERYTHING:
            for case, (before, after) in zip(cases, scored, strict=True):
                each |= {f"{case.folder.name}, input": before, f"{case.folder.name}, refined": after}
    if each:
        _print(f"{_EVERYTHING}, by scene", each)
    _print(f"mean over {len(cases)} scenes", rows)


def _compare_priors(cases: Sequence[Case], checkpoints: Sequence[Path], seeds: int) -> None:
    priors: dict[str, Prior | None] = {"L2 to the zero pose": None}
    for path in checkpoints:
        prior = load_prior(path)
        if not isinstance(prior, Prior):
            raise UserError(f"{path} is a prior of motions; give priors of poses")
        priors[path.stem] = prior
    for dropout in _DROPOUTS:
        draws = range(seeds) if dropout else range(1)
        given = [(case, case.problem(dropout, seed)) for case in cases for seed in draws]
        rows = {name: _mean([c.scores(p, RefinementConfig(), prior)[1] for c, p in given]) for name, prior in priors.items()}
        _print(f"priors, {dropout:.0%} of the keypoints dropped; mean over {len(cases)} scenes x {len(draws)} draws", rows)


def _mean(scores: Sequence[Scores]) -> Scores:
    """Over the scenes that have a metric."""
    found = {key: [value for score in scores if (value := score.get(key)) is not None] for key in _COLUMNS.values()}
    return {key: float(np.mean(values)) if values else None for key, values in found.items()}


def _print(title: str, rows: Mapping[str, Scores]) -> None:
    table = Table(title=title)
    for heading in ("", *_COLUMNS):
        table.add_column(heading, justify="right" if heading else "left")
    for name, scores in rows.items():
        table.add_row(name, *("-" if (value := scores.get(key)) is None else f"{value:.2f}" for key in _COLUMNS.values()))
    Console(width=150).print(table)


if __name__ == "__main__":
    run(main)
