"""How a clip is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.refinement.given.people import PersonSelection
from pose_priors.refinement.given.problem import FloorMethod


@dataclass(frozen=True)
class LoadOptions:
    """What can be said of a clip beside its files.

    Attributes:
        fps: frames a second; None for what the files say, else `formats.cameras.USUAL_FPS`.
        body_model: file or folder in smplx's format; None for the skeletons that the bodies show.
        ground_plane_init: how the floor is found, see `floor.ground_plane`.
        keypoint_dropout: share of the keypoints of each person and frame that is dropped, drawn from `seed`, to see how much rests on them.
        seed: of the dropout and of RANSAC.
        max_frames: only the first so many frames are used; None for all.
        who: who is refined.
        gravity: a file that says which way is up, see `formats.witnesses.gravity`; None to find it.
        cameras: a file or folder of cameras, and perhaps depth, in the place of the tool's own, see `formats.camera_files`.
        contacts: a file or folder that says when feet touch, see `formats.witnesses.foot_contacts`; None for how they move alone.
    Raises:
        UserError: if `max_frames` is below 1, or `keypoint_dropout` not between 0 and 1.
    """

    fps: float | None = None
    body_model: Path | None = None
    ground_plane_init: FloorMethod = "median"
    keypoint_dropout: float = 0.0
    seed: int = 0
    max_frames: int | None = None
    who: PersonSelection = field(default_factory=PersonSelection)
    gravity: Path | None = None
    cameras: Path | None = None
    contacts: Path | None = None

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise UserError(f"max_frames is {self.max_frames}; at least 1 is expected, or None for all frames")
        if not 0 <= self.keypoint_dropout < 1:
            raise UserError(f"keypoint_dropout is {self.keypoint_dropout}; a share of at least 0 and below 1 is expected")
