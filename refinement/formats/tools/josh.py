"""JOSH: a folder with `josh/scene.pkl` and `josh/hps_track_<id>.npy` (Liu et al., "JOSH: Joint Optimization for 4D Human-Scene
Reconstruction in the Wild", ICLR 2026).

Frames: those of `pred_cam`, from 0. Person ids: the numbers in the files' names, which are the tracker's (TRAM's are ranks). Camera:
`pred_cam`, camera to world; intrinsics: `intrinsics`, whose principal point is the middle of the image that they are of. Scale: metric.
Up: read off the people. Bodies: SMPL, 24 rotation matrices and smplx's translation in the camera's axes. Boxes: `boxes`, corners. Depth
maps: `depth_hw`, of the key frames `img_idx` alone. No keypoints, no frame rate, no masks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import camera_track, left_out, people_of, usual_betas
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import DepthSource, NoPictures, UpstreamClip
from pose_priors.refinement.formats.depth_arrays import DepthArrays
from pose_priors.refinement.formats.files import numbered_files
from pose_priors.refinement.formats.source import Fields, Source, rotvecs
from pose_priors.refinement.formats.tracks import Tracks

NAME = "JOSH"
FILES: tuple[str, ...] = ("josh/scene.pkl", "scene.pkl")
BESIDE: tuple[str, ...] = ("josh/hps_track_*.npy", "hps_track_*.npy")


def detect(source: Source) -> bool:
    """Whether it is a folder with a scene and people of JOSH's."""
    return source.path.is_dir() and source.holds(source.file(*FILES), "pred_cam", "depth_hw", "img_idx")


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the folder. Raises `UserError` if a file is missing or holds something else than JOSH writes."""
    file = source.existing(source.file(*FILES), NAME)
    fields = Fields(source.load(file), str(file))
    poses, intrinsics = fields.array("pred_cam", "T", 4, 4), fields.array("intrinsics")
    if intrinsics.shape not in ((3, 3), (len(poses), 3, 3)):
        raise UserError(f"{file}: 'intrinsics' has shape {intrinsics.shape}; (3, 3) is expected")
    cameras = camera_track(f"{file}: 'pred_cam'", poses[:, :3, :3], poses[:, :3, 3], intrinsics, inverted=True)
    files = numbered_files(file.parent, (".npy",), "hps_track_")
    if not files:
        raise UserError(f"{file.parent}: no hps_track_<id>.npy beside {file.name}")
    bodies, tracks = [], Tracks()
    for person, path in files.items():
        with left_out(person, warnings):
            bodies.append(_body(source, path, person, tracks))
    warnings.append(f"{file}: JOSH's cameras are metric, so the scale starts at 1; depth maps are of its key frames alone; no keypoints")
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies=people_of(bodies, cameras.frame_ids, str(file.parent), warnings),
        depth=_depth(fields, len(poses)),
        alpha=1.0,
    )


def _body(source: Source, path: Path, person: int, tracks: Tracks) -> BodyTrack:
    fields = Fields(source.load(path), str(path))
    frames = fields.whole("frame", "n")
    pose = rotvecs(fields.array("pred_rotmat", "n", 24, 3, 3), f"{path}: 'pred_rotmat'")
    transl = fields.array("pred_trans", "n", 1, 3)[:, 0] if fields.array("pred_trans").ndim == 3 else fields.array("pred_trans", "n", 3)
    if "boxes" in fields:
        boxes = fields.array("boxes", "n", None)[:, :4]
        tracks.boxes[person] = {frame: box for frame, box in zip(frames.tolist(), boxes, strict=True) if np.isfinite(box).all()}
    return BodyTrack(person, str(path), frames, pose, usual_betas(fields.array("pred_shape", "n", None)), transl, None)


def _depth(fields: Fields, num_frames: int) -> DepthSource:
    if not np.size(fields.raw("img_idx")):
        return NoPictures()
    frames = fields.whole("img_idx", "k")
    maps = fields.array("depth_hw", "k", None, None)
    if frames.max() >= num_frames:
        raise UserError(f"{fields.source}: 'img_idx' runs to {frames.max()}; there are {num_frames} cameras")
    weights = fields.array("conf_hw", *maps.shape) if "conf_hw" in fields else None
    by_frame = [None if values is None else dict(zip(frames.tolist(), values, strict=True)) for values in (maps, weights)]
    return DepthArrays(by_frame[0] or {}, by_frame[1])
