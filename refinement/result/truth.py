"""What is true of a clip, and how far its people are from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.plausibility import MAX_COORDINATE, MAX_FPS, MIN_FPS, are_places
from pose_priors.refinement.formats.files import Arrays, existing_file
from pose_priors.refinement.result.metrics import NUM_JOINTS, Track, person_metrics


@dataclass(frozen=True)
class Truth:
    """What is true of a clip.

    Attributes:
        joints: (P, T, 22, 3) metres, in the axes of stage 1's world; P people in ascending order of their ids, T frames from 0 on.
        visible: (P, T) bool, whether stage 3 could see the person.
        ground_plane: (4,) up-facing unit normal n and d with n.x + d = 0.
        alpha: metric = alpha * stage 1.
        fps: frames a second.
    """

    joints: np.ndarray
    visible: np.ndarray
    ground_plane: np.ndarray
    alpha: float
    fps: float

    def score(self, track: Track, row: int) -> dict[str, float | None]:
        """The metrics of one person, see `metrics.person_metrics`; `row` is theirs in the truth."""
        true, seen = self.joints[row, track.frames], self.visible[row, track.frames]
        return person_metrics(track, true, seen, self.ground_plane, self.fps)


def read_truth(path: Path) -> Truth:
    """The truth in an npz with `joints`, `visible`, `ground_plane`, `alpha`, `fps`. Raises `UserError` if one is missing or misshaped."""
    arrays = Arrays(existing_file(path, "the truth of the scene"))
    joints, visible, plane = (arrays.need(name) for name in ("joints", "visible", "ground_plane"))
    alpha, fps = (arrays.need(name) for name in ("alpha", "fps"))
    if joints.ndim != 4 or joints.shape[2] < NUM_JOINTS or joints.shape[3] != 3:
        raise UserError(f"{path}: 'joints' has shape {joints.shape}; (people, frames, {NUM_JOINTS} or more, 3) is expected")
    if visible.shape != joints.shape[:2] or plane.size != 4 or alpha.size != 1 or fps.size != 1:
        raise UserError(
            f"{path}: 'visible' {visible.shape}, 'ground_plane' {plane.shape}, 'alpha' {alpha.shape}, 'fps' {fps.shape}; "
            f"{joints.shape[:2]}, (4,), () and () are expected beside joints {joints.shape}"
        )
    joints, plane, scale, rate = (
        joints[:, :, :NUM_JOINTS].astype(float),
        plane.reshape(4).astype(float),
        float(alpha.item()),
        float(fps.item()),
    )
    if not (are_places(joints).all() and np.isfinite(plane).all() and 0 < scale < np.inf and MIN_FPS <= rate <= MAX_FPS):
        raise UserError(
            f"{path}: what is true is finite: joints and plane without NaN, nearer than {MAX_COORDINATE:g} m, 'alpha' above 0 (it is "
            f"{scale:g}), 'fps' from {MIN_FPS:g} to {MAX_FPS:g} (it is {rate:g})"
        )
    return Truth(joints, visible.astype(bool), plane, scale, rate)
