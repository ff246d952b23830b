"""SAM 3D Body: what it gives for each image, saved as people save it, `.npz`, `.pt` or `.pkl` (Yang et al., "SAM 3D Body", 2025).

A file holds one person of one image, the people of one image as a list, or a list (or a dict by frame) of such lists; a folder holds
files of one person (`<image>_subj<n>.npz`) or of one image each. Frames: the number in the image's name, else the order, from 0. Person
ids: `track_id`, `person_id`, `id` or `obj_id` where the files have one; else people are followed by mask, box and place, and numbered from
1.
Camera: one that stands still, or the one of `input.cameras`; focal length and centre are those by which the 2D keypoints are the 3D ones.
Scale: metric. Up: read off the people. Bodies: MHR, of whose 70 keypoints the joints of SMPL-X, hands too, are found by inverse kinematics
under the built-in Gaussian of poses. Boxes: `bbox`, corners. The 2D keypoints are the body's own and no observation; no depth maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from pose_priors.body.model import forward_kinematics
from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.images import numbers_in
from pose_priors.datamodules.capture.mhr70 import KEYPOINTS, fitted
from pose_priors.refinement.formats.assembly import camera_track, is_nobodys, left_out, people_of, person_id, still_cameras, tell_nobodys
from pose_priors.refinement.formats.association import Sighting, followed
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.numbering import num_frames_of
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "SAM 3D Body"
FILES: tuple[str, ...] = ("*_subj*.npz", "*.npz", "*.pt", "*.pkl")
BESIDE: tuple[str, ...] = FILES
_KEYS = ("pred_keypoints_3d", "pred_cam_t")
_IDS = ("track_id", "person_id", "id", "obj_id")
_PERSON = re.compile(r"(.*?)_?(?<![A-Za-z])(?:subj|person|obj|p)_?(\d+)$")  # not the end of a word, as in clip_0001
_NUM = len(KEYPOINTS)
_MOST_OFF_PX = 2.0  # of the 2D keypoints from the 3D ones in the camera that explains them
_FRAMES = list[tuple[int, list[Fields]]]


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder of files, of bodies in the camera as SAM 3D Body gives them."""
    file = source.file(*FILES)
    return file is not None and next(_people(source.load(file)), None) is not None


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the files. Raises `UserError` if one holds something else than SAM 3D Body gives."""
    frames = _frames(source)
    cameras = _cameras(frames, str(source.path))
    tracks, bodies = Tracks(), []
    for person, rows in _by_person(frames, warnings).items():
        with left_out(person, warnings):
            bodies.append(_body(person, rows, str(source.path), warnings))
        for frame, row in rows:
            if "bbox" in row:
                tracks.boxes.setdefault(person, {})[frame] = row.array("bbox").reshape(-1)[:4]
    warnings.append(
        f"{source.path}: SAM 3D Body looks at single images: bodies are metric, and the camera is taken to stand still unless "
        "input.cameras says otherwise; it writes no depth maps, and its keypoints are those of its own body"
    )
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies=people_of(bodies, cameras.frame_ids, str(source.path), warnings),
        alpha=1.0,
    )


def _people(content: Any) -> Iterator[Mapping[str, Any]]:
    """The people of one image, or of several, that a content holds."""
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = content.tolist()
    if isinstance(content, Mapping) and all(key in content for key in _KEYS):
        yield content
    elif isinstance(content, Mapping | list | tuple):
        for value in content.values() if isinstance(content, Mapping) else content:
            yield from _people(value)


def _frames(source: Source) -> _FRAMES:
    """The people of each image, in order of its number."""
    if source.path.is_file():
        content = source.load(source.path)
        content = content.tolist() if isinstance(content, np.ndarray) else content
        if isinstance(content, Mapping) and not all(key in content for key in _KEYS) and len(content) == 1:
            content = next(iter(content.values()))
            content = content.tolist() if isinstance(content, np.ndarray) else content
        if isinstance(content, Mapping) and all(key in content for key in _KEYS):
            images: dict[str, list[Any]] = {"0": [content]}
        elif isinstance(content, Mapping):
            images = {str(key): list(_people(value)) for key, value in content.items()}
        elif all(isinstance(value, Mapping) and all(key in value for key in _KEYS) for value in content):
            images = {"0": list(content)}
        else:
            images = {str(order): list(_people(value)) for order, value in enumerate(content)}
    else:
        images = {}
        for file in sorted({path for pattern in FILES for path in source.path.glob(pattern)}):
            match = _PERSON.fullmatch(file.stem)
            images.setdefault(match[1] if match else file.stem, []).extend(_people(source.load(file)))
    numbers = numbers_in(list(images))
    frames = []
    for (key, people), number in zip(images.items(), numbers, strict=True):
        rows = [Fields(person, f"{source.path}: {key}, person {order}") for order, person in enumerate(people)]
        frames.append((number, rows))
    if not any(rows for _, rows in frames):
        raise UserError(f"{source.path}: {len(frames)} images, and nobody is seen on any")
    return sorted(frames, key=lambda frame: frame[0])


def _keypoints(row: Fields) -> np.ndarray:
    """(70, 3) metres in the camera."""
    points = row.array("pred_keypoints_3d")
    points = points[0] if points.ndim == 3 and len(points) == 1 else points
    if points.shape != (_NUM, 3):
        raise UserError(f"{row.source}: 'pred_keypoints_3d' has shape {points.shape}; ({_NUM}, 3) is expected")
    place = row.array("pred_cam_t").reshape(-1)
    if place.shape != (3,):
        raise UserError(f"{row.source}: 'pred_cam_t' has shape {row.array('pred_cam_t').shape}; (3,) is expected")
    there: np.ndarray = points + place
    return there


def _cameras(frames: _FRAMES, source: str) -> CameraTrack:
    """A camera that stands still, for each frame with the focal length and the centre that its people imply."""
    first = frames[0][0]
    intrinsics = np.full((num_frames_of(first, frames[-1][0], source), 3, 3), np.nan)
    for number, rows in frames:
        seen = []
        for row in rows:
            points, pixels = _keypoints(row), row.array("pred_keypoints_2d").reshape(-1, 2)
            if pixels.shape != (_NUM, 2):
                raise UserError(f"{row.source}: 'pred_keypoints_2d' has shape {pixels.shape}; ({_NUM}, 2) is expected")
            seen.append((points, pixels))
        if seen:
            points, pixels = (np.concatenate(part) for part in zip(*seen, strict=True))
            intrinsics[number - first] = _pinhole(points, pixels, f"{source}: image {number}")
    known = np.flatnonzero(np.isfinite(intrinsics).all((1, 2)))
    nearest = known[np.abs(np.arange(len(intrinsics))[:, None] - known).argmin(1)]
    rotation, translation = still_cameras(len(intrinsics))
    return camera_track(source, rotation, translation, intrinsics[nearest], inverted=False, first_frame=first)


def _pinhole(points: np.ndarray, pixels: np.ndarray, source: str) -> np.ndarray:
    """(3, 3): focal length and centre by which points (N, 3) are pixels (N, 2), least squares."""
    usable = np.isfinite(points).all(1) & np.isfinite(pixels).all(1) & (points[:, 2] > 0.01)
    if usable.sum() < 4:
        raise UserError(f"{source}: hardly a keypoint is finite and before the camera")
    ray = points[usable, :2] / points[usable, 2:]
    design = np.zeros((2 * len(ray), 3))
    design[: len(ray), 0], design[: len(ray), 1] = ray[:, 0], 1
    design[len(ray) :, 0], design[len(ray) :, 2] = ray[:, 1], 1
    (focal, x, y), *_ = np.linalg.lstsq(design, pixels[usable].T.ravel(), rcond=None)
    off = np.abs(design @ [focal, x, y] - pixels[usable].T.ravel()).max()
    if focal <= 0 or off > _MOST_OFF_PX:
        raise UserError(f"{source}: pred_keypoints_2d are not pred_keypoints_3d + pred_cam_t in a camera (off by {off:.0f} px)")
    return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]])


def _by_person(frames: _FRAMES, warnings: list[str]) -> dict[int, list[tuple[int, Fields]]]:
    """The rows of each person, by id."""
    name = next((name for name in _IDS if all(name in row for _, rows in frames for row in rows)), None)
    if name is None:
        sightings = [(number, [_sighting(row) for row in rows]) for number, rows in frames]
        ids = [[person + 1 for person in row] for row in followed(sightings)]
        warnings.append("SAM 3D Body's files have no ids: people are followed from image to image by mask, box and place")
    else:
        every = sum(len(rows) for _, rows in frames)
        frames = [(number, [row for row in rows if not is_nobodys(int(row.array(name).reshape(-1)[0]))]) for number, rows in frames]
        tell_nobodys(every - sum(len(rows) for _, rows in frames), NAME, warnings)
        ids = [[person_id(int(row.array(name).reshape(-1)[0]), row.source) for row in rows] for _, rows in frames]
    people: dict[int, list[tuple[int, Fields]]] = {}
    for (number, rows), named in zip(frames, ids, strict=True):
        for row, person in zip(rows, named, strict=True):
            people.setdefault(person, []).append((number, row))
    return people


def _sighting(row: Fields) -> Sighting:
    points = _keypoints(row)
    box = row.array("bbox").reshape(-1)[:4] if "bbox" in row else None
    mask = np.squeeze(np.asarray(row.raw("mask"))) > 0 if "mask" in row and np.squeeze(np.asarray(row.raw("mask"))).ndim == 2 else None
    return Sighting(points[[KEYPOINTS.index("left_hip"), KEYPOINTS.index("right_hip")]].mean(0), box, mask)


def _body(person: int, rows: list[tuple[int, Fields]], source: str, warnings: list[str]) -> BodyTrack:
    seen = torch.from_numpy(np.stack([_keypoints(row) for _, row in rows]))
    fit = fitted(seen)
    joints, _ = forward_kinematics(fit.pose, fit.rest)
    off = 1000 * (fit.places - seen).norm(dim=-1)
    warnings.append(
        f"{source}: person {person}: MHR's {_NUM} keypoints are {float(off.nanmean()):.1f} mm from those of the SMPL-X body that was found "
        f"for them (mean; {float(off.nan_to_num().max()):.1f} mm at most, {KEYPOINTS[int(off.nan_to_num().max(0).values.argmax())]})"
    )
    frames = np.array([number for number, _ in rows])
    places = (joints + fit.root[:, None]).numpy()
    return BodyTrack(person, f"{source}: person {person}", frames, fit.pose.numpy(), np.zeros(10), fit.root.numpy(), places, True)
