"""Meshes and robots of others in the 3D scene of the review page."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.refinement.show.recording_models import Model
from pose_priors.refinement.show.robots.shown import ShownRobot
from pose_priors.refinement.show.robots.urdf import Visual

log = logging.getLogger("review")

_GREY = (165, 165, 175)
_ONE = np.ones(3)


class Beside(Mapping[str, bytes]):
    """What a mesh refers to, by the names that it gives: the regular files below its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def __getitem__(self, name: str) -> bytes:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder):
            raise UserError(f"{name}: not below the folder of the mesh that refers to it")
        return read_regular(path)

    def __iter__(self) -> Iterator[str]:
        return (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


class DrawnModels:
    """What others have made of a sequence, in viser's scene: hidden and shown, and moved to a frame.

    Args:
        scene: of viser's server.
        models: meshes that stand still.
        robots: those that move.
    """

    def __init__(self, scene: Any, models: Sequence[Model], robots: Sequence[ShownRobot]) -> None:
        self._scene, self._robots = scene, tuple(robots)
        self._still = [
            (model.person, node) for model in models for node in self._mesh(model.entity, model.path, model.T_world_model, np.ones(3))
        ]
        self._links: list[dict[str, Any]] = []
        for robot in robots:
            frames = {}
            for link, visuals in robot.robot.visuals.items():
                if visuals:
                    name = f"/person_{robot.person:03d}/robot/{link}"
                    frames[link] = scene.add_frame(name, show_axes=False, visible=False)
                    for i, visual in enumerate(visuals):
                        self._part(f"{name}/{i}", visual)
            self._links.append(frames)

    def show(self, frame: int, people: Mapping[int, bool], *, background: bool, robots: bool) -> None:
        """Shows what is wanted, the robots as on a frame of that number; of people only those who are shown."""
        for person, node in self._still:
            node.visible = background if person is None else robots and people.get(person, False)
        for robot, links in zip(self._robots, self._links, strict=True):
            at = np.flatnonzero(robot.frames == frame)
            there = robots and people.get(robot.person, False) and len(at) > 0
            for link, node in links.items():
                node.visible = there
                if there:
                    node.wxyz, node.position = _pose(robot.T_world_link[link][at[0]])

    def remove(self) -> None:
        """Takes all of it away."""
        for node in [*(node for _, node in self._still), *(node for links in self._links for node in links.values())]:
            node.remove()

    def _part(self, name: str, visual: Visual) -> None:
        if visual.solid is not None:
            wxyz, position = _pose(visual.T_link_visual)
            self._scene.add_mesh_simple(name, visual.solid.vertices, visual.solid.faces, color=_GREY, wxyz=wxyz, position=position)
        elif visual.path is not None:
            self._mesh(name, visual.path, visual.T_link_visual, visual.scale)

    def _mesh(self, name: str, path: Path, pose: np.ndarray, scale: np.ndarray = _ONE) -> list[Any]:
        """The node of a mesh file; none, with a line of the log, if it cannot be read."""
        wxyz, position = _pose(pose)
        try:
            if path.suffix.lower() == ".glb":
                return [self._scene.add_glb(name, read_regular(path), scale=tuple(scale), wxyz=wxyz, position=position)]
            import trimesh  # comes with viser

            mesh: Any = trimesh.load(
                BytesIO(read_regular(path)),
                file_type=path.suffix.lower()[1:],
                force="mesh",
                resolver=Beside(path.parent),
                skip_materials=True,
            )
            vertices, faces = np.asarray(mesh.vertices) * scale, np.asarray(mesh.faces)
            if not len(faces):
                raise ValueError("no triangles in it")
            return [self._scene.add_mesh_simple(name, vertices, faces, color=_GREY, side="double", wxyz=wxyz, position=position)]
        except UserError as error:
            log.warning("%s; it is not shown", error)
        except Exception as error:  # what trimesh's many readers make of files that are none
            log.warning("%s: not a readable mesh (%s); it is not shown", path, reason_of(error))
        return []


def _pose(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quaternion w x y z and place of (4, 4)."""
    return Rotation.from_matrix(matrix[:3, :3]).as_quat(scalar_first=True), matrix[:3, 3]
