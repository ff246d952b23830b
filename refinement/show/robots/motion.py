"""The motion of a robot as retargeters write it: GMR's pickle, holosoma's npz, or the same names in any file of arrays.

`root_pos` (T, 3), `root_rot` (T, 4) quaternions x y z w and `dof_pos` (T, D); or `qpos` (T, 7 + D) in MuJoCo's order: place, quaternion
w x y z, joints. `fps` beside them; `joint_names` (or `dof_names`) where joints are not in the order of the URDF.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.refinement.formats.files import numbers
from pose_priors.refinement.formats.witnesses.beside import contents

MOTIONS = (".pkl", ".npz")
_NAMES = ("joint_names", "dof_names")
_UNIT = 0.05
_MOST = 1e6  # metres or radians


@dataclass(frozen=True)
class RobotMotion:
    """The motion of a robot, in the world of the motion that it was made from (z up, the floor at z = 0).

    Attributes:
        path: of its file.
        fps: frames a second.
        T_world_root: (T, 4, 4).
        positions: (T, D) radians or metres.
        names: of the D joints; None for the order of the URDF.
    """

    path: Path
    fps: float
    T_world_root: np.ndarray
    positions: np.ndarray
    names: tuple[str, ...] | None

    def rows(self, num_frames: int, fps: float) -> np.ndarray:
        """(num_frames,) the row of each frame of a clip of some frames a second, which begins with it; the last one stays."""
        at = np.rint(np.arange(num_frames) * self.fps / fps).astype(int)
        rows: np.ndarray = np.minimum(at, len(self.positions) - 1)
        return rows


def is_motion(path: Path) -> bool:
    """Whether a file holds what only a robot's motion holds. Raises `UserError` if it cannot be read."""
    return {"dof_pos", "qpos"} & set(_content(path)) != set()


def read_motion(path: Path) -> RobotMotion:
    """A robot's motion. Raises `UserError` if the file is none such, or not finite."""
    found = _content(path)
    if "qpos" in found and "dof_pos" not in found:
        qpos = _table(path, found, "qpos", None)
        if qpos.shape[1] < 7:
            raise UserError(
                f"{path}: 'qpos' has {qpos.shape[1]} columns; 7 of the root (place, quaternion w x y z) and those of joints are expected"
            )
        place, turn, positions = qpos[:, :3], qpos[:, [4, 5, 6, 3]], qpos[:, 7:]
    else:
        place, turn, positions = (_table(path, found, name, width) for name, width in (("root_pos", 3), ("root_rot", 4), ("dof_pos", None)))
    if not len(place) == len(turn) == len(positions) > 0:
        raise UserError(f"{path}: {len(place)} places, {len(turn)} rotations and {len(positions)} joint positions; as many are expected")
    if (np.abs(np.linalg.norm(turn, axis=1) - 1) > _UNIT).any():
        raise UserError(f"{path}: the root's rotations are no unit quaternions")
    fps = numbers(found.get("fps", 30.0), f"{path}: 'fps'").reshape(-1)
    if len(fps) != 1 or not 0 < fps[0] < 1e4:
        raise UserError(f"{path}: 'fps' is {listed(fps.tolist())}; frames a second are expected")
    pose = np.tile(np.eye(4), (len(place), 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = Rotation.from_quat(turn).as_matrix(), place
    return RobotMotion(path, float(fps[0]), pose, positions, _names(path, found))


def _content(path: Path) -> dict[str, Any]:
    if path.suffix == ".pkl":
        found = load_pickle(path)
        if not isinstance(found, dict):
            raise UserError(f"{path}: holds a {type(found).__name__}; a robot's motion by name is expected")
        return {str(name): value for name, value in found.items()}
    return contents(path)


def _table(path: Path, found: dict[str, Any], name: str, width: int | None) -> np.ndarray:
    if name not in found:
        raise UserError(f"{path}: no '{name}'; root_pos, root_rot and dof_pos, or qpos, are expected; it holds {listed([*found])}")
    table = numbers(found[name], f"{path}: '{name}'").astype(float)
    if table.ndim != 2 or (width is not None and table.shape[1] != width) or not (np.abs(table) < _MOST).all():
        raise UserError(f"{path}: '{name}' has shape {table.shape}; numbers below {_MOST:g} (frames, {width or 'any'}) are expected")
    return table


def _names(path: Path, found: dict[str, Any]) -> tuple[str, ...] | None:
    key = next((name for name in _NAMES if found.get(name) is not None), None)
    if key is None:
        return None
    given = found[key].reshape(-1).tolist() if isinstance(found[key], np.ndarray) else found[key]
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given) or len(set(given)) != len(given):
        raise UserError(f"{path}: '{key}' is no list of different names")
    return tuple(given)
