"""Recorded skeletons as the arrays of a pose file: AMASS's names, SMPL-X's joints, z up, metres."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.asf_amc import read_amc, skeleton_of
from pose_priors.datamodules.capture.bvh import read_bvh
from pose_priors.datamodules.capture.retarget import retargeted

log = logging.getLogger(__name__)

READERS = {".bvh": read_bvh, ".amc": read_amc}
"""What reads files of recorded skeletons, by their suffixes."""


def recorded_poses(path: Path, *, drawn: bool = False) -> dict[str, np.ndarray]:
    """`poses` (T, 165), `trans` (T, 3), where the pelvis is, and, where the file says a rate, `mocap_framerate`.

    Args:
        drawn: whether to draw each frame from the poses that it may have been, for who learns from poses: the most probable ones, which
            are motions, spread less than people do where no joint tells (multiple imputation: Rubin, Wiley 1987).
    Raises:
        UserError: if the file is not as its format is written, or its skeleton is of no known maker.
    """
    about = [file.stat() for file in read_from(path)]
    return dict(_poses(path, drawn, *((file.st_size, file.st_mtime_ns) for file in about)))


def read_from(path: Path) -> tuple[Path, ...]:
    """The files that decide what poses are read from one: itself, and the skeleton of an AMC, where that is there."""
    if path.suffix == ".amc":
        with suppress(UserError):  # told when it is read
            return path, skeleton_of(path)
    return (path,)


@lru_cache(maxsize=8)  # a file is asked for what it holds before it is read
def _poses(path: Path, drawn: bool, *_versions: tuple[int, int]) -> dict[str, np.ndarray]:
    found = retargeted(READERS[path.suffix](path), drawn=drawn)
    log.info(
        "%s: %s skeleton in %s, joints within %.0f mm on average (%.0f mm for 95 in 100)",
        path,
        found.maker,
        found.unit,
        1000 * float(found.off.mean()),
        1000 * float(found.off.flatten().quantile(0.95)) if found.off.numel() < 1e7 else float("nan"),
    )
    arrays = {"poses": found.pose.flatten(1).numpy(), "trans": found.pelvis.numpy()}
    return arrays if found.fps is None else arrays | {"mocap_framerate": np.asarray(found.fps)}
