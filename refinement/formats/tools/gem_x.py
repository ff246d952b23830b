"""GEM-X: `hpe_results.pt`, with `vitpose.pt` and `bbx.pt` beside it or in `preprocess/` (NVIDIA, GEM-X, 2026).

`body_params_incam` and `body_params_global` (or other names that end so), each `global_orient` (F, 3), `body_pose` (F, 228), `transl`
(F, 3) and `scale_params` (F, S) of SOMA's body of 77 joints, and `K_fullimg` (F, 3, 3). Frames: all of the video, from 0, at 30 a second.
One person, 1. Camera: what the two readings of the person differ by. Scale: metric. Up: the axis of the world along which trunks point.
Bodies: `transl` is where the hips stand; SMPL-X's joints, hands too, are found by inverse kinematics for those of SOMA's neutral body at
the size that `scale_params` begins with, since other proportions take SOMA's own files. Keypoints: `vitpose.pt`, (F, 77, 3); boxes:
`bbx.pt`, corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pose_priors.body.model import forward_kinematics
from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture import soma77
from pose_priors.refinement.formats.assembly import camera_track, people_of
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.readings import Reading, cameras_from_readings
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "GEM-X"
FILES: tuple[str, ...] = ("hpe_results.pt", "preprocess/hpe_results.pt", "*.pt")
BESIDE: tuple[str, ...] = tuple(f"{folder}{name}.pt" for folder in ("", "preprocess/") for name in ("vitpose", "bbx"))
_PERSON, _NUM = 1, len(soma77.NAMES)
_POSE = 3 * (_NUM - 1)
_UPRIGHT = 0.6  # least cosine between an axis and where trunks point on average


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of one person of SOMA's body in the camera and in the world."""
    content = None if (file := source.file(*FILES)) is None else source.load(file)
    camera = _parameters(content, "incam") if isinstance(content, Mapping) else None
    shape: tuple[int, ...] = tuple(getattr(camera.get("body_pose"), "shape", ())) if camera is not None else ()
    return len(shape) > 1 and _POSE in (shape[-1], 3 * shape[-2])


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than GEM-X writes."""
    file = source.existing(source.file(*FILES), NAME)
    content = source.load(file)
    turns, hips, size = _body(_parameters(content, "incam"), f"{file}: body_params_incam")
    world_turns, world_hips, _ = _body(_parameters(content, "global"), f"{file}: body_params_global")
    intrinsics = Fields(content, str(file)).array("K_fullimg", None, 3, 3)
    if not len(turns) == len(world_turns) == len(intrinsics):
        raise UserError(
            f"{file}: {len(turns)} frames in the camera, {len(world_turns)} in the world and {len(intrinsics)} K_fullimg; all must agree"
        )
    frames = np.arange(len(turns))
    reading = Reading(frames, turns[:, 0], hips, world_turns[:, 0], world_hips).whole()
    if not len(reading.frames):
        raise UserError(f"{file}: no frame is finite both in the camera and in the world")
    rotation, translation = cameras_from_readings([reading], len(turns), USUAL_FPS, str(file), warnings)
    cameras = camera_track(str(file), rotation, translation, intrinsics, inverted=True, fps=USUAL_FPS)
    known = np.isfinite(turns).all((1, 2)) & np.isfinite(hips).all(1)
    body = _on_smplx(turns[known], hips[known], size, frames[known], str(file), warnings)
    warnings.append(f"{file}: GEM-X's bodies are metric; it writes no depth maps and no masks, and one person only")
    return UpstreamClip(
        cameras=cameras,
        tracks=_observed(source, len(turns), warnings),
        camera_bodies=people_of([body], cameras.frame_ids, str(file), warnings),
        alpha=1.0,
        up=_up(world_turns[known], size, str(file), warnings),
    )


def _parameters(content: Mapping[str, object], of: str) -> Mapping[str, object] | None:
    """The dict by the name that ends so."""
    found = (value for key, value in content.items() if str(key).endswith(f"_params_{of}") and isinstance(value, Mapping))
    return next(found, None)


def _body(content: Mapping[str, object] | None, source: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotation vectors (F, 77, 3), places of the hips (F, 3), and the size of the neutral body."""
    fields = Fields(content, source)
    orient, transl = fields.array("global_orient", "F", 3), fields.array("transl", "F", 3)
    pose = fields.array("body_pose")
    if pose.shape not in ((len(orient), _POSE), (len(orient), _NUM - 1, 3)):
        raise UserError(f"{source}: 'body_pose' has shape {pose.shape}; ({len(orient)}, {_POSE}) is expected")
    size = 1.0
    if "scale_params" in fields:
        scale = fields.array("scale_params", "F", None)[:, 0]
        size = float(np.median(scale[np.isfinite(scale)])) if np.isfinite(scale).any() else np.nan
        if not 0.2 < size < 2:
            raise UserError(f"{source}: 'scale_params' begins with a size of {size:.3g}; about 1 is expected")
    return np.concatenate([orient[:, None], pose.reshape(len(orient), -1, 3)], 1), transl, size


def _on_smplx(turns: np.ndarray, hips: np.ndarray, size: float, frames: np.ndarray, source: str, warnings: list[str]) -> BodyTrack:
    fit, off = soma77.on_smplx(soma77.recorded(turns, hips, size, source))
    joints, _ = forward_kinematics(fit.pose, fit.rest)
    warnings.append(
        f"{source}: SOMA's joints are {1000 * float(off.mean()):.1f} mm from those of the SMPL-X body that was found for them (mean; "
        f"{1000 * float(off.max()):.1f} mm at most); its neutral proportions are taken, at {size:.2f} of their size"
    )
    places: np.ndarray = (joints + fit.root[:, None]).numpy()
    return BodyTrack(_PERSON, f"{source}: body_params_incam", frames, fit.pose.numpy(), np.zeros(10), places[:, 0], places, True)


def _up(turns: np.ndarray, size: float, source: str, warnings: list[str]) -> np.ndarray | None:
    """The axis of the world that trunks point along on average; None, and a line in `warnings`, where none is clear."""
    person = soma77.recorded(turns, np.zeros((len(turns), 3)), size, source)
    trunk = person.places[:, soma77.NAMES.index("Neck1")]
    mean = (trunk / np.linalg.norm(trunk, axis=-1, keepdims=True)).mean(0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) < _UPRIGHT:
        warnings.append(f"{source}: no axis of GEM-X's world is clearly up: trunks point to {mean.round(2).tolist()} on average")
        return None
    up: np.ndarray = np.eye(3)[axis] * np.sign(mean[axis])
    return up


def _observed(source: Source, num_frames: int, warnings: list[str]) -> Tracks:
    tracks = Tracks()
    keypoints, boxes = (source.beside(name, f"preprocess/{name}") for name in ("vitpose.pt", "bbx.pt"))
    if keypoints is None:
        missing = Path(source.folder) / "vitpose.pt"
        warnings.append(f"{missing}: no such file there or in preprocess/; without keypoints the person stays near GEM-X's result")
    else:
        content = source.load(keypoints)
        content = content[0] if isinstance(content, tuple | list) and content else content
        for frame, row in enumerate(Fields({"vitpose": content}, str(keypoints)).array("vitpose", num_frames, _NUM, 3)):
            tracks.add_keypoints(_PERSON, frame, row, "soma77", str(keypoints))
    if boxes is not None:
        corners = Fields(source.load(boxes), str(boxes)).array("bbx_xyxy", num_frames, 4)
        tracks.boxes[_PERSON] = {frame: box for frame, box in enumerate(corners) if np.isfinite(box).all()}
    return tracks
