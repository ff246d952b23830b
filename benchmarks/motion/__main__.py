"""What a prior of clips leaves of noise, gaps and hidden limbs on held-out clips, beside simple ways, with standard errors.

python -m benchmarks.motion --checkpoint checkpoints/motion_flow/best.ckpt --data test/ --train train/ --output results/motion
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see train.py

import torch
from torch import Tensor

from pose_priors.benchmarks.motion.opponents import by_interpolation, by_pose_prior, fit_pose_prior, process_alone
from pose_priors.benchmarks.motion.pieces import denoised_pieces
from pose_priors.benchmarks.priors.tables import ResultTable, write_tables
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.exchange import check_writable
from pose_priors.datamodules.motion_data import load_clips
from pose_priors.priors import MotionFlow, load_prior
from pose_priors.priors.motion.flow.scores import GAPS, NOISES_MM, Restore, by_prior, errors_mm, pieces, sliding, tasks
from pose_priors.priors.motion.flow.view import motion_of_windows

_WAYS = {
    "slerp + lerp": "gap",
    "pose prior": "hidden",
    "Gaussian process": "",
    "motion flow": "",
}
"""What each way is tried on: tasks whose names hold that."""


def main(arguments: Sequence[str] | None = None) -> list[ResultTable]:
    """Prints the tables, writes them to a folder, and returns them."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="a trained motion_flow")
    parser.add_argument("--data", required=True, help="held-out motions: a file, folder or glob")
    parser.add_argument("--train", help="motions that a prior of poses is fitted to; without it none is compared")
    parser.add_argument("--motions", help="motions of which pieces are denoised as by `benchmarks.priors --tasks denoising --motions`")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    check_writable(options.output)
    prior = load_prior(options.checkpoint)
    if not isinstance(prior, MotionFlow):
        raise UserError(f"{options.checkpoint}: a {type(prior).__name__}; this benchmark takes motion_flow")
    ways: dict[str, Restore] = {"slerp + lerp": by_interpolation}
    if options.train is not None:
        ways["pose prior"] = by_pose_prior(fit_pose_prior(load_clips(options.train)))
    ways |= {"Gaussian process": by_prior(process_alone(prior)), "motion flow": by_prior(prior)}
    tables = _tables(ways, [clip.as_window() for clip in load_clips(options.data)])
    if options.motions is not None:
        rows = {
            name: denoised_pieces(each, options.motions)
            for name, each in (("Gaussian process", process_alone(prior)), ("motion flow", prior))
        }
        title = "Denoising of motions, protocol of benchmarks.priors: mm per joint, 4 motions of 60 frames"
        tables.append(ResultTable("denoising_pieces", title, rows, tuple(next(iter(rows.values())))))
    for table in tables:
        table.show()
    write_tables(tables, {"checkpoint": options.checkpoint, "data": options.data, "train": options.train}, options.output)
    return tables


@torch.no_grad()
def _tables(ways: dict[str, Restore], clips: list[Any]) -> list[ResultTable]:
    windows = pieces(clips)
    truth = motion_of_windows(windows)
    rows: dict[str, dict[str, dict[str, float | None]]] = {key: {name: {} for name in ways} for key in ("noise", "gap", "hidden")}
    for name, task in tasks(truth).items():
        key = "noise" if name.startswith("denoise") else "gap" if name.startswith("gap") else "hidden"
        lerp: Tensor | None = None
        for way, restore in ways.items():
            if _WAYS[way] not in name:
                continue
            joints = restore(task, windows)
            errors = errors_mm(joints, truth.joints, task.counted)
            row = rows[key][way]
            row[name], row[f"{name} se"] = _mean(errors)
            if key == "gap":
                lerp = errors if way == "slerp + lerp" else lerp
                assert lerp is not None
                row[f"{name} ratio"], row[f"{name} ratio se"] = _ratio(errors, lerp)
                row[f"{name} sliding"] = sliding(joints, windows.contacts, task.counted.any(-1))
        if key == "gap":
            rows[key].setdefault("the clips", {})[f"{name} sliding"] = sliding(truth.joints, windows.contacts, task.counted.any(-1))
    about = f"{len(windows)} windows of 60 frames from {len(clips)} clips"
    hidden = "frames_hidden: 10 % of the frames, 40 mm of noise elsewhere; root and pelvis known"
    return [
        ResultTable(
            "denoising", f"Denoising of joints, root known: mm, {about}", _some(rows["noise"]), tuple(f"denoise_{n}mm" for n in NOISES_MM)
        ),
        ResultTable(
            "gaps",
            f"In-betweening: mm, ratio to slerp + lerp, sliding in m/s, {about}",
            _some(rows["gap"]),
            tuple(f"gap_{n} ratio" for n in GAPS),
        ),
        ResultTable("hidden", f"Hidden joints: mm, {about}", _some(rows["hidden"]), ("legs_hidden", "frames_hidden"), notes=(hidden,)),
    ]


def _some(rows: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    return {name: row for name, row in rows.items() if row}


def _mean(values: Tensor) -> tuple[float, float]:
    """The mean, and its standard error."""
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def _ratio(values: Tensor, others: Tensor) -> tuple[float, float]:
    """The ratio of two means, and its standard error by the delta method."""
    ratio = float(values.mean() / others.mean())
    return ratio, float((values - ratio * others).std() / others.mean() / math.sqrt(len(values)))


if __name__ == "__main__":
    run(main)
