"""WHAM: `wham_output.pkl` (joblib), with `tracking_results.pth` and `slam_results.pth` beside it (Shin et al., "WHAM", CVPR 2024).

Frames: `frame_ids`, numbers of the video's frames from 0; others have no rows. Person ids: the keys, the tracker's. Camera:
`slam_results.pth`, camera to world as x, y, z and a quaternion x, y, z, w, of unknown unit; without it the camera is what the two readings
of each person differ by. Scale: bodies are metric; the unit of the camera's path is found from how people move in WHAM's world. Up: y. WHAM
gives each person a world of its own, with its own origin; people are therefore taken from the camera (`pose`, `trans`) and share the world
of the one who is seen longest. Intrinsics: none in the file; WHAM's focal length is the image's diagonal, and the image is as large as
makes the hips lie where they were detected. Bodies: SMPL, 24 rotation vectors and smplx's translation. Keypoints: of
`tracking_results.pth`, COCO's 17. No frame rate, no depth maps, no masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.builtin import rest_joints
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import (
    camera_track,
    intrinsics_of,
    is_nobodys,
    left_out,
    nobody,
    people_of,
    person_id,
    tell_nobodys,
    usual_betas,
)
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT, BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS, path_of
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.readings import Reading, cameras_from_odometry, cameras_from_readings
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "WHAM"
FILES: tuple[str, ...] = ("wham_output.pkl",)
BESIDE: tuple[str, ...] = ("tracking_results.pth", "slam_results.pth")
_KEYS = {"pose", "trans", "pose_world", "trans_world", "frame_ids"}
_UP = np.array([0.0, 1.0, 0.0])
_USUAL_SIZE = (1920, 1080)
_HIPS, _SURE = [11, 12], 0.3


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of people by id in the camera and in the world."""
    file = source.file(*FILES)
    content = source.load(file) if file is not None else None
    people = list(content.values()) if isinstance(content, Mapping) else []
    return any(isinstance(person, Mapping) and len(_KEYS & person.keys()) > 2 for person in people)


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than WHAM writes."""
    file = source.existing(source.file(*FILES), NAME)
    root = np.array(TEMPLATE_ROOT[24])
    bodies: list[BodyTrack] = []
    readings: dict[int, Reading] = {}
    content = source.load(file)
    tell_nobodys(sum(map(is_nobodys, content)), file, warnings)
    for key, value in content.items():
        if is_nobodys(key):
            continue
        with left_out(key, warnings):
            person, fields = person_id(key, str(file)), Fields(value, f"{file}: person {key}")
            frames = fields.whole("frame_ids", "n")
            pose, world = fields.array("pose", "n", 72).reshape(-1, 24, 3), fields.array("pose_world", "n", 72)
            transl, world_transl = fields.array("trans", "n", 3), fields.array("trans_world", "n", 3)
            bodies.append(BodyTrack(person, fields.source, frames, pose, usual_betas(fields.array("betas", "n", None)), transl, None))
            told = Reading(frames, pose[:, 0], transl + root, world[:, :3], world_transl + root).whole()
            if not len(told.frames):
                bodies.pop()
                raise UserError(f"{fields.source}: no row of it is finite")
            readings[person] = told
    if not readings:
        raise nobody(file, warnings)
    tracks, size = _observed(source, readings, warnings)
    num_frames = max(int(reading.frames[-1]) for reading in readings.values()) + 1
    odometry = source.beside("slam_results.pth")
    path = None if odometry is None else _path(source, odometry, num_frames, warnings)
    alpha = 1.0
    if path is None:
        rotation, translation = cameras_from_readings([*readings.values()], num_frames, USUAL_FPS, str(file), warnings)
    else:
        rotation, translation, alpha = cameras_from_odometry([*readings.values()], *path, USUAL_FPS, str(odometry), warnings)
    intrinsics = intrinsics_of(float(np.hypot(*size)), np.array(size) / 2)
    cameras = camera_track(str(odometry if path else file), rotation, translation, intrinsics, inverted=True, image_size=size)
    if len(bodies) > 1:
        warnings.append(f"{file}: WHAM's people each have a world of their own; they are taken from the camera into one")
    warnings.append(f"{file}: WHAM's bodies are metric; it writes no depth maps and no masks")
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies=people_of(bodies, cameras.frame_ids, str(file), warnings),
        alpha=alpha,
        up=_UP,
    )


def _path(source: Source, file: Path, num_frames: int, warnings: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Camera to world of the odometry; None, and a warning, if it does not cover the people."""
    path = Fields({"slam": source.load(file)}, str(file)).array("slam", None, 7)
    found = path_of(path) if len(path) >= num_frames else None
    if found is None:
        warnings.append(
            f"{file}: {len(path)} poses of a camera, for people up to frame {num_frames - 1}; it is of another video, and left out"
        )
    return found


def _observed(source: Source, readings: dict[int, Reading], warnings: list[str]) -> tuple[Tracks, tuple[int, int]]:
    """The keypoints, and the size of the image that they and the pelvis imply."""
    tracks, file = Tracks(), source.beside("tracking_results.pth")
    if file is None:
        width, height = _USUAL_SIZE
        warnings.append(
            f"{source.folder / 'tracking_results.pth'}: no such file; without 2D keypoints people stay near WHAM's result, and an image of "
            f"{width} x {height} is assumed"
        )
        return tracks, _USUAL_SIZE
    rays, pixels = [], []
    detected: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for key, value in Fields(source.load(file), str(file)).content.items():
        if is_nobodys(key):
            continue
        with left_out(key, warnings, "what was seen"):
            person, fields = person_id(key, str(file)), Fields(value, f"{file}: person {key}")
            frames, points = fields.whole("frame_id", "n"), fields.array("keypoints", "n", 17, 3)
            detected[person] = frames, points
    for person, (frames, points) in detected.items():
        for frame, row in zip(frames.tolist(), points, strict=True):
            tracks.add_keypoints(person, frame, row, "coco17", str(file))
        if (reading := readings.get(person)) is not None:
            _, at, of = np.intersect1d(frames, reading.frames, return_indices=True)
            middle = reading.camera_pelvis[of] + Rotation.from_rotvec(reading.camera_orient[of]).apply(
                rest_joints()[[1, 2]].mean(0).numpy()
            )
            hips = points[at][:, _HIPS]
            sure = (hips[..., 2] >= _SURE).all(1) & np.isfinite(hips).all((1, 2)) & (middle[:, 2] > 0)
            rays.append(middle[sure, :2] / middle[sure, 2:])
            pixels.append(hips[sure, :, :2].mean(1))
    if not rays or not len(seen := np.concatenate(rays)):
        warnings.append(f"{file}: nobody's hips are seen, so an image of {_USUAL_SIZE[0]} x {_USUAL_SIZE[1]} is assumed")
        return tracks, _USUAL_SIZE
    where = np.concatenate(pixels)

    def miss(centre: np.ndarray) -> np.ndarray:
        off: np.ndarray = 2 * np.linalg.norm(centre) * seen + centre - where
        return off.ravel()

    from scipy.optimize import least_squares  # brings much that every command would wait for

    # robust: where a hip is hidden the detector guesses
    centre = least_squares(miss, np.maximum(np.median(where, 0), 1), loss="soft_l1", f_scale=5.0).x
    width, height = (2 * np.maximum(np.rint(centre), 1)).astype(int).tolist()
    warnings.append(f"{source.folder}: WHAM's files do not say how large the image is; by where the hips are it is {width} x {height}")
    return tracks, (width, height)
