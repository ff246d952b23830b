"""What every upstream tool's files are turned into: the cameras, people and observations of one clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.tracks import Tracks


class DepthSource(Protocol):
    """Depth maps, read one frame at a time."""

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth (h, w) in the cameras' unit, nan where there is none, and its weight (h, w) in [0, 1]; None if the frame has no map."""

    def close(self) -> None:
        """Says which maps could not be read."""


class MaskSource(Protocol):
    """Person masks, read one at a time."""

    def decode(self, people: Iterable[int], frames: Iterable[int]) -> None:
        """Begins with those that will be asked for, frame after frame; `close` ends it."""

    def read(self, person: int, frame: int) -> np.ndarray | None:
        """(h, w) bool, true on the person; None where there is no mask."""

    def close(self) -> None:
        """Says which masks could not be read."""


class NoPictures:
    """The depth maps, or the masks, of a tool that writes none."""

    def decode(self, *_: Iterable[int]) -> None:
        """There is nothing to begin with."""

    def read(self, *_: int) -> None:
        """None, whatever is asked for."""

    def close(self) -> None:
        """Nothing was missing."""


@dataclass(frozen=True)
class UpstreamClip:
    """One clip as an upstream tool left it: small things in memory, pictures to be read frame by frame.

    Attributes:
        cameras: one for each frame.
        tracks: boxes and keypoints.
        camera_bodies: people by id, ascending, in the axes of each frame's camera, metric; empty where there are world bodies alone.
        depth: depth maps, in the cameras' unit.
        cloud: (N, 3) points of the scene in the cameras' world and unit; N may be 0.
        masks: of the people.
        world_bodies: people by id in the cameras' world, metric; may be empty where there are camera bodies.
        alpha: metric = alpha * the cameras' unit, where the tool says; None where bodies, depth and floor must tell.
        up: (3,) unit vector, which way is up in the world, where the tool says; None where the people must tell.
    """

    cameras: CameraTrack
    tracks: Tracks
    camera_bodies: dict[int, BodyTrack]
    depth: DepthSource = field(default_factory=NoPictures)
    cloud: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    masks: MaskSource = field(default_factory=NoPictures)
    world_bodies: dict[int, BodyTrack] = field(default_factory=dict)
    alpha: float | None = None
    up: np.ndarray | None = None

    def first(self, num_frames: int | None) -> UpstreamClip:
        """The first frames alone, and the people who are seen on them."""
        cameras = self.cameras.first(num_frames)
        camera, world = (_within(bodies, cameras.frame_ids) for bodies in (self.camera_bodies, self.world_bodies))
        return replace(self, cameras=cameras, camera_bodies=camera, world_bodies=world)


def _within(bodies: dict[int, BodyTrack], frame_ids: np.ndarray) -> dict[int, BodyTrack]:
    cut = {person: body.rows(np.isin(body.frames, frame_ids)) for person, body in bodies.items()}
    return {person: body for person, body in cut.items() if len(body.frames)}
