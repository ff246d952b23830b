"""PromptHMR-Vid: `results.pkl` (joblib) (Wang et al., "PromptHMR", CVPR 2025).

Frames: `frames` of each person, numbers of the video's frames from 0. Person ids: the keys of `people`. Camera: `Rcw`, `Tcw` of
`camera_world`, world to camera; `Twc` and `pred_cam_R`, `pred_cam_T` beside them are out of date once PromptHMR's own optimisation has run,
and are not read. Scale: metric. Up: y. Intrinsics: `img_focal`, `img_center`. Bodies: SMPL-X, `smplx_world`, smplx's translation in the
world. Its hands are never articulated, so 22 joints. A file from before the step into the world has `smplx_cam` and `camera` (camera to
world) alone, which are read then. Keypoints: `keypoints_2d`, OpenPose's 25 and more; boxes: `bboxes`, corners. No depth maps, no frame
rate; masks are left, without depth they say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pose_priors.refinement.formats.assembly import (
    camera_track,
    intrinsics_of,
    is_nobodys,
    left_out,
    people_of,
    person_id,
    tell_nobodys,
    usual_betas,
)
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Fields, Source, rotvecs
from pose_priors.refinement.formats.tracks import Tracks

NAME = "PromptHMR"
FILES: tuple[str, ...] = ("results.pkl",)
BESIDE: tuple[str, ...] = ()
_NUM_BODY, _OPENPOSE = 22, 25
_UP = np.array([0.0, 1.0, 0.0])


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of cameras and people of PromptHMR's."""
    return source.holds(source.file(*FILES), "people", "camera")


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than PromptHMR writes."""
    file = source.existing(source.file(*FILES), NAME)
    fields = Fields(source.load(file), str(file))
    people = fields.within("people")
    about_each = [about for about in people.content.values() if isinstance(about, Mapping)]
    in_world = "camera_world" in fields and all("smplx_world" in about or "smplx_cam" not in about for about in about_each)
    cameras = _cameras(fields, in_world)
    tracks, bodies = Tracks(), []
    tell_nobodys(sum(map(is_nobodys, people.content)), file, warnings)
    for key in [key for key in people.content if not is_nobodys(key)]:
        with left_out(key, warnings):
            person, about = person_id(key, people.source), people.within(key)
            frames = about.whole("frames", "n")
            smplx = about.within("smplx_world" if in_world else "smplx_cam")
            smplx.sizes["n"] = len(frames)
            transl = smplx.array("trans", "n", 3)
            betas = usual_betas(smplx.array("shape", "n", None))
            bodies.append(BodyTrack(person, smplx.source, frames, _pose(smplx), betas, transl, None))
            with left_out(key, warnings, "what was seen"):
                _observe(about, person, frames, tracks)
    if not tracks.keypoints:
        warnings.append(f"{file}: no 'keypoints_2d' (PromptHMR drops them on request); people stay near its result")
    where = "world" if in_world else "camera alone ('camera_world' or 'smplx_world' is missing)"
    warnings.append(
        f"{file}: PromptHMR's cameras are metric, so the scale starts at 1; people are read in the {where}; it writes no depth maps"
    )
    known = people_of(bodies, cameras.frame_ids, str(file), warnings)
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies={} if in_world else known,
        world_bodies=known if in_world else {},
        alpha=1.0,
        up=_UP if in_world else None,
    )


def _cameras(fields: Fields, in_world: bool) -> CameraTrack:
    camera = fields.within("camera_world" if in_world else "camera")
    names = ("Rcw", "Tcw") if in_world else ("pred_cam_R", "pred_cam_T")
    rotation, translation = camera.array(names[0], "T", 3, 3), camera.array(names[1], "T", 3)
    intrinsics = intrinsics_of(camera.number("img_focal"), camera.array("img_center", 2))
    return camera_track(f"{camera.source}: {', '.join(names)}", rotation, translation, intrinsics, inverted=not in_world)


def _pose(smplx: Fields) -> np.ndarray:
    """(n, 22, 3)."""
    if "pose" not in smplx:
        return rotvecs(smplx.array("rotmat", "n", 55, 3, 3)[:, :_NUM_BODY], smplx.source)
    pose = smplx.array("pose", "n", None)
    if pose.shape[1] not in (75, 165):
        smplx.array("pose", "n", 165)
    return pose[:, : 3 * _NUM_BODY].reshape(-1, _NUM_BODY, 3)


def _observe(about: Fields, person: int, frames: np.ndarray, tracks: Tracks) -> None:
    if "bboxes" in about:
        boxes = about.array("bboxes", "n", None)[:, :4]
        tracks.boxes[person] = {frame: box for frame, box in zip(frames.tolist(), boxes, strict=True) if np.isfinite(box).all()}
    if "keypoints_2d" in about:
        points = about.array("keypoints_2d", "n", None, 3)
        if points.shape[1] < _OPENPOSE:
            about.array("keypoints_2d", "n", _OPENPOSE, 3)
        for frame, row in zip(frames.tolist(), points[:, :_OPENPOSE], strict=True):
            tracks.add_keypoints(person, frame, row, "openpose25", about.source)
