"""The stage folders of Multi-TRAM, as its documentation shows them and as its released code writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.base import UserError
from refinement.formats.bodies import BodyTrack, read_bodies
from refinement.formats.cameras import CameraTrack, read_cameras
from refinement.formats.depth import DepthMaps
from refinement.formats.files import existing_folder
from refinement.formats.masks import Masks
from refinement.formats.point_cloud import read_points
from refinement.formats.tracks import Tracks, read_tracks


@dataclass(frozen=True)
class Recording:
    """One clip as the upstream stages left it: small things in memory, pictures to be read frame by frame.

    Attributes:
        cameras: of stage 1.
        depth: depth maps of stage 1.
        cloud: (N, 3) points of the scene in the stage 1 world and unit; N may be 0.
        tracks: boxes and keypoints of stage 2.
        masks: of stage 2.
        camera_bodies: people of stage 3 by id, ascending, in the axes of each frame's camera, metric.
        world_bodies: people of stage 4 by id, in its world; empty where there is no stage 4.
    """

    cameras: CameraTrack
    depth: DepthMaps
    cloud: np.ndarray
    tracks: Tracks
    masks: Masks
    camera_bodies: dict[int, BodyTrack]
    world_bodies: dict[int, BodyTrack]


def read_recording(
    stage1_dir: Path, stage2_dir: Path, stage3_dir: Path, stage4_dir: Path | None, max_frames: int | None, warnings: list[str]
) -> Recording:
    """Reads the stage folders of one clip, the first `max_frames` frames of it.

    Faults that can be mended are, with a line in `warnings`: a person, a frame or a picture that cannot be read is left out.

    Raises:
        UserError: if a folder, file or key is missing that nothing can replace, or no person is left.
    """
    cameras = read_cameras(stage1_dir, warnings)
    faults: list[str] = []
    existing_folder(stage3_dir, "pose estimation (stage 3)")
    bodies, rows = read_bodies(stage3_dir, "camera", cameras.frame_ids, faults, {})
    if not bodies:
        raise UserError(f"{stage3_dir}: no person could be read; {faults[0] if faults else 'there are no folders person_<id>'}")
    warnings += faults
    world: dict[int, BodyTrack] = {}
    if stage4_dir is not None:
        existing_folder(stage4_dir, "world space (stage 4)")
        # stage 4 is stage 3 in other axes, faults included: what it lacks is rebuilt from there, so only lost people are news
        world, _ = read_bodies(stage4_dir, "world", cameras.frame_ids, faults := [], rows)
        warnings += [line for line in faults if line.startswith("person")]
    tracks = read_tracks(stage2_dir, cameras.frame_ids, cameras.image_size, warnings)
    depth = DepthMaps(stage1_dir, cameras.frame_ids, warnings)
    cameras = cameras.first(max_frames)
    return Recording(
        cameras=cameras,
        depth=depth,
        cloud=_cloud(stage1_dir, warnings),
        tracks=tracks,
        masks=Masks(stage2_dir, warnings),
        camera_bodies=_within(bodies, cameras.frame_ids),
        world_bodies=_within(world, cameras.frame_ids),
    )


def _within(bodies: dict[int, BodyTrack], frame_ids: np.ndarray) -> dict[int, BodyTrack]:
    """The people who are seen on these frames, and their rows there."""
    cut = {person: body.rows(np.isin(body.frames, frame_ids)) for person, body in bodies.items()}
    return {person: body for person, body in cut.items() if len(body.frames)}


def _cloud(stage1_dir: Path, warnings: list[str]) -> np.ndarray:
    path = stage1_dir / "point_cloud.ply"
    if path.is_file():
        try:
            return read_points(path)
        except UserError as error:
            warnings.append(f"{error}; the floor is found without it")
    return np.zeros((0, 3))
