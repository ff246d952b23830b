"""What retargeters take that read AMASS's files of SMPL-X bodies: GMR (Araujo et al., "Retargeting Matters", 2025) and holosoma.

Both read `mocap_frame_rate` and go on as if there were 30 frames a second (holosoma takes every int(rate / 30)-th, so that a rate below 30
fails), both want the 16 betas that AMASS's files have, holosoma looks for `<dataset>/<subject>/*_stageii.npz`, and GMR's script leaves the
first frame out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import chained
from pose_priors.refinement.export.amass import write_amass
from pose_priors.refinement.export.people import AnimatedSkeleton, Exported
from pose_priors.refinement.export.rate import resampled, whole_rate

RATE = 30
"""Frames a second that both work at."""
NUM_BETAS = 16
_FEET = [7, 8, 10, 11]  # ankles and balls of the feet
_NUM_BODY = 22


def retarget_file(name: str, person: int) -> Path:
    """Where the motion of a person is, below a folder of datasets: dataset, subject, and a name of AMASS's second stage."""
    return Path(name) / f"person_{person:03d}" / f"{name}_person_{person:03d}_stageii.npz"


def at_their_rate(exported: Exported) -> Exported:
    """The clip at 30 frames a second, as it is where its rate stands for that (29.97)."""
    return exported if whole_rate(exported.fps) == RATE else resampled(exported, RATE)


def write_retarget(path: Path, person: AnimatedSkeleton) -> None:
    """One person of a clip at 30 frames a second: as `write_amass`, with 16 betas and the first frame twice. Bodies of SMPL, which become
    SMPL-X's mean shape, are lifted by what its legs are longer, so that feet stay on z = 0."""
    held = [0, *range(len(person.frames))]
    write_amass(path, _on_the_floor(person.at(held)), float(RATE), NUM_BETAS)


def _on_the_floor(person: AnimatedSkeleton) -> AnimatedSkeleton:
    if len(person.parents) != 24:
        return person
    rest = rest_joints().numpy()[:_NUM_BODY]
    parents = person.parents[:_NUM_BODY]
    mean = np.zeros_like(rest)
    mean[1:] = rest[1:] - rest[list(parents[1:])]
    lowest = [_lowest(person.rotmat[:, :_NUM_BODY], offsets, parents) for offsets in (person.offsets[:_NUM_BODY], mean)]
    return replace(person, pelvis=person.pelvis + np.array([0, 0, np.median(lowest[0] - lowest[1])]))


def _lowest(rotmat: np.ndarray, offsets: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """(T,) metres that the lowest joint of the feet is above the pelvis, of bodies that stand upright."""
    posed, _ = chained(torch.from_numpy(rotmat), torch.from_numpy(offsets), parents)
    lowest: np.ndarray = posed.numpy()[:, _FEET, 2].min(1)
    return lowest
