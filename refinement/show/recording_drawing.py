"""Draws what there is to show into a stream of rerun."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.refinement.result.metrics import FEET, Track
from pose_priors.refinement.show import recording_shapes as shapes
from pose_priors.refinement.show import recording_style as style
from pose_priors.refinement.show.recording_data import RecordingData, View
from pose_priors.refinement.show.recording_models import Model
from pose_priors.refinement.show.review_scene import ShownPerson
from pose_priors.refinement.show.robots.shown import ShownRobot
from pose_priors.refinement.show.robots.urdf import Visual

_CLOUD_POINTS = 20000


class Drawing:
    """One recording that is being made.

    Args:
        rr: rerun, which enters through `show.record`.
        stream: of rerun, which writes the file.
        data: what there is to show.
    """

    def __init__(self, rr: ModuleType, stream: Any, data: RecordingData) -> None:
        self.rr, self.stream, self.data = rr, stream, data

    def _send(self, entity: str, frames: np.ndarray, *columns: Iterable[Any]) -> None:
        """Columns of one row for each frame, on the timelines of frames and of seconds."""
        times = [self.rr.TimeColumn("frame", sequence=frames), self.rr.TimeColumn("time", duration=frames / self.data.scene.fps)]
        self.stream.send_columns(entity, times, [column for group in columns for column in group])

    def _clear(self, entity: str, frames: np.ndarray) -> None:
        """Takes an entity and all below it away after each run of frames, else what is there last would stay."""
        gone = shapes.ends_of_runs(frames, self.data.scene.frames[1])
        if len(gone):
            self._send(entity, gone, self.rr.Clear.columns(is_recursive=[True] * len(gone)))

    def draw_still(self) -> None:
        """What does not change: the floor, the words, the losses on their own timeline, and the points of the whole scene."""
        rr, data = self.rr, self.data
        self.stream.log("world", rr.ViewCoordinates.RDF, static=True)
        self.stream.log(
            "world/floor", rr.LineStrips3D(shapes.floor_grid(data.scene), colors=style.FLOOR, radii=style.BEFORE_M), static=True
        )
        self.stream.log("about", rr.TextDocument(style.legend(data), media_type="text/markdown"), static=True)
        if len(cloud := data.cloud(_CLOUD_POINTS)):
            self.stream.log("world/cloud", rr.Points3D(cloud, colors=style.DEPTH, radii=style.POINT_M), static=True)
        for (stage, term), (iterations, values) in data.losses.items():
            self.stream.log(f"losses/{term}/{stage}", rr.SeriesLines(names=f"{stage} {term}"), static=True)
            times = [rr.TimeColumn("iteration", sequence=iterations)]
            self.stream.send_columns(f"losses/{term}/{stage}", times, rr.Scalars.columns(scalars=values))

    def draw_models(self, models: Sequence[Model]) -> None:
        """Meshes of others; those that move are shown as they stand in their file."""
        for model in models:
            place = self.rr.Transform3D(translation=model.T_world_model[:3, 3], mat3x3=model.T_world_model[:3, :3])
            self.stream.log(model.entity, place, self.rr.Asset3D(path=model.path), static=True)

    def draw_robots(self, robots: Sequence[ShownRobot]) -> None:
        """Robots, their links on each frame."""
        for shown in robots:
            for link, visuals in shown.robot.visuals.items():
                entity, pose = f"world/person_{shown.person:03d}/robot/{link}", shown.T_world_link[link].astype(np.float32)
                for i, visual in enumerate(visuals):
                    self._draw_visual(f"{entity}/{i}", visual)
                if visuals:
                    self._send(entity, shown.frames, self.rr.Transform3D.columns(translation=pose[:, :3, 3], mat3x3=pose[:, :3, :3]))
            self._clear(f"world/person_{shown.person:03d}/robot", shown.frames)

    def _draw_visual(self, entity: str, visual: Visual) -> None:
        rr, pose = self.rr, visual.T_link_visual
        place = rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3] * visual.scale)
        if visual.solid is not None:
            look = rr.Mesh3D(vertex_positions=visual.solid.vertices, triangle_indices=visual.solid.faces, albedo_factor=style.ROBOT)
            self.stream.log(entity, place, look, static=True)
        elif visual.path is not None:
            self.stream.log(entity, place, rr.Asset3D(path=visual.path, albedo_factor=style.ROBOT), static=True)

    def draw_person(self, person: ShownPerson) -> None:
        """Before and after, contacts, skin, and how much they shake."""
        name, colour = f"person_{person.person:03d}", style.person_colour(self.data.scene.people.index(person))
        after = f"world/{name}/after"
        self._draw_bones(after, person.after, *style.bone_look(person, colour))
        self._draw_joints(after, person, colour)
        self._draw_contacts(f"{after}/contacts", person)
        self._draw_skin(f"{after}/skin", person, colour)
        self._clear(after, person.after.frames)
        self._draw_shake(f"shake/{name}/after", person.after, f"{person.person} after", colour, style.CURVES["after"])
        if (motion := person.before) is not None:
            colours = np.tile(np.array(style.BEFORE, np.uint8), (len(motion.frames), 1))
            self._draw_bones(f"world/{name}/before", motion, colours, np.full(len(motion.frames), style.BEFORE_M))
            self._clear(f"world/{name}/before", motion.frames)
            self._draw_shake(f"shake/{name}/before", motion, f"{person.person} before", style.BEFORE, style.CURVES["before"])

    def _draw_bones(self, entity: str, motion: Track, colours: np.ndarray, radii: np.ndarray) -> None:
        lines = shapes.bones(motion.joints).astype(np.float32)
        strips = self.rr.LineStrips3D.columns(strips=lines.reshape(-1, 2, 3)).partition([lines.shape[1]] * len(lines))
        self._send(f"{entity}/bones", motion.frames, strips, self.rr.LineStrips3D.columns(colors=colours, radii=radii))

    def _draw_shake(self, entity: str, motion: Track, name: str, colour: tuple[int, int, int], width: float) -> None:
        frames, values = shapes.acceleration(motion, self.data.scene.fps)
        self.stream.log(entity, self.rr.SeriesLines(names=name, colors=colour, widths=width), static=True)
        self._send(entity, frames, self.rr.Scalars.columns(scalars=values))
        self._clear(entity, frames)

    def _draw_joints(self, entity: str, person: ShownPerson, colour: tuple[int, int, int]) -> None:
        """Balls, and the number above the head."""
        points, joints = self.rr.Points3D, person.after.joints.astype(np.float32)
        frames, n = person.after.frames, len(joints)
        colours, radii, labels = style.joint_look(person, self.data.nll.get(person.person), colour)
        balls = points.columns(positions=joints.reshape(-1, 3), colors=colours.reshape(-1, 4), radii=radii.ravel(), labels=labels)
        self._send(f"{entity}/joints", frames, balls.partition([joints.shape[1]] * n), points.columns(show_labels=[False] * n))
        words = [str(person.person) if seen else f"{person.person} (not seen)" for seen in person.seen]
        number = points.columns(positions=shapes.above(joints, self.data.scene), labels=words, show_labels=[True] * n)
        self._send(f"{entity}/name", frames, number, self._same(n, colour, style.HIDDEN_M))

    def _draw_contacts(self, entity: str, person: ShownPerson) -> None:
        points, rests = self.rr.Points3D, person.contacts >= style.SURE
        feet, n = person.after.joints[:, FEET].astype(np.float32), len(rests)
        names = np.broadcast_to([JOINT_NAMES[joint] for joint in FEET], rests.shape)
        balls = points.columns(positions=feet[rests], labels=names[rests].tolist()).partition(rests.sum(1))
        look = self._same(n, style.CONTACT, style.CONTACT_M)
        self._send(entity, person.after.frames, balls, look, points.columns(show_labels=[False] * n))

    def _same(self, num_rows: int, colour: tuple[int, int, int], radius: float) -> Iterable[Any]:
        """One colour and one radius for all points of each row. What is static would be there without points where nobody is."""
        colours = np.tile(np.array(colour, np.uint8), (num_rows, 1))
        columns: Iterable[Any] = self.rr.Points3D.columns(colors=colours, radii=np.full(num_rows, radius))
        return columns

    def _draw_skin(self, entity: str, person: ShownPerson, colour: tuple[int, int, int]) -> None:
        mesh, wear, start = self.rr.Mesh3D, self.data.wear, 0
        if wear is None:
            return
        look = (*colour, style.SKIN_ALPHA)
        self.stream.log(entity, mesh.from_fields(triangle_indices=wear.faces.astype(np.uint32), albedo_factor=look), static=True)
        for vertices, normals in self.data.skin(person):
            rows = person.after.frames[start : start + len(vertices)]
            columns = mesh.columns(vertex_positions=vertices.reshape(-1, 3), vertex_normals=normals.reshape(-1, 3))
            self._send(entity, rows, columns.partition([vertices.shape[1]] * len(rows)))
            start += len(rows)

    def draw_views(self, views: Sequence[View], pictures: Sequence[bytes | None]) -> None:
        """What the camera saw on some frames in a row."""
        rr, seen = self.rr, [(view.frame, jpeg) for view, jpeg in zip(views, pictures, strict=True) if jpeg is not None]
        if seen:
            frames, blobs = zip(*seen, strict=True)
            images = rr.EncodedImage.columns(blob=list(blobs), media_type=["image/jpeg"] * len(blobs))
            self._send("world/camera/image", np.array(frames), images)
        points = np.concatenate([view.points for view in views]).astype(np.float32)
        grey = np.array(style.DEPTH, np.uint8)
        colours = np.concatenate([np.broadcast_to(grey, v.points.shape) if v.colours is None else v.colours for v in views])
        cloud = rr.Points3D.columns(positions=points, colors=colours).partition([len(view.points) for view in views])
        radii = rr.Points3D.columns(radii=np.full(len(views), style.POINT_M))
        self._send("world/depth", np.array([view.frame for view in views]), cloud, radii)

    def draw_cameras(self, width: int) -> None:
        """Place and frustum of the camera on each frame, for pictures of a width in pixels."""
        rr, cameras = self.rr, self.data.cameras
        ratio, pose, n = width / cameras.image_size[0], cameras.T_world_camera.astype(np.float32), len(cameras.frames)
        lenses, size = np.diag([ratio, ratio, 1.0]) @ cameras.intrinsics, np.array(cameras.image_size) * ratio
        frusta = rr.Pinhole.columns(
            image_from_camera=lenses,
            resolution=np.tile(size, (n, 1)),
            camera_xyz=[rr.ViewCoordinates.RDF] * n,
            image_plane_distance=np.full(n, style.FRUSTUM_M),
            color=np.tile(np.array(style.CAMERA, np.uint8), (n, 1)),
        )
        places = rr.Transform3D.columns(translation=pose[:, :3, 3], mat3x3=pose[:, :3, :3])
        self._send("world/camera", cameras.frames, places, frusta)
        self._clear("world/camera", cameras.frames)
        self._clear("world/depth", cameras.frames)
        self.stream.log("world/path", rr.LineStrips3D([pose[:, :3, 3]], colors=style.CAMERA, radii=style.HIDDEN_M), static=True)
