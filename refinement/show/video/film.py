"""What a film shows: people before and after, side by side, over images, over depth, or over a plain ground with the floor's lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pose_priors.body.anny.model import chosen_anny
from pose_priors.body.pinhole import project, to_camera
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import check_writable
from pose_priors.configs.writing import written_aside
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.show import recording_shapes as shapes
from pose_priors.refinement.show import recording_style as style
from pose_priors.refinement.show.camera_path import CameraPath
from pose_priors.refinement.show.recording_data import RecordingData, read_recording_data
from pose_priors.refinement.show.recording_pictures import greys, read_picture, shown_depths
from pose_priors.refinement.show.review_scene import ShownPerson
from pose_priors.refinement.show.video.capsules import Capsules, capsules_of
from pose_priors.refinement.show.video.encoder import require_ffmpeg, write_mp4
from pose_priors.refinement.show.video.painter import Painter
from pose_priors.refinement.show.video.triangles import draw_mesh

log = logging.getLogger("refine")

_WIDTH = 960  # of one side: two are as wide as a screen
_SEEN_OPACITY, _HIDDEN_OPACITY = 0.92, 0.4
_NEAR_M = 0.1


@dataclass(frozen=True)
class _Shown:
    """One person on one side, a row for each frame of theirs."""

    person: int
    colour: tuple[int, int, int]
    rows: dict[int, int]
    body: Capsules | Frames
    name_at: np.ndarray
    seen: np.ndarray


class Frames:
    """A mesh that moves, asked for frame by frame, the earlier first: a few of them are held.

    Args:
        chunks: vertices and normals, (m, V, 3) both, some rows at a time.
        faces: (F, 3).
    """

    def __init__(self, chunks: Iterator[tuple[np.ndarray, np.ndarray]], faces: np.ndarray) -> None:
        self._chunks, self.faces = chunks, faces
        self._start, self._held = 0, (np.zeros((0, 0, 3)), np.zeros((0, 0, 3)))

    def at(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and normals (V, 3) of a row that is none before those that were asked for."""
        while row >= self._start + len(self._held[0]):
            self._start += len(self._held[0])
            self._held = next(self._chunks)
        return self._held[0][row - self._start], self._held[1][row - self._start]


@dataclass(frozen=True)
class _Side:
    """One half of the picture: who is on it, and the cameras that they are seen by."""

    title: str
    people: tuple[_Shown, ...]
    cameras: dict[int, tuple[np.ndarray, np.ndarray]]


def write_video(
    result: RefinedSequence, path: Path, images: Path | None = None, body_model: Path | None = None, surface: str = "auto"
) -> None:
    """Writes an mp4 of a refined sequence, one picture for each frame from the first to the last on which anybody is there.

    Args:
        path: ends with `.mp4`; appears whole or not at all.
        images: a folder of images, see `recording_pictures.find_images`.
        body_model: a file or folder in smplx's format, for the people's skin, or None.
        surface: of `body.anny.model.SURFACES`, what they wear without one.
    Raises:
        UserError: if the result or the body model cannot be read, Anny or ffmpeg is missing or fails, or the file cannot be written.
    """
    check_place("--video", path, ".mp4")
    require_ffmpeg()
    film = _film_of(result, images, body_model, surface)
    write_mp4(path, film.pictures(), film.size, film.data.scene.fps)


def write_picture(
    result: RefinedSequence,
    path: Path,
    frame: int | None = None,
    images: Path | None = None,
    body_model: Path | None = None,
    surface: str = "auto",
) -> None:
    """Writes one picture of that film as a png.

    Args:
        path: ends with `.png`; appears whole or not at all.
        frame: its number; the one in the middle if None.
        images: as `write_video`.
        body_model: the same.
        surface: the same.
    Raises:
        UserError: if the result or the body model cannot be read, the clip has no such frame, or the file cannot be written.
    """
    check_place("--picture", path, ".png")
    film = _film_of(result, images, body_model, surface)
    first, last = film.data.scene.frames
    if frame is not None and not first <= frame <= last:
        raise UserError(f"--frame {frame}: {film.data.name} has frames {first} to {last}")
    picture = Image.fromarray(film.picture((first + last) // 2 if frame is None else frame))
    try:
        with written_aside(path) as aside:
            picture.save(aside, format="png", optimize=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); give another place by --picture") from error


def check_place(option: str, path: Path, ending: str) -> None:
    """Raises `UserError` if no file of that ending could be written there: better now than after the work."""
    if path.suffix.lower() != ending or path.is_dir():
        raise UserError(f"{option} {path}: a file that ends with {ending} is expected")
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: {path.parent} is no folder; make it first")
    check_writable(path.parent)


def _film_of(result: RefinedSequence, images: Path | None, body_model: Path | None, surface: str) -> Film:
    anny = chosen_anny(surface) if body_model is None else None
    data = read_recording_data(result, images=images, body_model=body_model, anny=anny)
    if data.scene.missing:
        log.warning("%s: %s; how it was before, and depth, are left out", data.name, data.scene.missing)
    return Film(data)


class Film:
    """The pictures of a refined sequence.

    Attributes:
        panel: width and height of one side in pixels.
        size: of a whole picture, both even.
    """

    def __init__(self, data: RecordingData) -> None:
        self.data = data
        width, height = data.cameras.image_size
        ratio = min(1.0, _WIDTH / width)
        # H.264 with colours of half the size takes even numbers only
        self.panel = (max(2, 2 * round(ratio * width / 2)), max(2, 2 * round(ratio * height / 2)))
        self.size = (self.panel[0] * (1 if data.scene.cameras_before is None else 2), self.panel[1])
        self._font = ImageFont.load_default(max(12, self.panel[1] // 28))
        self._depths: tuple[float, float] | None = None

    def pictures(self) -> Iterator[np.ndarray]:
        """(h, w, 3) uint8, frame by frame."""
        sides = _sides(self.data)
        first, last = self.data.scene.frames
        for frame in range(first, last + 1):
            yield self._picture(frame, sides)

    def picture(self, frame: int) -> np.ndarray:
        """(h, w, 3) uint8: the sides beside each other."""
        return self._picture(frame, _sides(self.data))

    def _picture(self, frame: int, sides: Sequence[_Side]) -> np.ndarray:
        ground = self._ground(frame)
        return np.concatenate([self._side(side, frame, ground) for side in sides], 1)

    def _ground(self, frame: int) -> np.ndarray | None:
        """What the camera saw, as large as a side: the image, or depth in greys where there are no images; None where there is neither."""
        picture = read_picture(self.data.images.get(frame), self.panel[0])
        depth = None if picture is not None else self._depth(frame)
        if depth is not None:
            first, last = self.data.scene.frames
            if self._depths is None:  # the same greys on all frames: those of the first
                self._depths = shown_depths(next(filter(_is_there, map(self._depth, range(first, last + 1)))))
            picture = greys(depth, self._depths) // 2  # dark, so that people stand out
        if picture is None:
            return None
        return np.asarray(Image.fromarray(picture).resize(self.panel, Image.Resampling.BILINEAR))

    def _depth(self, frame: int) -> np.ndarray | None:
        """The depth map of a frame, where there are no images."""
        clip = self.data.scene.clip
        found = None if self.data.images or clip is None else clip.depth.read(frame)
        return None if found is None else found[0]

    def _side(self, side: _Side, frame: int, ground: np.ndarray | None) -> np.ndarray:
        camera = side.cameras.get(frame)
        if ground is not None:
            picture = ground.astype(np.float32)
        else:
            picture = np.full((self.panel[1], self.panel[0], 3), style.BACKGROUND, np.float32)
            if camera is not None:
                picture = self._floor(picture, *camera)
        if camera is None:
            return self._written(picture, side.title, frame, [])
        w2c, intrinsics = camera
        painters = {True: Painter(self.panel, intrinsics), False: Painter(self.panel, intrinsics)}
        names = []
        for owner, shown in enumerate(side.people):
            if (row := shown.rows.get(frame)) is None:
                continue
            painter = painters[bool(shown.seen[row])]
            if isinstance(shown.body, Capsules):
                painter.draw(to_camera(shown.body.ends[row].reshape(-1, 3), w2c).reshape(-1, 2, 3), shown.body.radii, owner)
            else:
                vertices, normals = shown.body.at(row)
                draw_mesh(painter, to_camera(vertices, w2c), normals @ w2c[:3, :3].T, shown.body.faces, owner)
            place = project(to_camera(shown.name_at[row][None], w2c), intrinsics)[0]
            if np.isfinite(place).all():
                names.append((place, str(shown.person), shown.colour))
        colours = np.array([shown.colour for shown in side.people], np.float32).reshape(-1, 3)
        _lay(picture, painters[True], colours, _SEEN_OPACITY, painters[True].depth)
        # whom nobody sees is before whom the camera sees only where they would be nearer
        _lay(picture, painters[False], colours, _HIDDEN_OPACITY, painters[True].depth)
        return self._written(picture, side.title, frame, names)

    def _floor(self, picture: np.ndarray, w2c: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
        image = Image.fromarray(picture.astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for line in to_camera(shapes.floor_grid(self.data.scene).reshape(-1, 3), w2c).reshape(-1, 2, 3):
            a, b = line[np.argsort(line[:, 2])]
            if b[2] <= _NEAR_M:
                continue
            if a[2] < _NEAR_M:
                a = a + (b - a) * (_NEAR_M - a[2]) / (b[2] - a[2])
            draw.line([(x, y) for x, y in project(np.stack([a, b]), intrinsics).tolist()], fill=style.FLOOR)
        return np.asarray(image).astype(np.float32)

    def _written(
        self, picture: np.ndarray, title: str, frame: int, names: list[tuple[np.ndarray, str, tuple[int, int, int]]]
    ) -> np.ndarray:
        """With the numbers of the people above their heads, and with what is shown, and when, in the corners."""
        image = Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for place, name, colour in names:
            self._write(draw, (float(place[0]), float(place[1])), name, colour, "mb")
        margin = self.panel[1] // 60
        self._write(draw, (margin, margin), title, style.WORDS, "la")
        self._write(draw, (self.panel[0] - margin, margin), str(frame), style.WORDS, "ra")
        return np.asarray(image)

    def _write(self, draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, colour: tuple[int, int, int], anchor: str) -> None:
        draw.text(at, words, fill=colour, font=self._font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _is_there(depth: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return depth is not None


def _sides(data: RecordingData) -> tuple[_Side, ...]:
    scene = data.scene
    before, after = [], []
    for place, person in enumerate(scene.people):
        colour = style.person_colour(place)
        after.append(_shown(person, colour, person.after, person.seen, data))
        if person.before is not None:
            # the input says nothing of frames on which it does not see them
            before.append(_shown(person, colour, person.before, np.ones(len(person.before.frames), bool), data))
    panel = min(1.0, _WIDTH / data.cameras.image_size[0])
    refined = _Side("after", tuple(after), _by_frame(data.cameras, panel))
    if scene.cameras_before is None:
        return (refined,)
    return (_Side("before", tuple(before), _by_frame(scene.cameras_before, panel)), refined)


def _shown(person: ShownPerson, colour: tuple[int, int, int], motion: Track, seen: np.ndarray, data: RecordingData) -> _Shown:
    rows = {frame: row for row, frame in enumerate(motion.frames.tolist())}
    body: Capsules | Frames = capsules_of(motion.joints)
    if data.wear is not None:
        body = Frames(data.skin(person, before=motion is person.before), data.wear.faces.astype(np.int64))
    return _Shown(person.person, colour, rows, body, shapes.above(motion.joints, data.scene), seen)


def _by_frame(cameras: CameraPath, ratio: float) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """World to camera and intrinsics, in pixels of a picture that is smaller by a ratio, by frame."""
    w2c = np.linalg.inv(cameras.T_world_camera)
    intrinsics = np.diag([ratio, ratio, 1.0]) @ cameras.intrinsics
    return dict(zip(cameras.frames.tolist(), zip(w2c, intrinsics, strict=True), strict=True))


def _lay(picture: np.ndarray, painted: Painter, colours: np.ndarray, opacity: float, behind: np.ndarray) -> None:
    """Lays what was painted over a picture (h, w, 3), where it is not farther than `behind` (h, w)."""
    shown = (painted.owner >= 0) & (painted.depth <= behind)
    body = colours[painted.owner[shown]] * painted.shade[shown][:, None]
    picture[shown] += opacity * (body - picture[shown])
