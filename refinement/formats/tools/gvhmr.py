"""GVHMR: `hmr4d_results.pt`, with `bbx.pt`, `vitpose.pt` and `slam_results.pt` beside it or in `preprocess/` (Shen et al., "World-Grounded
Human Motion Recovery via Gravity-View Coordinates", SIGGRAPH Asia 2024).

Frames: all of the video, from 0, at the 30 frames a second that GVHMR brings it to. Person ids: one person, 1. Camera: none in the file;
`slam_results.pt` holds its path, camera to world as x, y, z and a quaternion x, y, z, w (DPVO), of unknown unit, or world to camera as
matrices (its own odometry), whose rotations alone mean anything; without it the camera is what `smpl_params_incam` and
`smpl_params_global` differ by. Scale: bodies are metric. Up: y, the world is that of `smpl_params_global`. Intrinsics: `K_fullimg`, whose
principal point is the middle of the image. Bodies: SMPL-X without hands (22 joints), smplx's translation in the camera's axes. Keypoints:
`vitpose.pt`, COCO's 17; boxes: `bbx.pt`, corners. No depth maps, no masks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import camera_track, people_of, usual_betas
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT, BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS, path_of, rigid
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.readings import Reading, cameras_from_odometry, cameras_from_readings
from pose_priors.refinement.formats.source import Fields, Source, described
from pose_priors.refinement.formats.tracks import Tracks

NAME = "GVHMR"
FILES: tuple[str, ...] = ("hmr4d_results.pt",)
BESIDE: tuple[str, ...] = tuple(f"{folder}{name}.pt" for folder in ("", "preprocess/") for name in ("vitpose", "bbx", "slam_results"))
PERSON = 1
"""The id of GVHMR's one person."""
_UP = np.array([0.0, 1.0, 0.0])


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of the people of one camera and the world that GVHMR writes."""
    return source.holds(source.file(*FILES), "smpl_params_incam")


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than GVHMR writes."""
    file = source.existing(source.file(*FILES), NAME)
    return clip_of(source, file, Fields(source.load(file), str(file)), warnings, seen_beside)


def clip_of(
    source: Source,
    file: Path,
    fields: Fields,
    warnings: list[str],
    observed: Callable[[Source, int, list[str]], Tracks],
    fps: float = USUAL_FPS,
) -> UpstreamClip:
    """The clip of a content by GVHMR's names.

    Args:
        file: that holds it.
        observed: gives keypoints and boxes of so many frames, see `seen_beside`.
        fps: frames a second.
    """
    camera, world = fields.within("smpl_params_incam"), fields.within("smpl_params_global")
    pose, orient, transl, betas = _parameters(camera)
    _, world_orient, world_transl, _ = _parameters(world)
    num_frames = len(pose)
    intrinsics = fields.array("K_fullimg", None, 3, 3)
    if not len(orient) == len(world_orient) == len(intrinsics):
        raise UserError(
            f"{file}: {len(orient)} frames in the camera, {len(world_orient)} in the world and {len(intrinsics)} K_fullimg; all must agree"
        )
    frames = np.arange(num_frames)
    root = TEMPLATE_ROOT[22]
    reading = Reading(frames, orient, transl + root, world_orient, world_transl + root).whole()
    if not len(reading.frames):
        raise UserError(f"{file}: no frame is finite both in smpl_params_incam and in smpl_params_global")
    odometry = source.beside("slam_results.pt", "preprocess/slam_results.pt")
    path = None if odometry is None else _path(source, odometry, num_frames, warnings)
    alpha = 1.0
    if path is None:
        rotation, translation = cameras_from_readings([reading], num_frames, fps, str(file), warnings)
    else:
        rotation, translation, alpha = cameras_from_odometry([reading], *path, fps, str(odometry), warnings)
    cameras = camera_track(str(file), rotation, translation, intrinsics, inverted=True, fps=fps)
    body = BodyTrack(PERSON, f"{file}: smpl_params_incam", frames, pose, usual_betas(betas), transl, None)
    warnings.append(f"{file}: GVHMR's bodies are metric; it writes no depth maps and no masks, and one person only")
    return UpstreamClip(
        cameras=cameras,
        tracks=observed(source, num_frames, warnings),
        camera_bodies=people_of([body], cameras.frame_ids, str(file), warnings),
        alpha=alpha,
        up=_UP,
    )


def _parameters(fields: Fields) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pose (F, 22, 3), the root's orientation (F, 3), translation (F, 3) and betas (F, 10)."""
    orient = fields.array("global_orient", "F", 3)
    body = fields.array("body_pose", "F", 63).reshape(-1, 21, 3)
    return np.concatenate([orient[:, None], body], 1), orient, fields.array("transl", "F", 3), fields.array("betas", "F", 10)


def _path(source: Source, file: Path, num_frames: int, warnings: list[str]) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Camera to world (T, 3, 3) and (T, 3) of the odometry; None, and a warning, if it is of another clip.

    GVHMR's own odometry goes from each eighth frame to the next by two views, so that each step is of length 1 whatever it was: there is no
    place in it, and GVHMR takes its rotations alone.
    """
    found = source.load(file)
    path = np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found, float)
    if path.shape == (num_frames, 7) and (turned := path_of(path)) is not None:
        return turned
    if path.shape == (num_frames, 4, 4):
        try:
            return rigid(path, str(file), inverted=True)[:, :3, :3], None
        except UserError as error:
            warnings.append(f"{error}; it is left out")
            return None
    expected = f"({num_frames}, 7), places and quaternions, or ({num_frames}, 4, 4)"
    warnings.append(f"{file}: holds {described(found)}; {expected} is expected, finite, so it is left out")
    return None


def seen_beside(source: Source, num_frames: int, warnings: list[str]) -> Tracks:
    """Keypoints and boxes of the files beside; a line in `warnings` where there are no keypoints."""
    tracks = Tracks()
    keypoints, boxes = (source.beside(name, f"preprocess/{name}") for name in ("vitpose.pt", "bbx.pt"))
    if keypoints is None:
        warnings.append(
            f"{source.folder / 'vitpose.pt'}: no such file there or in preprocess/; without keypoints the person stays near GVHMR's result"
        )
    else:
        points = Fields({"vitpose": source.load(keypoints)}, str(keypoints)).array("vitpose", num_frames, 17, 3)
        for frame, row in enumerate(points):
            tracks.add_keypoints(PERSON, frame, row, "coco17", str(keypoints))
    if boxes is not None:
        corners = Fields(source.load(boxes), str(boxes)).array("bbx_xyxy", num_frames, 4)
        tracks.boxes[PERSON] = {frame: box for frame, box in enumerate(corners) if np.isfinite(box).all()}
    return tracks
