"""Where a reader of the review page looks from: freely, through the camera with its picture behind, or through the eyes of a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.skeleton import index_of
from pose_priors.refinement.show.recording_pictures import find_images, greys, read_picture, shown_depths
from pose_priors.refinement.show.review_scene import ReviewScene

FREE, CAMERA, PERSON = "free", "camera", "person "
"""What can be chosen; the last with the id of a person behind it."""

_HEAD = index_of("head")
_FIELD_OF_VIEW_DEG, _PERSON_DEG = 75.0, 90.0  # from above to below; viser's, and that of a person
_BEFORE_EYES_M = 0.12
_BEHIND = 1.5  # times as far as everything that is shown, the picture is drawn
_LEAST_M = 5.0


class Eye:
    """Where all readers of a page look from.

    Args:
        server: of viser.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._scene: ReviewScene | None = None
        self._images: dict[int, Path] = {}
        self._picture: Any = None
        self._shown: tuple[float, float] | None = None
        self._free = True

    def load(self, scene: ReviewScene | None, source: Path | None) -> None:
        """Takes the place of the sequence before; its pictures are looked for beside what was refined."""
        self._remove()
        self._scene, self._shown = scene, None
        frames = [] if scene is None or scene.clip is None else scene.clip.cameras.frame_ids.tolist()
        self._images = find_images(None, source, frames)

    def choices(self) -> tuple[str, ...]:
        """What the sequence can be looked at from."""
        people = () if self._scene is None else tuple(f"{PERSON}{person.person}" for person in self._scene.people)
        return (FREE, CAMERA, *people)

    def look(self, choice: str, frame: int, *, picture: bool) -> bool:
        """Moves all readers to where a choice is on a frame; whether it is somewhere there. With `free` they stay, once they are back.

        Args:
            picture: whether the camera's picture is behind what it sees.
        """
        if choice == FREE or self._scene is None:
            self._remove()
            if not self._free:
                self._fields_of_view(lambda _: _FIELD_OF_VIEW_DEG)
            self._free = True
            return True
        self._free = False
        if choice == CAMERA:
            return self._camera(self._scene, frame, picture=picture)
        self._remove()
        return self._person(self._scene, int(choice.removeprefix(PERSON)), frame)

    def _camera(self, scene: ReviewScene, frame: int, *, picture: bool) -> bool:
        cameras, at = scene.cameras, np.flatnonzero(scene.cameras.frames == frame)
        if not len(at):
            self._remove()
            return False
        pose, lens, (width, height) = cameras.T_world_camera[at[0]], cameras.intrinsics[at[0]], cameras.image_size
        tangents = np.array([width / lens[0, 0], height / lens[1, 1]]) / 2
        # the whole picture fits the window, however wide that is
        self._fields_of_view(lambda aspect: 2 * np.degrees(np.arctan(max(tangents[1], tangents[0] / aspect))))
        self._move(pose)
        self._draw_picture(scene, frame, pose, lens, picture=picture)
        return True

    def _person(self, scene: ReviewScene, number: int, frame: int) -> bool:
        person = next((person for person in scene.people if person.person == number), None)
        row = None if person is None else person.after.row(frame)
        if person is None or row is None or person.gaze is None:
            return False
        z = person.gaze[row]
        x = np.cross(z, scene.ground_plane[:3])
        if np.linalg.norm(x) < 1e-6:  # straight up, or down
            x = np.array([1.0, 0, 0])
        x = x / np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
        pose[:3, 3] = person.after.joints[row, _HEAD] + _BEFORE_EYES_M * z
        self._fields_of_view(lambda _: _PERSON_DEG)
        self._move(pose)
        return True

    def _move(self, pose: np.ndarray) -> None:
        """Everybody to an OpenCV camera (4, 4), which is how viser's stand too."""
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = -pose[:3, 1]
                client.camera.position, client.camera.look_at = pose[:3, 3], pose[:3, 3] + pose[:3, 2]

    def _fields_of_view(self, degrees: Any) -> None:
        """Of everybody, by how wide the window of each is."""
        for client in self._server.get_clients().values():
            client.camera.fov = np.radians(degrees(client.camera.aspect))

    def _draw_picture(self, scene: ReviewScene, frame: int, pose: np.ndarray, lens: np.ndarray, *, picture: bool) -> None:
        image = self._image(scene, frame) if picture else None
        if image is None:
            self._remove()
            return
        people = np.concatenate([person.after.joints[:, 0] for person in scene.people])
        distance = max(_LEAST_M, _BEHIND * float(np.linalg.norm(people - pose[:3, 3], axis=1).max()))
        width, height = scene.cameras.image_size
        middle = np.linalg.inv(lens) @ [width / 2, height / 2, 1] * distance
        size = distance * width / float(lens[0, 0]), distance * height / float(lens[1, 1])
        turn = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
        place = pose[:3, :3] @ middle + pose[:3, 3]
        self._remove()
        self._picture = self._server.scene.add_image(
            "/picture", image, *size, wxyz=turn, position=place, cast_shadow=False, receive_shadow=False
        )

    def _image(self, scene: ReviewScene, frame: int) -> np.ndarray | None:
        """(h, w, 3) uint8: the image of a frame, or its depth in greys; None where there is neither."""
        found = read_picture(self._images.get(frame))
        if found is None and not self._images and scene.clip is not None and (depth := scene.clip.depth.read(frame)) is not None:
            self._shown = self._shown or shown_depths(depth[0])
            found = greys(depth[0], self._shown)
        return found

    def _remove(self) -> None:
        if self._picture is not None:
            self._picture.remove()
            self._picture = None
