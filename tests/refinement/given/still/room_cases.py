"""A room that is filmed, of which depth maps are known, from cameras that are given wrongly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import camera_centres, pixel_centres, unproject
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.tracks import Tracks

SIZE, GRID, FRAMES = (640, 360), (90, 160), 10
INTRINSICS = np.array([[400.0, 0, 320], [0, 400, 180], [0, 0, 1]])
PLANES = np.array([[0, -1.0, 0, 1.5], [0, 0, -1.0, 9.0], [1.0, 0, -0.3, 6.0]])  # a floor and two walls, n . x + d = 0


@dataclass
class Room:
    """Depth of the planes before the true cameras, in a unit that may change from frame to frame."""

    w2c: np.ndarray
    unit: np.ndarray
    noise: float = 0.01

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        _, _, centres = pixel_centres(GRID, SIZE)
        rays = unproject(centres, np.ones(len(centres)), INTRINSICS) @ self.w2c[frame, :3, :3]
        eye = camera_centres(self.w2c)[frame]
        with np.errstate(divide="ignore"):
            away = -(eye @ PLANES[:, :3].T + PLANES[:, 3]) / (rays @ PLANES[:, :3].T)
        depth = np.where(away > 0, away, np.inf).min(1) * self.unit[frame]
        noise = np.random.default_rng(frame).normal(1, self.noise, depth.shape)
        return (depth * noise).reshape(GRID).astype(np.float32), np.ones(GRID, np.float32)

    def close(self) -> None:
        """Nothing to say."""


def filmed() -> np.ndarray:
    """(T, 4, 4) cameras that go sideways and turn."""
    w2c = np.tile(np.eye(4), (FRAMES, 1, 1))
    u = np.linspace(0, 1, FRAMES)
    w2c[:, :3, :3] = Rotation.from_rotvec(np.stack([0 * u + 0.1, 0.4 * u, 0 * u], 1)).as_matrix()
    centres = np.stack([1.5 * u, 0.2 * np.sin(4 * u), 0.3 * u], 1)
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], centres)
    return w2c @ np.linalg.inv(w2c[0])


def clip_of(given: np.ndarray, unit: np.ndarray | None = None, focal: float = 1.0) -> UpstreamClip:
    """The room, and cameras that are said to be elsewhere, or to have another focal length."""
    intrinsics = np.repeat(INTRINSICS[None], FRAMES, 0)
    intrinsics[:, [0, 1], [0, 1]] *= focal
    cameras = CameraTrack("cameras.npz", given, intrinsics, SIZE, np.ones(FRAMES), np.arange(FRAMES), 30.0)
    far = np.repeat([[0.2, 0.1, 5.0 * focal]], FRAMES, 0)
    body = BodyTrack(1, "person 1", np.arange(FRAMES), np.zeros((FRAMES, 24, 3)), np.zeros(10), far, None, transl_is_pelvis=True)
    room = Room(filmed(), np.ones(FRAMES) if unit is None else unit)
    return UpstreamClip(cameras, Tracks(), {1: body}, depth=room)


def turned_by(w2c: np.ndarray, degrees: np.ndarray, axis: int) -> np.ndarray:
    out = w2c.copy()
    turn = Rotation.from_rotvec(np.radians(degrees)[:, None] * np.eye(3)[axis]).as_matrix()
    out[:, :3, :3] = turn @ out[:, :3, :3]
    centres = camera_centres(w2c)
    out[:, :3, 3] = -np.einsum("tij,tj->ti", out[:, :3, :3], centres)
    return out


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(Rotation.from_matrix(a[:, :3, :3] @ np.swapaxes(b[:, :3, :3], 1, 2)).magnitude())


def drifting(unit: np.ndarray, w2c: np.ndarray | None = None) -> np.ndarray:
    """Cameras, the true ones by default, whose steps are in a unit (T,) of their own."""
    given = filmed() if w2c is None else w2c.copy()
    centres = camera_centres(given)
    steps = np.diff(centres, axis=0) * ((unit[1:] + unit[:-1]) / 2)[:, None]
    given[:, :3, 3] = -np.einsum("tij,tj->ti", given[:, :3, :3], centres[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)]))
    return given


def wandering(w2c: np.ndarray, degrees: float) -> np.ndarray:
    """Cameras turned slowly about two axes by up to that."""
    slow = degrees * np.sin(np.linspace(0, 7, FRAMES))
    return turned_by(turned_by(w2c, slow, 0), -slow, 1)
