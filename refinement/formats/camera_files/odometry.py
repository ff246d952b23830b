"""Odometry alone, as WHAM, GVHMR, DPVO and DROID-SLAM give it: `slam_results.pth` and `.pt`, a `.npy` of a trajectory, or a text of one.

(T, 7): camera to world as x, y, z and a quaternion x, y, z, w, of each frame, of a unit of its own. (T, 4, 4) in a `.pt` or `.pth`:
world to camera by GVHMR's two-view odometry, whose steps have no common unit: its turns alone count. Text: TUM's, a time, which must be
the frame's number, then as above. OpenCV axes; no intrinsics and no depth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.containers.regular import open_regular
from pose_priors.refinement.formats.camera_files.contents import increasing
from pose_priors.refinement.formats.camera_files.poses import CameraFile
from pose_priors.refinement.formats.cameras import from_quaternions, rigid
from pose_priors.refinement.formats.source import Fields, Source

NAME = "DPVO or another odometry"
_BINARY, _MOST_TEXT = (".pth", ".pt", ".npy"), 64 << 20
_MOST_WHOLE = 1e6


def detect(source: Source) -> bool:
    """Whether it is an array of poses, or a text of them."""
    file = _file(source)
    if file is None:
        return False
    return file.suffix == ".txt" or tuple(getattr(source.load(file), "shape", ()))[1:] in ((7,), (4, 4))


def read(source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras of one video. Raises `UserError` if the file is not as it is written."""
    file = source.existing(_file(source), NAME)
    if file.suffix == ".txt":
        rows = _text(file)
        frames = rows[:, 0]
        if not ((frames >= 0) & (frames < _MOST_WHOLE) & (frames == np.rint(frames))).all():
            raise UserError(f"{file}: the first column is a time in seconds; the numbers of the frames are expected")
        poses = rows[:, 1:]
        numbers, counted = increasing(frames.astype(int), f"{file}: the first column"), False
    else:
        poses = Fields({"poses": source.load(file)}, str(file)).array("poses")
        numbers, counted = np.arange(len(poses)), True
    if poses.ndim == 2:
        w2c = np.linalg.inv(from_quaternions(poses, str(file)))
    elif file.suffix == ".npy":
        raise UserError(
            f"{file}: matrices of shape {poses.shape}, of which nothing says whether they are camera to world: name them 'c2w' "
            "or 'w2c' in a cameras.npz, with 'intrinsics' beside"
        )
    else:
        w2c = rigid(poses, str(file), inverted=False)
    return CameraFile(NAME, str(file), numbers, w2c, None, "free" if poses.ndim == 2 else "none", counted=counted)


def _file(source: Source) -> Path | None:
    if source.path.is_dir():
        return source.only("slam_results.pth", "slam_results.pt", "preprocess/slam_results.pt")
    return source.path if source.path.suffix in (*_BINARY, ".txt") else None


def _text(file: Path) -> np.ndarray:
    """(T, 8) of a text of TUM's."""
    with open_regular(file) as stream:
        text = stream.read(_MOST_TEXT + 1)
    try:
        lines = [line for line in text.decode("ascii").splitlines() if line.strip() and not line.startswith("#")]
        rows = np.array([[float(value) for value in line.split()] for line in lines])
    except ValueError as error:
        raise UserError(f"{file}: rows of frame, x, y, z and a quaternion x, y, z, w are expected, separated by spaces") from error
    if len(text) > _MOST_TEXT or rows.ndim != 2 or rows.shape[1] != 8 or not len(rows):
        raise UserError(f"{file}: rows of frame, x, y, z and a quaternion x, y, z, w are expected, separated by spaces")
    return rows
