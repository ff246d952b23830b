"""SLAHMR: `<name>_<iteration>_world_results.npz` of its stages, with `track_info.json` beside it or above (Ye et al., "Decoupling Human and
Camera Motion from Videos in the Wild", CVPR 2023).

In a folder the last iteration of `motion_chunks` is read, else of `smooth_fit`, `root_fit`, `init`. Frames: SLAHMR's own, from 0 where its
interval begins; rows where `track_mask` is false (0.5 or less), or where `track_info.json` says that the person was not visible, are
placeholders and count as not seen. Person ids: the tracker's in `track_info.json`, else the rows' numbers from 1. Camera: `cam_R`, `cam_t`
world to camera, scaled by `world_scale` already, the same for all people. Scale: metric. Up: the normal of `floor_plane`, near -y.
Intrinsics: `intrins`, fx, fy, cx, cy. Bodies: SMPL-H with `trans` as smplx's translation in the world; hands are left out, so 24 joints. No
keypoints (they are PHALP's), no depth maps, no masks. Frame rate: 30, at which SLAHMR takes frames from a video.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import camera_track, people_of, person_id
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "SLAHMR"
_STAGES = ("motion_chunks", "smooth_fit", "root_fit", "init")
FILES: tuple[str, ...] = (*(f"{stage}/*_world_results.npz" for stage in _STAGES), "*_world_results.npz")
BESIDE: tuple[str, ...] = ("track_info.json", "../track_info.json")
_VISIBLE = 1
_SAME_CAMERA = 1e-3


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of people and the cameras that see them."""
    return source.holds(source.file(*FILES), "root_orient", "pose_body", "cam_R", "cam_t")


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than SLAHMR writes."""
    file = source.existing(source.file(*FILES), NAME)
    fields = Fields(source.load(file), str(file))
    orient, transl = fields.array("root_orient", "B", "T", 3), fields.array("trans", "B", "T", 3)
    body, betas = fields.array("pose_body", "B", "T", 63), fields.array("betas", "B", None)
    num_people, num_frames = orient.shape[:2]
    pose = np.zeros((num_people, num_frames, 24, 3))
    pose[:, :, 0], pose[:, :, 1:22] = orient, body.reshape(num_people, num_frames, 21, 3)
    rotation, translation = fields.array("cam_R", None, "T", 3, 3), fields.array("cam_t", None, "T", 3)
    if max(np.ptp(rotation, axis=0).max(), np.ptp(translation, axis=0).max()) > _SAME_CAMERA:
        raise UserError(f"{file}: 'cam_R' and 'cam_t' differ between people; one camera for all is expected")
    fx, fy, cx, cy = fields.array("intrins", 4)
    intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    cameras = camera_track(f"{file}: 'cam_R, cam_t'", rotation[0], translation[0], intrinsics, inverted=False, fps=USUAL_FPS)
    ids, seen = _tracked(file, fields, num_people, num_frames, warnings)
    bodies = [
        BodyTrack(person, f"{file}: row {row}", rows, pose[row, rows], betas[row], transl[row, rows], None)
        for row, person in enumerate(ids)
        if len(rows := np.flatnonzero(seen[row]))
    ]
    scale = f" by world_scale {fields.number('world_scale'):.4g}" if "world_scale" in fields else ""
    warnings.append(f"{file}: SLAHMR's cameras are metric{scale}, so the scale starts at 1; it writes no keypoints, depth maps or masks")
    return UpstreamClip(
        cameras=cameras,
        tracks=Tracks(),
        camera_bodies={},
        world_bodies=people_of(bodies, cameras.frame_ids, str(file), warnings),
        alpha=1.0,
        up=_up(fields),
    )


def _up(fields: Fields) -> np.ndarray:
    """(3,) the floor's normal. `floor_plane` is normal times offset, which loses the sign: SLAHMR's world has y down."""
    plane = fields.array("floor_plane", None, 3)[0] if "floor_plane" in fields else np.zeros(3)
    length = np.linalg.norm(plane)
    if not np.isfinite(length) or abs(plane[1]) <= 0.5 * length or length == 0:
        return np.array([0.0, -1.0, 0.0])
    up: np.ndarray = -plane / length * np.sign(plane[1])
    return up


def _tracked(file: Path, fields: Fields, num_people: int, num_frames: int, warnings: list[str]) -> tuple[list[int], np.ndarray]:
    """The ids of the rows, and (B, T) bool where each was seen."""
    shape = num_people, num_frames
    seen = fields.array("track_mask", *shape) > 0.5 if "track_mask" in fields else np.ones(shape, bool)
    about = next((path for folder in file.parents[:3] if (path := folder / "track_info.json").is_file()), None)
    if about is None:
        warnings.append(f"{file}: no track_info.json beside or above it; people are numbered from 1 in the order of the rows")
        return list(range(1, num_people + 1)), seen
    tracks = Fields(read_json(about), str(about)).within("tracks")
    ids = dict.fromkeys(range(num_people), -1)
    for key in tracks.content:
        track = tracks.within(key)
        row = int(track.number("index"))
        if row not in ids:
            raise UserError(f"{about}: track {key} has index {row}; {file.name} has {num_people} people; are they of one run?")
        ids[row] = person_id(key, str(about))
        visible = track.array("vis_mask") if "vis_mask" in track else np.zeros(0)
        if visible.shape == (num_frames,):
            seen[row] &= visible == _VISIBLE
    if nameless := [row for row, person in ids.items() if person < 0]:
        raise UserError(f"{about}: names no track for the rows {nameless} of {file.name}; are they of one run?")
    return list(ids.values()), seen
