"""What motions alone tell of the scale: `python -m benchmarks.motion_scale --motion-prior CKPT --scenes DIR [DIR ...]`.

Each scene is the folder of a sequence with its truth beside it, in `<DIR>_gt.npz`. Depth maps and the floor of the scene are withheld, and
the refinement starts as if stage 1 were metric, which it is not by the scene's alpha. Printed is by how much the scale is wrong before and
after, run until it changes no more: with the multi-person scale term off, by smoothness, and by the motion prior, for one person, two, and
so on. Nothing is written.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pose_priors.benchmarks.quiet import quiet
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.priors import MotionPrior
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.people import PersonSelection
from pose_priors.refinement.given.priors import Priors, load_priors
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.scene import camera_centres

_STAGES = ("1_camera_estimation", "2_tracking", "3_pose_estimation")
_BLIND = {"lambda_depth": 0.0, "alpha_change_threshold": 0.1}
# What is compared is where the terms lead, not how far fifty iterations of a soft direction come.
_TO_THE_END = {"scale_iterations": 200, "final_iterations": 200, "convergence_threshold": 1e-6, "max_total_iterations": 1000}


def without_depth(problem: Problem, alpha: float = 1.0) -> Problem:
    """The problem as it starts at another scale, with nothing but motions and the sizes of bodies to tell that it is wrong."""
    start, seen = problem.start, problem.observations
    shift = (alpha - start.alpha0) * camera_centres(problem.cameras)
    return replace(
        problem,
        start=replace(start, pelvis=start.pelvis + shift, alpha0=alpha, ground_plane=torch.full_like(start.ground_plane, torch.nan)),
        observations=replace(
            seen, joint_depth_confidence=torch.zeros_like(seen.joint_depth_confidence), floor_points=seen.floor_points[:0]
        ),
    )


def errors(folder: Path, prior: MotionPrior | None) -> dict[int, list[float]]:
    """For each number of people the error of the scale in percent: at the start, without the term, by smoothness, by the motion prior."""
    with np.load(Path(f"{folder}_gt.npz")) as truth:
        alpha = float(truth["alpha"])
    cameras, tracks, bodies = (folder / stage for stage in _STAGES)
    people = load_problem(cameras, tracks, bodies, None).person_ids
    found = {}
    for count in range(1, len(people) + 1):
        options = LoadOptions(who=PersonSelection(person_ids=list(people[:count])))
        problem = without_depth(load_problem(cameras, tracks, bodies, None, options))
        found[count] = [100 * abs(1 / alpha - 1)]
        for motion_prior, weight in ((None, {"lambda_multi_scale": 0.0}), (None, {}), (prior, {})):
            config = RefinementConfig.model_validate({**_BLIND, **_TO_THE_END, **weight})
            refiner = Stage5Refiner(config, priors=Priors(motion=motion_prior), trainer={"enable_progress_bar": False})
            estimate = refiner.refine(RefinementInput(problem)).results["scale_alpha"]
            found[count].append(100 * abs(estimate / alpha - 1))
    return found


def main(arguments: Sequence[str] | None = None) -> dict[int, np.ndarray]:
    """Prints the table, and returns for each number of people the errors in percent (scenes, 4)."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion-prior", required=True, metavar="CKPT")
    parser.add_argument("--scenes", required=True, nargs="+", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    prior = load_priors(motion=options.motion_prior).motion
    if not isinstance(prior, MotionPrior):
        raise UserError(
            f"--motion-prior {options.motion_prior}: a prior of whole clips, which says nothing of the scale; give one of steps"
        )
    with quiet("pytorch_lightning"):
        each = [errors(folder, prior) for folder in options.scenes]
    counts = sorted({count for found in each for count in found})
    totals = {count: np.array([found[count] for found in each if count in found]) for count in counts}
    table = Table("people", "scenes", "start %", "term off %", "smoothness %", "motion prior %", title="error of the scale, mean and worst")
    for count, values in totals.items():
        cells = [f"{mean:.2f} ({worst:.2f})" for mean, worst in zip(values.mean(0), values.max(0), strict=True)]
        table.add_row(str(count), str(len(values)), *cells)
    Console(width=120).print(table)
    return totals


if __name__ == "__main__":
    run(main)
