"""Faults put into a motion that has none, seeded, with the frames that have them.

The kinds are those that users of motion capture and of video report: frames that jump (pops), frames that repeat (frozen), left and right
taken for each other (swaps), feet off the floor (floating), feet that glide (sliding), noise (jitter) and paths that are too short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.skeleton import MIRROR, index_of

_BODY = 22
_LEGS = tuple(index_of(f"left_{name}") for name in ("hip", "knee", "ankle", "foot"))
_ARMS = tuple(index_of(f"left_{name}") for name in ("collar", "shoulder", "elbow", "wrist"))


@dataclass(frozen=True)
class Faulty:
    """A motion with a fault.

    Attributes:
        pose: (T, J, 3) rotation vectors; joint 0 is the root.
        trans: (T, 3) metres, z up.
        marked: (T,) bool, frames that have the fault.
    """

    pose: np.ndarray
    trans: np.ndarray
    marked: np.ndarray


def pops(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """One to six single frames, or stretches of at most a tenth of a second, on which a few joints turn away by 20 to 90 degrees, or the
    body is 8 to 40 cm from its place."""
    pose, trans, marked = pose.copy(), trans.copy(), np.zeros(len(pose), dtype=bool)
    for _ in range(rng.integers(1, 7)):
        length = int(rng.integers(1, max(2, round(0.1 * fps)) + 1)) if rng.random() < 0.5 else 1
        at = int(rng.integers(2, len(pose) - length - 2))
        if rng.random() < 0.75:
            joints = rng.choice(np.arange(1, _BODY), size=int(rng.integers(1, 5)), replace=False)
            turn = Rotation.from_rotvec(_direction(rng, len(joints)) * np.deg2rad(rng.uniform(20, 90, (len(joints), 1))))
            for frame in range(at, at + length):
                pose[frame, joints] = (Rotation.from_rotvec(pose[frame, joints]) * turn).as_rotvec()
        else:
            trans[at : at + length] += _direction(rng, 1) * rng.uniform(0.08, 0.4)
        marked[at : at + length] = True
    return Faulty(pose, trans, marked)


def frozen(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """One to three stretches of a tenth to six tenths of a second that repeat the frame before; the path too."""
    pose, trans, marked = pose.copy(), trans.copy(), np.zeros(len(pose), dtype=bool)
    for _ in range(rng.integers(1, 4)):
        length = min(round(rng.uniform(0.1, 0.6) * fps), len(pose) // 3)
        at = _where_it_moves(pose, trans, length, rng)
        pose[at : at + length], trans[at : at + length] = pose[at - 1], trans[at - 1]
        marked[at : at + length] = True
    return Faulty(pose, trans, marked)


def swaps(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """One to three stretches of a tenth of a second to a second on which the legs, and on a third of them the arms too, have what the other
    side's mirror image has, begun where the two sides differ."""
    pose, marked = pose.copy(), np.zeros(len(pose), dtype=bool)
    left = [*_LEGS, *(_ARMS if rng.random() < 1 / 3 else ())]
    right = [MIRROR[joint] for joint in left]
    flip = np.array([1.0, -1.0, -1.0])
    for _ in range(rng.integers(1, 4)):
        length = min(round(rng.uniform(0.1, 1.0) * fps), len(pose) // 3)
        starts = rng.integers(1, len(pose) - length - 1, 24)
        apart = [min(_asymmetry(pose[at]), _asymmetry(pose[at + length - 1])) for at in starts]
        at = int(starts[int(np.argmax(apart))])
        if marked[at : at + length].any() or marked.sum() + length > 0.4 * len(pose):
            continue
        part = pose[at : at + length].copy()
        pose[at : at + length, left], pose[at : at + length, right] = part[:, right] * flip, part[:, left] * flip
        marked[at : at + length] = True
    return Faulty(pose, trans.copy(), marked)


def floating(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """A stretch of a fifth to a half of the clip that is 6 to 30 cm above the floor, with a tenth to half a second there and back."""
    _, share = _stretch(len(pose), fps, rng, (0.2, 0.5), (0.1, 0.5))
    trans = trans.copy()
    height = share * rng.uniform(0.06, 0.3)
    trans[:, 2] += height
    return Faulty(pose.copy(), trans, height > 0.03)


def sliding(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """A stretch of a fifth to a half of the clip on which the body glides in one direction by 0.3 to 1 m/s."""
    _, share = _stretch(len(pose), fps, rng, (0.2, 0.5), (0.05, 0.2))
    speed = share * rng.uniform(0.3, 1.0)
    angle = rng.uniform(0, 2 * np.pi)
    moved = np.cumsum(speed) / fps
    trans = trans + moved[:, None] * np.array([np.cos(angle), np.sin(angle), 0])
    return Faulty(pose.copy(), trans, speed > 0.15)


def jitter(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """Noise of 2 to 6 degrees on every joint and 0.5 to 2 cm on the path, on the whole clip or on a third to two thirds of it."""
    marked = np.ones(len(pose), dtype=bool)
    if rng.random() < 0.5:
        marked, _ = _stretch(len(pose), fps, rng, (0.33, 0.66), (0.0, 0.0))
    size = np.deg2rad(rng.uniform(2, 6))
    pose = pose.copy()
    noise = rng.normal(size=(int(marked.sum()), _BODY, 3)) * size / np.sqrt(3)
    turned = Rotation.from_rotvec(pose[marked, :_BODY].reshape(-1, 3)) * Rotation.from_rotvec(noise.reshape(-1, 3))
    pose[marked, :_BODY] = turned.as_rotvec().reshape(-1, _BODY, 3)
    trans = trans + marked[:, None] * rng.normal(size=trans.shape) * rng.uniform(0.005, 0.02) / np.sqrt(3)
    return Faulty(pose, trans, marked)


def shortened(pose: np.ndarray, trans: np.ndarray, fps: float, rng: np.random.Generator) -> Faulty:
    """A path along the floor of 0.4 to 0.75 times its length; frames are marked that move."""
    share = rng.uniform(0.4, 0.75)
    short = trans.copy()
    short[:, :2] = trans[0, :2] + (trans[:, :2] - trans[0, :2]) * share
    step = np.linalg.norm(np.diff(trans[:, :2], axis=0, prepend=trans[:1, :2]), axis=-1) * fps
    width = max(3, round(0.5 * fps)) | 1
    speed = np.convolve(np.pad(step, width // 2, mode="edge"), np.ones(width) / width, "valid")
    return Faulty(pose.copy(), short, speed * (1 - share) > 0.15)


INJECTIONS: dict[str, Callable[[np.ndarray, np.ndarray, float, np.random.Generator], Faulty]] = {
    "pops": pops,
    "frozen": frozen,
    "swaps": swaps,
    "floating": floating,
    "sliding": sliding,
    "jitter": jitter,
    "shortened": shortened,
}
"""By name: a motion (T, J, 3) with its path (T, 3), z up, at least a second long, its rate and a generator give it with the fault."""


def _direction(rng: np.random.Generator, num: int) -> np.ndarray:
    """(num, 3) unit vectors."""
    vector = rng.normal(size=(num, 3))
    unit: np.ndarray = vector / np.linalg.norm(vector, axis=-1, keepdims=True)
    return unit


def _stretch(
    num: int, fps: float, rng: np.random.Generator, part: tuple[float, float], ramp_s: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """A stretch of a part of so many frames: which they are, and (T,) 1 within it, rising and falling in some seconds at its ends."""
    length = max(4, round(num * rng.uniform(*part)))
    begin = int(rng.integers(0, num - length))
    frames = np.arange(num)
    marked = (frames >= begin) & (frames < begin + length)
    ramp = max(rng.uniform(*ramp_s) * fps, 1e-9)
    ramp = min(ramp, length / 3)
    share = np.clip(np.minimum(frames - begin + 1, begin + length - frames) / ramp, 0, 1)
    return marked, np.where(marked, share * share * (3 - 2 * share), 0)


def _asymmetry(pose: np.ndarray) -> float:
    """Radians by which a pose's legs differ from each other's mirror images."""
    left = Rotation.from_rotvec(pose[list(_LEGS)])
    right = Rotation.from_rotvec(pose[[MIRROR[joint] for joint in _LEGS]] * np.array([1.0, -1.0, -1.0]))
    return float((left.inv() * right).magnitude().sum())


def _where_it_moves(pose: np.ndarray, trans: np.ndarray, length: int, rng: np.random.Generator) -> int:
    """Of some places, that where a stretch moves most: a frozen stretch of somebody who stands still is none."""
    starts = rng.integers(2, len(pose) - length - 2, 12)
    body = slice(1, _BODY)
    moved = [np.abs(pose[at + length, body] - pose[at, body]).sum() + np.abs(trans[at + length] - trans[at]).sum() for at in starts]
    return int(starts[int(np.argmax(moved))])
