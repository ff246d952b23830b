"""TRAM: a folder with `camera.npy`, `tracks.npy` and `hps/hps_track_<k>.npy` (Wang et al., "TRAM", ECCV 2024); of its first release
`masked_droid_slam.npz` in place of the first and `hps/vimo_track_<k>.npy` in that of the last.

Frames: the images' numbers from 0; segments that TRAM did not detect have no rows. Person ids: the keys of `tracks.npy`; k counts tracks by
falling length and is no id; in the first release it left out those of whom there is no segment of 16 frames. Camera: `pred_cam_R`,
`pred_cam_T` camera to world, in the axes of the first camera; where the file has `world_cam_R`, `world_cam_T`, those, which are the same in
a world with y up; in the first release `traj` (T, 7), x, y, z times `scale` and a quaternion x, y, z, w. Scale: metric. Intrinsics:
`img_focal`, `img_center`. Bodies: SMPL, 24 rotation matrices and smplx's translation in the camera's axes. Boxes: the detections of
`tracks.npy`. There are no keypoints, no depth maps and no frame rate, and the masks are of all people together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import camera_track, intrinsics_of, left_out, people_of, person_id, usual_betas
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack, from_quaternions
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.files import numbered_files
from pose_priors.refinement.formats.source import Fields, Source, described, rotvecs
from pose_priors.refinement.formats.tracks import Tracks

NAME = "TRAM"
_FIRST_RELEASE = "masked_droid_slam.npz"
FILES: tuple[str, ...] = ("camera.npy", _FIRST_RELEASE)
BESIDE: tuple[str, ...] = ("tracks.npy", "hps/hps_track_*.npy", "hps/vimo_track_*.npy")
_PEOPLE = ("hps_track_", "vimo_track_")
_UP = np.array([0.0, 1.0, 0.0])
_SHORTEST = 16  # frames one after the other without which TRAM reconstructs nobody


def detect(source: Source) -> bool:
    """Whether it is a folder with cameras and people of TRAM's."""
    return source.path.is_dir() and any((source.path / name).is_file() for name in FILES) and (source.path / "hps").is_dir()


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the folder. Raises `UserError` if a file is missing or holds something else than TRAM writes."""
    file = source.path / "camera.npy"
    first_release = not file.is_file()
    cameras, level = _first_cameras(source, source.path / _FIRST_RELEASE) if first_release else _cameras(source, file)
    ids, tracks = _tracked(source, warnings)
    if ids is not None and first_release:
        ids = [person for person in ids if _reconstructed(sorted(tracks.boxes.get(person, {})))]
    # of a folder in which both releases ran, the people of the one whose cameras are read
    named = _PEOPLE[::-1] if first_release else _PEOPLE
    files = next(filter(None, (numbered_files(source.path / "hps", (".npy",), prefix) for prefix in named)), {})
    if not files:
        raise UserError(f"{source.path / 'hps'}: no hps_track_<k>.npy in it")
    bodies = []
    for k, path in files.items():
        with left_out(_id_of(k, ids), warnings):
            bodies.append(_body(source, path, _id_of(k, ids)))
    warnings.append(
        f"{file}: TRAM's cameras are metric, so the scale starts at 1; it writes no depth maps, keypoints or masks of single people"
    )
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies=people_of(bodies, cameras.frame_ids, str(source.path), warnings),
        alpha=1.0,
        up=_UP if level else None,
    )


def _cameras(source: Source, file: Path) -> tuple[CameraTrack, bool]:
    """The cameras, and whether their world has y up."""
    fields = Fields(source.load(file), str(file))
    level = "world_cam_R" in fields
    names = ("world_cam_R", "world_cam_T") if level else ("pred_cam_R", "pred_cam_T")
    rotation, translation = fields.array(names[0], "T", 3, 3), fields.array(names[1], "T", 3)
    intrinsics = intrinsics_of(fields.number("img_focal"), fields.array("img_center", 2))
    return camera_track(f"{file}: '{', '.join(names)}'", rotation, translation, intrinsics, inverted=True), level


def _first_cameras(source: Source, file: Path) -> tuple[CameraTrack, bool]:
    """Those of the first release, and that their world is the first camera's."""
    fields = Fields(source.load(file), str(file))
    if "scale" not in fields:
        raise UserError(f"{file}: no 'scale'; TRAM adds it last, so it has not come to its end: run scripts/slam_video.py of it again")
    path, scale = from_quaternions(fields.array("traj", "T", 7), f"{file}: 'traj'"), fields.number("scale")
    intrinsics = intrinsics_of(fields.number("img_focal"), fields.array("img_center", 2))
    return camera_track(f"{file}: 'traj'", path[:, :3, :3], scale * path[:, :3, 3], intrinsics, inverted=True), False


def _reconstructed(frames: list[int]) -> bool:
    """Whether someone detected on these frames has a segment that TRAM reconstructs."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1)
    return max(len(run) for run in runs) >= _SHORTEST


def _tracked(source: Source, warnings: list[str]) -> tuple[list[int] | None, Tracks]:
    """The tracker's ids by TRAM's rank, and the boxes of those on whom they were detected."""
    file, tracks = source.path / "tracks.npy", Tracks()
    if not file.is_file():
        warnings.append(f"{file}: no such file; people are named by TRAM's rank, and there are no boxes")
        return None, tracks
    content = source.load(file)
    if not isinstance(content, Mapping) or not all(isinstance(rows, list) for rows in content.values()):
        raise UserError(f"{file}: holds {described(content)}; a dict of lists, one for each person, is expected")
    ids = [person_id(key, str(file)) for key in content]
    for person, rows in zip(ids, content.values(), strict=True):
        with left_out(person, warnings, "what was seen"):
            found = (_box(row, f"{file}: person {person}") for row in rows)
            tracks.boxes[person] = dict(box for box in found if box is not None)
    # TRAM's own order: equal lengths stand as numpy's sort leaves them
    return [ids[rank] for rank in np.argsort([len(rows) for rows in content.values()])[::-1]], tracks


def _box(row: Any, source: str) -> tuple[int, np.ndarray] | None:
    """Frame and corners of a row of a track, None where the person was not detected there."""
    if not isinstance(row, Mapping) or row.get("frame") is None or row.get("det_box") is None:
        return None
    fields = Fields(row, source)
    if "det" in fields and not fields.array("det").any():
        return None
    box = fields.array("det_box").reshape(-1)
    return (int(fields.number("frame")), box[:4]) if len(box) >= 4 and np.isfinite(box[:4]).all() else None


def _id_of(rank: int, ids: list[int] | None) -> int:
    if ids is None:
        return rank
    if rank >= len(ids):
        raise UserError(f"hps/*_track_{rank}.npy: tracks.npy has only {len(ids)} people that TRAM reconstructs; are they of one run?")
    return ids[rank]


def _body(source: Source, path: Path, person: int) -> BodyTrack:
    fields = Fields(source.load(path), str(path))
    frames = fields.whole("frame", "n")
    pose = rotvecs(fields.array("pred_rotmat", "n", 24, 3, 3), f"{path}: 'pred_rotmat'")
    transl = fields.array("pred_trans", "n", 1, 3)[:, 0] if fields.array("pred_trans").ndim == 3 else fields.array("pred_trans", "n", 3)
    return BodyTrack(person, str(path), frames, pose, usual_betas(fields.array("pred_shape", "n", None)), transl, None)
