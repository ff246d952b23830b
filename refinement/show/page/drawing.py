"""A sequence in the 3D scene of the review page. What is what can be told without colours: dashes, thickness, shapes and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.anny.model import AnnyBody
from pose_priors.refinement.result.metrics import FEET
from pose_priors.refinement.show.page.models import DrawnModels
from pose_priors.refinement.show.page.surfaces import DrawnSurfaces
from pose_priors.refinement.show.points import EVERY_POINT, PointFilter
from pose_priors.refinement.show.recording_models import Model
from pose_priors.refinement.show.review_scene import ReviewScene, ShownPerson
from pose_priors.refinement.show.robots.shown import ShownRobot

LEGEND = (
    "Solid and thick: after. Dashed and thin: before. Number: the tracker's id of a person. Diamond on the floor: a foot in contact. "
    "Dots: depth."
)
"""How the scene is read."""

# Okabe and Ito's, told apart by the colour-blind
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
_BEFORE_COLOUR, _CONTACT_COLOUR, _DEPTH_COLOUR = (50, 50, 50), (0, 0, 0), (150, 150, 150)
_THICK, _THIN, _JOINT, _CONTACT, _DOT = 0.035, 0.018, 0.05, 0.1, 0.012  # metres
_ABOVE_HEAD = 0.2
_DASHES = 4  # of each bone
_SURE = 0.5
_AROUND = 1.0  # metres about the people's paths that are in view, and over which the floor goes on
_STEEP = 0.4  # how the reader looks down
_FIELD_OF_VIEW_DEG = 75.0  # viser's, from above to below


@dataclass(frozen=True)
class Shown:
    """What is to be seen.

    Attributes:
        frame: its number.
        people: by id, whether they are.
        before, after, ground, contacts, depth: likewise; of a person's only while they are shown, contacts with `after`.
        step: every how many rows and columns of the depth map there is a point; wanted: which of these.
        surface: of a person, while they are shown with `after`; where there is one.
        background, robots: what programs of others have made; robots only while their person is shown.
    """

    frame: int
    people: Mapping[int, bool]
    before: bool
    after: bool
    ground: bool
    contacts: bool
    depth: bool
    step: int
    wanted: PointFilter = EVERY_POINT
    background: bool = True
    robots: bool = True
    surface: bool = True


@dataclass(frozen=True)
class View:
    """Where the reader stands: eye, target and up, (3,) each, world."""

    eye: np.ndarray
    target: np.ndarray
    up: np.ndarray


def dashed(segments: np.ndarray) -> np.ndarray:
    """(N, 2, 3) line segments as (N * dashes, 2, 3): pieces with gaps of their own length between them."""
    at = np.arange(0, 2 * _DASHES, 2)
    ends = np.stack([at, at + 1], -1) / (2 * _DASHES - 1)
    start, along = segments[:, :1], segments[:, 1:] - segments[:, :1]
    pieces: np.ndarray = start[:, None] + ends[None, :, :, None] * along[:, None]
    return pieces.reshape(-1, 2, 3)


def view_of(scene: ReviewScene) -> View:
    """All paths of a sequence, seen from the side of its first camera and from above."""
    up = scene.ground_plane[:3].astype(float)
    centre, reach = _extent(scene)
    forward = np.array([0.0, 0, 1]) - up[2] * up  # the world has the axes of the first camera, which looks along z
    if np.linalg.norm(forward) < _SURE:  # it looks down on them
        forward = np.array([0.0, -1, 0]) + up[1] * up
    back = _STEEP * up - forward / np.linalg.norm(forward)
    distance = reach / np.sin(np.radians(_FIELD_OF_VIEW_DEG / 2))
    return View(centre + distance * back / np.linalg.norm(back), centre, up)


def _extent(scene: ReviewScene) -> tuple[np.ndarray, float]:
    """The middle (3,) of all paths, and how far about it they and the bodies reach."""
    pelvis = np.concatenate([person.after.joints[:, 0] for person in scene.people])
    centre = (pelvis.min(0) + pelvis.max(0)) / 2
    return centre, float(np.linalg.norm(pelvis - centre, axis=1).max()) + _AROUND


class Drawing:
    """Draws sequences, one at a time.

    Args:
        server: of viser.
        anny: what people wear beside their bones, or None.
    """

    def __init__(self, server: Any, anny: AnnyBody | None = None) -> None:
        self._server, self._anny = server, anny
        self._surfaces: DrawnSurfaces | None = None
        self._scene: ReviewScene | None = None
        self._nodes: dict[str, Any] = {}
        self._models: DrawnModels | None = None

    def load(self, scene: ReviewScene | None, models: Sequence[Model] = (), robots: Sequence[ShownRobot] = ()) -> None:
        """Takes the place of the sequence before; None for nothing. Nothing of it but the floor is seen until `show`."""
        for node in self._nodes.values():
            node.remove()
        for drawn in (self._models, self._surfaces):
            if drawn is not None:
                drawn.remove()
        self._scene, self._nodes, self._models, self._surfaces = scene, {}, None, None
        if scene is None:
            return
        self._models = DrawnModels(self._server.scene, models, robots)
        view, draw = view_of(scene), self._server.scene
        draw.set_up_direction(view.up)
        self._stand(view)
        centre, reach = _extent(scene)
        turn, _ = Rotation.align_vectors(view.up[None], [[0.0, 0.0, 1.0]])
        below = centre - (view.up @ centre + scene.ground_plane[3]) * view.up
        size = float(np.ceil(2 * (reach + _AROUND)))
        self._nodes["ground"] = draw.add_grid("/ground", size, size, wxyz=turn.as_quat(scalar_first=True), position=below)
        nothing, point = np.zeros((1, 2, 3)), np.zeros((1, 3))
        for p, person in enumerate(scene.people):
            colour, name = _COLOURS[p % len(_COLOURS)], f"/person_{person.person:03d}"
            self._nodes |= {
                f"{name}/after": draw.add_line_segments(f"{name}/after", nothing, colour, thickness=_THICK, visible=False),
                f"{name}/joints": draw.add_point_cloud(
                    f"{name}/joints", point, colour, point_size=_JOINT, point_shape="circle", precision="float32", visible=False
                ),
                f"{name}/before": draw.add_line_segments(f"{name}/before", nothing, _BEFORE_COLOUR, thickness=_THIN, visible=False),
                f"{name}/id": draw.add_label(f"{name}/id", str(person.person), anchor="bottom-center", visible=False),
            }
        if self._anny is not None:
            colours = [_COLOURS[p % len(_COLOURS)] for p in range(len(scene.people))]
            self._surfaces = DrawnSurfaces(draw, scene, self._anny, colours)
        self._nodes["contacts"] = draw.add_point_cloud(
            "/contacts", point, _CONTACT_COLOUR, point_size=_CONTACT, point_shape="diamond", point_shading="flat", visible=False
        )
        self._nodes["depth"] = draw.add_point_cloud(
            "/depth", point, _DEPTH_COLOUR, point_size=_DOT, point_shape="circle", point_shading="flat", precision="float32", visible=False
        )

    def show(self, shown: Shown) -> None:
        """One frame of the sequence that is loaded."""
        scene = self._scene
        if scene is None:
            return
        with self._server.atomic():
            self._nodes["ground"].visible = shown.ground
            if self._models is not None:
                self._models.show(shown.frame, shown.people, background=shown.background, robots=shown.robots)
            if self._surfaces is not None:
                self._surfaces.show(shown.frame, shown.people, wanted=shown.after and shown.surface)
            touching = []
            for person in scene.people:
                self._show_person(person, shown)
                if shown.people[person.person] and shown.after and shown.contacts:
                    touching.append(contact_points(person, shown.frame, scene.ground_plane))
            self._points("contacts", np.concatenate(touching) if touching else np.zeros((0, 3)))
            self._points("depth", scene.depth_points(shown.frame, shown.step, shown.wanted) if shown.depth else np.zeros((0, 3)))

    def _show_person(self, person: ShownPerson, shown: Shown) -> None:
        name, there = f"/person_{person.person:03d}", shown.people[person.person]
        after = person.after.bones(shown.frame) if there and shown.after else None
        before = person.before.bones(shown.frame) if there and shown.before and person.before is not None else None
        self._set(f"{name}/after", after)
        self._points(f"{name}/joints", np.zeros((0, 3)) if after is None else after[:, 1])
        self._set(f"{name}/before", None if before is None else dashed(before))
        body, label, row = after if after is not None else before, self._nodes[f"{name}/id"], person.after.row(shown.frame)
        label.visible = body is not None
        if body is not None:
            up = self._scene.ground_plane[:3]  # type: ignore[union-attr]
            points = body.reshape(-1, 3)
            label.position = points[(points @ up).argmax()] + _ABOVE_HEAD * up
            label.text = f"{person.person}" if row is None or person.seen[row] else f"{person.person} (not seen)"

    def _points(self, name: str, points: np.ndarray) -> None:
        self._set(name, points if len(points) else None)

    def _set(self, name: str, points: np.ndarray | None) -> None:
        node = self._nodes[name]
        if points is not None:
            node.points = points.astype(np.float32)
        node.visible = points is not None

    def stand(self) -> None:
        """Everybody to where the whole sequence is seen."""
        if self._scene is not None:
            self._stand(view_of(self._scene))

    def _stand(self, view: View) -> None:
        """Whoever looks now, or will, looks at the sequence."""
        start = self._server.initial_camera
        start.up, start.position, start.look_at = view.up, view.eye, view.target
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.up_direction, client.camera.position, client.camera.look_at = view.up, view.eye, view.target


def contact_points(person: ShownPerson, frame: int, plane: np.ndarray) -> np.ndarray:
    """(N, 3) where a person's feet rest on the floor on a frame, on the floor."""
    row = person.after.row(frame)
    if row is None:
        return np.zeros((0, 3))
    feet = person.after.joints[row, FEET][person.contacts[row] > _SURE]
    below: np.ndarray = feet - (feet @ plane[:3] + plane[3])[:, None] * plane[:3]
    return below
