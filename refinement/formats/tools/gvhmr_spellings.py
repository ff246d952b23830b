"""GVHMR's result as others write it: ComfyUI-MotionCapture's `smpl_params*.npz`, the PyPI package's `save_npz`, GEM-SMPL's (GENMO's)
`smpl_params.pt`.

All three are turned into GVHMR's own names, and read as those are: one person, 1, SMPL-X without hands, y up, `slam_results.pt` beside as
the camera's path. ComfyUI's `t_cam2world` leaves the pelvis' offset out and is not read: the camera is what the two readings of the person
differ by. Where a file has no intrinsics (ComfyUI's of a still camera), the focal length is GVHMR's own guess, the image's diagonal, and
the image is taken to be of 1920 x 1080 pixels. Boxes: `bbx_xys`, centre and size; keypoints: `kp2d`, COCO's 17;
where the file has none, those of `bbx.pt` and `vitpose.pt`, as GVHMR's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import intrinsics_of
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tools import gvhmr
from pose_priors.refinement.formats.tracks import Tracks

NAME = "GVHMR (ComfyUI, PyPI, GEM-SMPL)"
FILES: tuple[str, ...] = ("smpl_params*.npz", "smpl_params*.pt", "*.npz")
BESIDE: tuple[str, ...] = gvhmr.BESIDE
_PARTS = ("body_pose", "betas", "global_orient", "transl")
_OWN = (("global_orient_incam", "body_pose"), ("camera_global_orient",), ("body_params_incam",))
_USUAL_SIZE = (1920, 1080)


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of one person in the camera and in the world, by any of the three spellings."""
    file = source.file(*FILES)
    return any(source.holds(file, *keys) for keys in _OWN)


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than is said above."""
    file = source.existing(source.file(*FILES), NAME)
    fields = Fields(source.load(file), str(file))
    content = _as_gvhmr(fields)
    num = len(np.atleast_1d(Fields(content["smpl_params_incam"], str(file)).array("transl")))
    if content.get("K_fullimg") is None:
        width, height = _USUAL_SIZE
        if "img_width" in fields:
            width, height = (int(fields.array(name).reshape(-1)[0]) for name in ("img_width", "img_height"))
        focal = float(np.hypot(width, height))
        content["K_fullimg"] = np.tile(intrinsics_of(focal, np.array([width, height]) / 2), (num, 1, 1))
        warnings.append(f"{file}: no intrinsics; GVHMR's guess, a focal length of {focal:.0f} px at {width} x {height}, is taken")
    intrinsics = Fields({"K": content["K_fullimg"]}, str(file)).array("K")
    content["K_fullimg"] = np.broadcast_to(intrinsics, (num, 3, 3)) if intrinsics.shape in ((3, 3), (1, 3, 3)) else intrinsics
    fps = float(fields.array("fps").reshape(-1)[0]) if "fps" in fields else USUAL_FPS
    if not 0 < fps < 1000:
        raise UserError(f"{file}: 'fps' is {fps:g}; frames a second are expected")
    return gvhmr.clip_of(source, file, Fields(content, str(file)), warnings, partial(_observed, fields), fps)


def _as_gvhmr(fields: Fields) -> dict[str, Any]:
    """The content under GVHMR's own names."""
    intrinsics = next((fields.raw(name) for name in ("K_fullimg", "intrinsics") if name in fields), None)
    if "body_params_incam" in fields:
        camera, world = fields.within("body_params_incam").content, fields.within("body_params_global").content
    elif "camera_global_orient" in fields:
        camera, world = ({name: fields.raw(f"{where}_{name}") for name in _PARTS} for where in ("camera", "world"))
    else:
        world = {name: fields.raw(name) for name in _PARTS}
        camera = {**world, "global_orient": fields.raw("global_orient_incam"), "transl": fields.raw("transl_incam")}
    parts: Mapping[str, Any] = {"smpl_params_incam": camera, "smpl_params_global": world, "K_fullimg": intrinsics}
    return dict(parts)


def _observed(fields: Fields, source: Source, num: int, warnings: list[str]) -> Tracks:
    """Keypoints and boxes of the file itself, and what of them it has not of the files beside."""
    tracks = Tracks() if "kp2d" in fields else gvhmr.seen_beside(source, num, warnings)
    if "kp2d" in fields:
        for frame, row in enumerate(fields.array("kp2d", num, 17, 3)):
            tracks.add_keypoints(gvhmr.PERSON, frame, row, "coco17", fields.source)
    if "bbx_xys" in fields:
        boxes = fields.array("bbx_xys", num, 3)
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        tracks.boxes[gvhmr.PERSON] = {frame: box for frame, box in enumerate(corners) if np.isfinite(box).all()}
    return tracks
