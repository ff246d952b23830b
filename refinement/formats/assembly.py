"""What the readers of single tools share: camera tracks from rotations and translations, people from rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.bodies import BodyTrack, mended
from pose_priors.refinement.formats.cameras import CameraTrack, rigid

_LEFT_OUT = "with an id below 0, as trackers give to what they follow as nobody, left out"


def intrinsics_of(focal: float, centre: np.ndarray) -> np.ndarray:
    """(3, 3) of a camera with square pixels and its principal point (2,) in pixels."""
    return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])


def camera_track(
    source: str,
    rotation: np.ndarray,
    translation: np.ndarray,
    intrinsics: np.ndarray,
    *,
    inverted: bool,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
    first_frame: int = 0,
) -> CameraTrack:
    """Cameras of equal trust on consecutive frames.

    Args:
        source: file and key, for messages.
        rotation: (T, 3, 3); translation: (T, 3).
        intrinsics: (3, 3) or (T, 3, 3).
        inverted: whether they map camera to world.
        image_size: width and height in pixels; by default twice the principal point.
    Raises:
        UserError: if they are no rigid motions, or a focal length is not positive.
    """
    w2c = rigid(np.concatenate([rotation, translation[..., None]], -1), source, inverted)
    matrix = np.array(np.broadcast_to(intrinsics, (len(w2c), 3, 3)), float)
    if not np.isfinite(matrix).all() or (matrix[:, [0, 1], [0, 1]] <= 0).any():
        raise UserError(f"{source}: the intrinsics {matrix[0].round(1).tolist()} hold a focal length that is not positive")
    if image_size is None:
        width, height = np.rint(2 * np.median(matrix[:, :2, 2], 0)).astype(int).tolist()
        image_size = (width, height)
    if min(image_size) <= 0:
        raise UserError(f"{source}: the principal point {matrix[0, :2, 2].tolist()} is no point inside an image")
    return CameraTrack(
        source=source,
        w2c=w2c,
        intrinsics=matrix,
        image_size=image_size,
        confidence=np.ones(len(w2c)),
        frame_ids=np.arange(len(w2c)) + first_frame,
        fps=fps,
    )


def still_cameras(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, 3, 3) and translations (T, 3) of a camera that stands at the origin."""
    return np.tile(np.eye(3), (num_frames, 1, 1)), np.zeros((num_frames, 3))


def usual_betas(betas: np.ndarray) -> np.ndarray:
    """(B,) the median over the rows of betas (n, B), or of (B,), that are finite; nan where none is."""
    betas = np.atleast_1d(betas)
    rows = betas.reshape(-1, betas.shape[-1])
    finite = np.isfinite(rows).all(1)
    return np.median(rows[finite], 0) if finite.any() else np.full(betas.shape[-1], np.nan)


@contextmanager
def left_out(person: object, warnings: list[str], part: str = "") -> Iterator[None]:
    """What cannot be read within costs this person alone, or a part of what is known of them; a line in `warnings` says why."""
    try:
        yield
    except UserError as error:
        warnings.append(f"{f'{part} of person' if part else 'person'} {person} is left out: {error}")


def nobody(source: object, warnings: list[str]) -> UserError:
    """What to say of a clip of which nobody is left, with the first of those who were left out."""
    lost = next((line for line in warnings if " is left out: " in line or line.endswith(_LEFT_OUT)), None)
    return UserError(f"{source}: holds nobody who is seen on a frame{'' if lost is None else f'; {lost}'}")


def people_of(bodies: Iterable[BodyTrack], frame_ids: np.ndarray, source: str, warnings: list[str]) -> dict[int, BodyTrack]:
    """The people by their ids, ascending, each with its rows in order; those without a usable row are left out with a warning.

    Raises:
        UserError: if two have one id, or nobody is left.
    """
    people: dict[int, BodyTrack] = {}
    for body in bodies:
        if body.person in people:
            raise UserError(f"{source}: two people have the id {body.person}; ids must be different")
        with left_out(body.person, warnings):
            people[body.person] = mended(body, frame_ids, warnings)
    if not people:
        raise nobody(source, warnings)
    return dict(sorted(people.items()))


def is_nobodys(value: object) -> bool:
    """Whether a tracker's id is a number below zero, which trackers give to what they follow as nobody: such rows are left out."""
    number = _whole(value)
    return number is not None and number < 0


def tell_nobodys(count: int, source: object, warnings: list[str]) -> None:
    """Says how many rows, or people, were left out because their id is below zero, if any were."""
    if count:
        warnings.append(f"{source}: {count} {_LEFT_OUT}")


def person_id(value: object, source: str) -> int:
    """A tracker's id as a number. Raises `UserError` if it is none, or negative: see `is_nobodys`, which goes before it."""
    number = _whole(value)
    if number is None or number < 0:
        raise UserError(f"{source}: the person id {value!r} is no number from 0 on")
    return number


def _whole(value: object) -> int | None:
    """A whole number in whatever type, as trackers that keep ids among boxes have floats; None if it is none."""
    for kind in (int, float):
        try:
            number = kind(str(value))
        except ValueError:
            continue
        return int(number) if number == number // 1 else None  # neither infinite nor NaN
    return None
