"""Results against what people, cameras and clips can be, before they are written: each doubt is a line that says what to look at."""

from __future__ import annotations

import numpy as np

from pose_priors.body.pinhole import camera_centres, to_camera
from pose_priors.datamodules.plausibility import MAX_SPEED
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.given.units import SHORTEST, TALLEST, stature

_SHARE = 0.9  # of the steps of a person or a camera: some are leaps
_FASTEST_CAMERA = 60.0  # metres a second; beyond cars and the drones that film them
_FARTHEST = 300.0  # metres; beyond, a person fills no more than a few pixels
_ALPHA = 1e4


def doubts(problem: Problem, joints: np.ndarray, alpha: float) -> list[str]:
    """One line for each thing that cannot be.

    Args:
        problem: what was refined.
        joints: (P, T, J, 3) metres, world.
        alpha: metric = alpha * stage 1.
    """
    found = []
    if not 1 / _ALPHA < alpha < _ALPHA:
        found.append(f"stage 1's unit is {alpha:.3g} m; are cameras and depth in one unit?")
    w2c = problem.cameras.w2c.detach().cpu().double().numpy().copy()
    w2c[:, :3, 3] *= alpha
    w2c = w2c[: problem.num_frames]
    if (speed := _speed(camera_centres(w2c), problem.fps)) > _FASTEST_CAMERA:
        found.append(f"the camera moves by {speed:.0f} m/s; are the scale of {alpha:.3g} and {problem.fps:g} frames a second right?")
    seen = problem.visible.cpu().numpy()[:, : problem.num_frames]
    for person, rows, body in zip(problem.person_ids, seen, joints[:, : problem.num_frames], strict=True):
        if not rows.any():  # who keeps the input is on no frame of what is refined
            continue
        shown = body[rows]
        if not SHORTEST <= (tall := stature(shown)) <= TALLEST:
            found.append(f"person {person} is {tall:.2f} m tall; {SHORTEST} to {TALLEST} m are expected: are the bodies in metres?")
        if (speed := _speed(body[_alive(rows), 0], problem.fps)) > MAX_SPEED:
            found.append(
                f"person {person} moves by {speed:.0f} m/s, faster than anybody runs; are {problem.fps:g} frames a second right, and is it "
                "one person?"
            )
        away = float(np.median(np.linalg.norm(to_camera(shown[:, :1], w2c[rows])[:, 0], axis=1)))
        if away > _FARTHEST:
            found.append(f"person {person} is {away:.0f} m away from the camera; are the bodies in metres, and is the focal length right?")
    return found


def _alive(seen: np.ndarray) -> slice:
    rows = np.flatnonzero(seen)
    return slice(int(rows[0]), int(rows[-1]) + 1)


def _speed(path: np.ndarray, fps: float) -> float:
    """Metres a second that all but a tenth of the steps of a path (T, 3) stay below."""
    return float(np.quantile(np.linalg.norm(np.diff(path, axis=0), axis=1), _SHARE)) * fps if len(path) > 1 else 0.0
