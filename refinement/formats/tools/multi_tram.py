"""Multi-TRAM: the stage folders of a sequence, as its documentation shows them and as its released code writes them.

Frames: numbered as the cameras' `frame_ids`, else from 0. Person ids: the tracker's, in the folders' names. Camera: stage 1, world to
camera, in a unit of its own that bodies, depth and floor turn into metres. Up: read off the people. Bodies: SMPL or SMPL-X, camera axes
(stage 3) and world (stage 4, used where it fits). Keypoints, boxes, masks and depth maps as far as they are there. The files are described
in `docs/refinement.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.formats.bodies import BodyTrack, read_bodies
from pose_priors.refinement.formats.cameras import read_cameras
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.depth import DepthMaps
from pose_priors.refinement.formats.files import existing_folder
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.numbering import matched
from pose_priors.refinement.formats.point_cloud import read_points
from pose_priors.refinement.formats.source import Source
from pose_priors.refinement.formats.tracks import read_tracks

NAME = "Multi-TRAM"
FILES: tuple[str, ...] = ()
BESIDE: tuple[str, ...] = tuple(f"{name}/**/*" for name in STAGES.values())


def detect(source: Source) -> bool:
    """Whether it is a folder with that of a stage in it."""
    return source.path.is_dir() and any((source.path / name).is_dir() for name in STAGES.values())


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the stage folders below a sequence's folder. Raises `UserError` as `read_clip` does."""
    cameras, tracking, bodies, world = (source.path / STAGES[stage] for stage in (1, 2, 3, 4))
    return read_clip(cameras, tracking, bodies, world if world.is_dir() else None, None, warnings)


def read_clip(
    stage1_dir: Path, stage2_dir: Path, stage3_dir: Path, stage4_dir: Path | None, max_frames: int | None, warnings: list[str]
) -> UpstreamClip:
    """Reads the stage folders of one clip, the first `max_frames` frames of it.

    Faults that can be mended are, with a line in `warnings`: a person, a frame or a picture that cannot be read is left out.

    Raises:
        UserError: if a folder, file or key is missing that nothing can replace, or no person is left.
    """
    faults: list[str] = []
    existing_folder(stage3_dir, "pose estimation (stage 3)")
    cameras, shifts = matched(read_cameras(stage1_dir, warnings), stage1_dir, stage2_dir, stage3_dir, warnings)
    bodies, rows = read_bodies(stage3_dir, "camera", cameras.frame_ids, faults, {}, shifts.bodies)
    if not bodies:
        raise UserError(f"{stage3_dir}: no person could be read; {faults[0] if faults else 'there are no folders person_<id>'}")
    warnings += faults
    world: dict[int, BodyTrack] = {}
    if stage4_dir is not None:
        existing_folder(stage4_dir, "world space (stage 4)")
        # stage 4 is stage 3 in other axes, faults included: what it lacks is rebuilt from there, so only lost people are news
        world, _ = read_bodies(stage4_dir, "world", cameras.frame_ids, faults := [], rows, shifts.bodies)
        warnings += [line for line in faults if line.startswith("person")]
    tracks = read_tracks(stage2_dir, cameras.frame_ids, cameras.image_size, warnings, shifts.tracks)
    depth = DepthMaps(stage1_dir, cameras.frame_ids, warnings, shifts.depth)
    whole = UpstreamClip(
        cameras=cameras,
        depth=depth,
        cloud=_cloud(stage1_dir, warnings),
        tracks=tracks,
        masks=Masks(stage2_dir, warnings, shifts.masks),
        camera_bodies=bodies,
        world_bodies=world,
    )
    return whole.first(max_frames)


def _cloud(stage1_dir: Path, warnings: list[str]) -> np.ndarray:
    path = stage1_dir / "point_cloud.ply"
    if path.is_file():
        try:
            return read_points(path)
        except UserError as error:
            warnings.append(f"{error}; the floor is found without it")
    return np.zeros((0, 3))
