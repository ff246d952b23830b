"""2D keypoint formats, and which joints of the body their points stand for.

A point of an image format and a joint of SMPL are not the same place. Where a mean of detected points comes close to a mean of joints, that
pair is used: the hips of COCO and OpenPose lie wide of SMPL's, but their middles agree; OpenPose's neck is the middle of the shoulders;
SMPL's foot joint is the ball of the foot, about three quarters of the way from the heel to the toes (Winter, "Biomechanics and Motor
Control of Human Movement", 4th ed., 2009, fig. 4.1). Points that no joint stands for (nose, ears, face contour) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.configs.base import UserError

_BALL = 0.75
_FINGERS = {"thumb": 37, "index": 25, "middle": 28, "ring": 34, "pinky": 31}  # first joint of each finger of SMPL-X's left hand
_RIGHT_HAND = 15  # the right hand's joints follow the left's
_STUB = 22  # SMPL's hands are one joint each: 22 and 23
_HAND_POINTS = 21
_PLACEMENT = 0.0065  # of the body's height in the image: 3 px of a person of 460 px, what good detectors and SMPL's joints differ by


@dataclass(frozen=True)
class Correspondence:
    """One observed place: a weighted mean of detected points, at the mean of some joints.

    Attributes:
        points: indices into the format's points.
        weights: one for each of the points, summing to 1.
        joints: of the body; empty where the body has none of them.
    """

    points: tuple[int, ...]
    weights: tuple[float, ...]
    joints: tuple[int, ...]


def _one(point: int, *joints: int) -> Correspondence:
    return Correspondence((point,), (1.0,), joints)


def _coco_limbs() -> list[Correspondence]:
    limbs = {5: 16, 6: 17, 7: 18, 8: 19, 9: 20, 10: 21, 13: 4, 14: 5, 15: 7, 16: 8}
    return [_one(point, joint) for point, joint in limbs.items()] + [Correspondence((11, 12), (0.5, 0.5), (1, 2))]


def _foot(big_toe: int, joint: int) -> Correspondence:
    """Big toe, small toe and heel, one after the other, give the ball of the foot."""
    return Correspondence((big_toe, big_toe + 1, big_toe + 2), (_BALL / 2, _BALL / 2, 1 - _BALL), (joint,))


def _fingers(first: int, side: int) -> list[Correspondence]:
    """21 points of a hand: wrist, then four of each finger from thumb to pinky; the last of each is its tip, where no joint is."""
    pairs = []
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "pinky")):
        for i in range(3):
            pairs.append(_one(first + 1 + 4 * finger + i, _FINGERS[name] + side * _RIGHT_HAND + i))
    return pairs


def _soma(hands: bool) -> list[Correspondence]:
    """SOMA's 77 joints; its hands from 14 (left) and 42 on: the wrist, four points of the thumb, five of each other finger, whose first is
    in the palm."""
    limbs = {67: 1, 68: 4, 69: 7, 70: 10, 12: 16, 13: 18, 14: 20, 72: 2, 73: 5, 74: 8, 75: 11, 40: 17, 41: 19, 42: 21}
    pairs = [_one(point, joint) for point, joint in limbs.items()]
    for side, wrist in enumerate((14, 42)) if hands else ():
        for at, name in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            first = wrist + 1 + (5 * at if at else 0)
            pairs += [_one(first + i, _FINGERS[name] + side * _RIGHT_HAND + i) for i in range(3)]
    return pairs


def _formats(num_joints: int) -> dict[str, tuple[int, list[Correspondence]]]:
    hands = num_joints == 55
    eyes = [_one(1, 23), _one(2, 24)] if hands else []
    openpose_limbs = {2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 10: 5, 11: 8, 13: 4, 14: 7}
    openpose = [_one(point, joint) for point, joint in openpose_limbs.items()]
    openpose += [_one(1, 16, 17), _one(8, 1, 2), _foot(19, 10), _foot(22, 11)]
    if hands:
        openpose += [_one(16, 23), _one(15, 24)]
    knuckles = [_one(91 + 9, _STUB), _one(112 + 9, _STUB + 1)]  # SMPL's hand joint stands at the knuckle of the middle finger
    smpl_hands = [_one(22, _FINGERS["middle"]), _one(23, _FINGERS["middle"] + _RIGHT_HAND)] if hands else [_one(22, 22), _one(23, 23)]
    wholebody = [*_coco_limbs(), *eyes, _foot(17, 10), _foot(20, 11)]
    wholebody += [*_fingers(91, 0), *_fingers(91 + _HAND_POINTS, 1)] if hands else knuckles
    return {
        "smpl24": (24, [*(_one(j, j) for j in range(22)), *smpl_hands]),
        "coco17": (17, [*_coco_limbs(), *eyes]),
        "openpose25": (25, openpose),
        "coco_wholebody133": (133, wholebody),
        "soma77": (77, _soma(hands)),
    }


FORMATS: tuple[str, ...] = tuple(_formats(24))
"""Names of the known formats."""


def format_of(num_points: int, name: str | None, source: str) -> str:
    """The format's name, from the file or from the number of points. Raises `UserError` if it is none of the known ones."""
    sizes = {format_name: size for format_name, (size, _) in _formats(24).items()}
    if name is None:
        name = next((known for known, size in sizes.items() if size == num_points), None)
    if name not in sizes or sizes[name] != num_points:
        known = ", ".join(f"{format_name} ({size})" for format_name, size in sizes.items())
        raise UserError(f"{source}: {num_points} keypoints of format '{name}'; known are {known}")
    return name


def placement_error(name: str | None) -> float:
    """How far the points of a format lie from the joints that they stand for, as a share of the body's height in the image.

    It changes with the pose, from frame to frame little, so it does not show as noise. SMPL's own joints are no farther than their noise.
    """
    return 0.0 if name in (None, "smpl24") else _PLACEMENT


def correspondences(name: str, num_joints: int) -> tuple[Correspondence, ...]:
    """What the points of a format observe on a body of 22, 24 or 55 joints."""
    return tuple(pair for pair in _formats(num_joints)[name][1] if max(pair.joints) < num_joints)


def observed(points: np.ndarray, of: tuple[Correspondence, ...]) -> np.ndarray:
    """Detected points (..., N, 3) as x, y, confidence -> observed places (..., K, 3); a mean is as sure as its least sure point."""
    out = np.zeros((*points.shape[:-2], len(of), 3))
    for at, pair in enumerate(of):
        chosen = points[..., list(pair.points), :]
        out[..., at, :2] = np.einsum("...kc,k->...c", chosen[..., :2], np.asarray(pair.weights))
        out[..., at, 2] = chosen[..., 2].min(-1)
    return out
