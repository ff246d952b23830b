"""Meshes that programs of others have made of a refined video, and where they stand in its world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.files import numbers, read_json

BACKGROUND, RETARGETING, FLOOR = "background", "retargeting", "floor.json"
"""Folders in that of stage 5; in the second one for each person, and the file that says where the world of motions lies."""
_MESHES = (".glb", ".obj", ".stl")
# glTF has y up, motions z
_UPRIGHT = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Model:
    """One mesh.

    Attributes:
        entity: under which it is shown.
        path: its file.
        person: whose motion it is; None for the background.
        T_world_model: (4, 4) from its own axes to the world of the result, metres.
    """

    entity: str
    path: Path
    person: int | None
    T_world_model: np.ndarray


def find_models(refined: Path) -> list[Model]:
    """The meshes in a folder of stage 5: the background in the world of the result, robots in the world of the motions that they were made
    from, those in glb turned to y up, but for the parts of robots in URDF. Raises `UserError` if that world is not known."""
    found = [Model(f"world/background/{path.stem}", path, None, np.eye(4)) for path in _meshes(refined / BACKGROUND)]
    for folder in sorted((refined / RETARGETING).glob("person_*")):
        if not (person := folder.name.removeprefix("person_")).isdecimal():
            raise UserError(f"{folder}: no folder of a person, which is called person_<id>")
        # beside a robot's description, meshes are its parts
        for path in [] if any(folder.rglob("*.urdf")) else _meshes(folder):
            placed = T_world_motion(refined / RETARGETING / FLOOR)
            turned = placed @ _UPRIGHT if path.suffix.lower() == ".glb" else placed
            found.append(Model(f"world/{folder.name}/retargeted/{path.stem}", path, int(person), turned))
    return found


def _meshes(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _MESHES and path.is_file()]


def T_world_motion(path: Path) -> np.ndarray:  # noqa: N802 (a transform's name)
    """(4, 4) what carries the world of motions (z up, the floor at z = 0) to that of the result, by the file beside the motions. Raises
    `UserError` if that does not say."""
    name = "T_world_motion"
    transform = numbers(read_json(path).get(name, []), f"{path}: {name}")
    if transform.shape != (4, 4) or not np.isfinite(transform).all():
        raise UserError(f"{path}: {name} has shape {transform.shape}; finite (4, 4) is expected, as the pipeline writes it")
    return transform
