"""Which way is up: what the planes of the scene, the cameras and the people say, each of which may be wrong, and a vote among them.

People who stand point up, people who lie or stand on their hands do not. Cameras are seldom rolled, and often look down or up. A floor is a
plane that cameras are above and that people touch with whatever is lowest of them: the one witness that knows nothing of poses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_HEAD, _FEET = 15, (10, 11)
_STANDING = 25.0  # degrees by which bodies lean that stand
_ROLL, _PITCH = 12.0, 35.0  # degrees by which cameras are rolled, and look down or up
_TOUCH = 0.3  # metres from a plane within which the lowest point of a person touches it
_MOSTLY = 0.5  # of people and frames, who touch a floor that is held against a given up
_SUPPORT, _LEAST_SUPPORT = 2.0, 0.15  # votes of a plane that all touch, and the share of people and frames that must
_MODES = 200  # directions of bodies that are tried for the most frequent
_REFITS = 5
_CLASH = 45.0  # degrees between people and cameras beyond which one of them is wrong


@dataclass(frozen=True)
class Upright:
    """Which way is up.

    Attributes:
        up: (3,) unit vector in the world.
        on_floor: (P, T) bool, who stands, lies or hangs at the height of the floor there; all who are seen where no plane tells.
        known: whether the witnesses agree well enough for a floor to be laid by it.
        doubts: what they disagree on, a line each.
    """

    up: np.ndarray
    on_floor: np.ndarray
    known: bool = True
    doubts: tuple[str, ...] = field(default=())


def body_directions(joints: np.ndarray) -> np.ndarray:
    """(P, T, 3) unit vectors from the feet to the head of joints (P, T, J, 3); zero where they coincide."""
    bodies = joints[:, :, _HEAD] - joints[:, :, list(_FEET)].mean(2)
    directions: np.ndarray = bodies / np.maximum(np.linalg.norm(bodies, axis=-1, keepdims=True), 1e-9)
    return directions


def up_direction(joints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(3,) unit vector: the most frequent direction from feet to heads; those far from it bend, lie, or stand on their hands.

    NaN where no body that is seen has a direction.

    Args:
        joints: (P, T, J, 3) in the world.
        seen: (P, T) bool.
    """
    directions = body_directions(joints)[seen]
    directions = directions[directions.any(-1)]
    if not len(directions):
        return np.full(3, np.nan)
    tried = directions[:: max(1, len(directions) // _MODES)]
    mean: np.ndarray = tried[_near(_degrees(tried @ directions.T), _STANDING).sum(1).argmax()]
    for _ in range(_REFITS):
        near = _degrees(directions @ mean) <= _STANDING
        mean = directions[near].mean(0)
        mean = mean / np.linalg.norm(mean)
    return mean


def standing(joints: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(P, T) bool: bodies (P, T, J, 3) that lean little from up (3,), so that the feet carry them."""
    return _degrees(body_directions(joints) @ up) < _CLASH


def camera_up(w2c: np.ndarray) -> np.ndarray:
    """(3,) unit vector: up if the cameras (T, 4, 4) are held level, on average."""
    mean = -w2c[:, 1, :3].mean(0)
    up: np.ndarray = mean / max(np.linalg.norm(mean), 1e-9)
    return up


def find_up(
    joints: np.ndarray,
    skin: np.ndarray,
    seen: np.ndarray,
    w2c: np.ndarray,
    planes: list[tuple[np.ndarray, float]],
    given: np.ndarray | None,
) -> Upright:
    """Up, by the vote of planes, cameras and people; a direction that is given stands, but is in doubt where all of them contradict it.

    Args:
        joints: (P, T, J, 3) metres, in the world.
        skin: (P, J) metres from each joint down to where the body ends.
        seen: (P, T) bool, at least one true.
        w2c: (T, 4, 4), translations in metres.
        planes: of the scene, in metres, as from `planes.scene_planes`.
        given: (3,) unit vector, or None.
    """
    by_people, by_cameras = up_direction(joints, seen), camera_up(w2c)
    floors = [floor for plane, share in planes if (floor := _as_floor(plane, share, joints, skin, seen, w2c)) is not None]
    if given is not None:
        return _held_against(given, seen, floors, by_people, by_cameras)
    directions = body_directions(joints)[seen]

    def votes(up: np.ndarray) -> float:
        return _level(up, w2c) + float(_near(_degrees(directions @ up), _STANDING).mean())

    best = max(floors, key=lambda floor: _SUPPORT * floor.support + floor.share + votes(floor.plane[:3]), default=None)
    apart = float(_degrees(by_people @ by_cameras))
    if best is not None and _SUPPORT * best.support + votes(best.plane[:3]) > max(votes(by_people), votes(by_cameras)):
        return Upright(best.plane[:3], best.touched)
    if apart <= _CLASH:
        return Upright(by_people, seen)
    # people who lie before a level camera and people who stand before a rolled one look the same
    up = by_people if votes(by_people) > votes(by_cameras) + _level(by_cameras, w2c) / 2 else by_cameras
    doubt = f"up is {apart:.0f} degrees apart for people and cameras, and no floor that people touch decides; it is taken from the "
    return Upright(up, seen, known=False, doubts=(doubt + ("people" if up is by_people else "cameras"),))


def _held_against(given: np.ndarray, seen: np.ndarray, floors: list[_Floor], by_people: np.ndarray, by_cameras: np.ndarray) -> Upright:
    """The up (3,) that is given, in doubt where people and cameras, or one of them and a floor that people touch, agree on another."""
    best = max(floors, key=lambda floor: floor.support, default=None)
    if best is not None and (apart := float(_degrees(best.plane[:3] @ given))) < _STANDING:
        return Upright(given, best.touched)
    away = [float(_degrees(up @ given)) for up in (by_people, by_cameras)]
    doubt = ""
    if min(away) > _CLASH:
        doubt = f"the files' up is {away[0]:.0f} degrees from that of the people and {away[1]:.0f} from that of the cameras"
        doubt += " (does it point down?)" if min(away) > 180 - _CLASH else ""
    elif best is not None and best.support > _MOSTLY and min(_degrees(best.plane[:3] @ up) for up in (by_people, by_cameras)) < _STANDING:
        doubt = f"the files' up is {apart:.0f} degrees from that of a floor that people touch, and they or the cameras agree with the floor"
    near = [floor for floor in floors if _degrees(floor.plane[:3] @ given) < _STANDING]
    touched = max(near, key=lambda floor: floor.support).touched if near else seen
    return Upright(given, touched, known=not doubt, doubts=(doubt,) if doubt else ())


@dataclass(frozen=True)
class _Floor:
    plane: np.ndarray
    share: float
    touched: np.ndarray
    support: float


def _as_floor(plane: np.ndarray, share: float, joints: np.ndarray, skin: np.ndarray, seen: np.ndarray, w2c: np.ndarray) -> _Floor | None:
    """The plane facing the cameras, where people touch it from above; None where few do."""
    centres = -np.einsum("tij,ti->tj", w2c[:, :3, :3], w2c[:, :3, 3])
    facing = plane * (1.0 if np.median(centres @ plane[:3] + plane[3]) >= 0 else -1.0)
    lowest = (joints @ facing[:3] + facing[3] - skin[:, None]).min(-1)
    touched = seen & (np.abs(lowest) < _TOUCH)
    support = float(touched.sum() / seen.sum())
    return _Floor(facing, share, touched, support) if support >= _LEAST_SUPPORT else None


def _level(up: np.ndarray, w2c: np.ndarray) -> float:
    """In [0, 1]: how usual the cameras' roll and pitch are if this is up."""
    inside = w2c[:, :3, :3] @ up
    roll = np.degrees(np.arctan2(inside[:, 0], -inside[:, 1]))
    pitch = np.degrees(np.arcsin(np.clip(inside[:, 2], -1, 1)))
    return float((_near(roll, _ROLL) * _near(pitch, _PITCH)).mean())


def _near(degrees: np.ndarray, width: float) -> np.ndarray:
    """A vote in [0, 1] that outliers do not spoil."""
    votes: np.ndarray = 1 / (1 + (degrees / width) ** 2)
    return votes


def _degrees(cosine: np.ndarray) -> np.ndarray:
    degrees: np.ndarray = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees
