"""The cameras of a folder of stage 1, or of the result of any tool of `refinement.formats`, beside the people of another.

Convention, intrinsics and depth are as the reader of that folder or tool has them; in metres where the tool's are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.formats import read_upstream, recognize
from pose_priors.refinement.formats.camera_files.poses import CameraFile, of_image
from pose_priors.refinement.formats.cameras import CameraTrack, read_cameras
from pose_priors.refinement.formats.clip import DepthSource
from pose_priors.refinement.formats.depth import DepthMaps
from pose_priors.refinement.formats.source import Source

NAME = "stage 1 or of another tool's result"


def detect(source: Source) -> bool:
    """Whether it is a folder with a `cameras.npz`, such a file, or what a tool wrote."""
    return _stage1(source) is not None or recognize(source.path) is not None


def read(source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras. Raises `UserError` as the reader of the folder or tool does."""
    folder = _stage1(source)
    if folder is not None:
        cameras = read_cameras(folder, warnings)
        depth: DepthSource = DepthMaps(folder, cameras.frame_ids, warnings)
        return _file(cameras, image_size, depth, None, NAME)
    told: list[str] = []
    clip = read_upstream(source.path, told)
    tool = recognize(source.path) or NAME
    if clip.alpha is not None and (clip.cameras.w2c == np.eye(4)).all():
        raise UserError(f"{source.path}: {tool} knows no camera, or one that stands still; {told[0] if told else 'give another'}")
    return _file(clip.cameras, image_size, clip.depth, clip.alpha, tool)


def _stage1(source: Source) -> Path | None:
    if source.path.is_file():
        return source.path.parent if source.path.name == "cameras.npz" else None
    return next((folder for folder in (source.path, source.path / STAGES[1]) if (folder / "cameras.npz").is_file()), None)


def _file(cameras: CameraTrack, image_size: tuple[int, int], depth: DepthSource, alpha: float | None, tool: str) -> CameraFile:
    return CameraFile(
        tool=tool,
        source=cameras.source,
        frames=cameras.frame_ids,
        w2c=cameras.w2c,
        intrinsics=of_image(cameras.intrinsics, cameras.image_size, image_size, cameras.source),
        unit="metres" if alpha == 1 else "free",
        depth=depth,
        counted=not cameras.numbered,
    )
