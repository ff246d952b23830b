"""Boxes and 2D keypoints of stage 2: `tracks.npz`, the pickled detections of each frame, and `keypoints_2d/`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError, counted, listed, reason_of
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.refinement.formats.assembly import is_nobodys
from pose_priors.refinement.formats.files import Arrays, existing_folder, numbered_files
from pose_priors.refinement.formats.keypoints import format_of

_MOST_PX = 1e6  # from the image's corner; beyond, it is no place in an image
_TRACK = re.compile(r"track_(\d+)_frames")


@dataclass
class Tracks:
    """What stage 2 saw of each person.

    Attributes:
        boxes: person -> frame -> (4,) x0, y0, x1, y1 in pixels.
        keypoints: person -> frame -> (N, 3) x, y, confidence, points of `format_name`.
        format_name: the format of the keypoints, None where there are none.
    """

    boxes: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)
    keypoints: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)
    format_name: str | None = None

    def add_keypoints(self, person: int, frame: int, points: np.ndarray, name: str | None, source: str) -> None:
        """Takes the points of one person on one frame. Raises `UserError` if they are of another format than those before."""
        name = format_of(len(points), name, source)
        if self.format_name not in (None, name):
            raise UserError(f"{source}: keypoints of format {name}, but others are {self.format_name}; one clip needs one format")
        self.format_name = name
        points = points[:, :3].astype(float)
        if points.shape[1] == 2:
            points = np.concatenate([points, np.ones((len(points), 1))], 1)
        bad = ~(np.abs(points) < _MOST_PX).all(1)
        points[bad] = 0
        points[:, 2] = points[:, 2].clip(0, 1)
        self.keypoints.setdefault(person, {})[frame] = points


def read_tracks(stage2_dir: Path, frame_ids: np.ndarray, image_size: tuple[int, int], warnings: list[str], shift: int = 0) -> Tracks:
    """The boxes and keypoints of a stage 2 folder; where `keypoints_2d/` and the detections both have keypoints, the former are used.

    Args:
        frame_ids: of the cameras.
        image_size: width and height in pixels; boxes outside are left out.
        warnings: takes a line for each kind of fault.
        shift: by how much the folder's frames are numbered higher than the cameras'.
    Raises:
        UserError: if the folder is missing, or holds neither boxes nor keypoints that can be read.
    """
    existing_folder(stage2_dir, "tracking (stage 2)")
    tracks = Tracks()
    numbers = frame_ids + shift  # of the files, until all are read
    path = stage2_dir / "tracks.npz"
    problems: list[str] = []
    if path.is_file():
        _guarded(problems, path, _read_boxes, path, numbers, tracks, problems)
    safe = sorted((stage2_dir / "keypoints_2d").glob("person_*.npz"))
    for file in safe:
        _guarded(problems, file, _read_keypoint_file, file, numbers, tracks)
    for frame, file in numbered_files(stage2_dir / "detections", (".pkl",)).items():
        _guarded(problems, file, _read_detections, file, frame, tracks, bool(safe))
    for named in (*tracks.boxes.values(), *tracks.keypoints.values()) if shift else ():
        moved = {frame - shift: value for frame, value in named.items()}
        named.clear()
        named.update(moved)
    if problems:
        warnings.append(f"{counted(len(problems), 'file or person', 'files or people')} of stage 2 left out: {listed(problems, 2)}")
    if not tracks.boxes and not tracks.keypoints:
        detail = f"; {problems[0]}" if problems else ""
        raise UserError(f"{stage2_dir}: neither tracks.npz nor detections/frame_*.pkl nor keypoints_2d/person_*.npz can be read{detail}")
    if not tracks.keypoints:
        warnings.append(f"{stage2_dir}: no 2D keypoints; people are held by stage 3, boxes and depth alone")
    _drop_outside(tracks, image_size, warnings)
    return tracks


def _guarded(problems: list[str], source: Path, read: Callable[..., None], *args: Any) -> None:
    """One unreadable file or person does not lose the others."""
    try:
        read(*args)
    except UserError as error:
        problems.append(str(error))
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:  # numbers that are none, rows of different lengths
        problems.append(f"{source}: {reason_of(error)}")


def _read_boxes(path: Path, frame_ids: np.ndarray, tracks: Tracks, problems: list[str]) -> None:
    arrays = Arrays(path)
    people = [int(m[1]) for name in arrays.names if (m := _TRACK.fullmatch(name))]
    for person in people:
        _guarded(problems, path, _read_track, arrays, person, tracks)
    if people or "bboxes" not in arrays:
        return
    ids, boxes = arrays.need("person_ids", "ids", "track_ids").reshape(-1), arrays.need("bboxes")
    if boxes.shape != (len(ids), len(frame_ids), 4):
        raise UserError(
            f"{arrays.path}: 'bboxes' has shape {boxes.shape} for {len(ids)} people and {len(frame_ids)} cameras; (P, T, 4) is expected"
        )
    seen = arrays.get("vis")
    seen = np.ones(boxes.shape[:2], bool) if seen is None else seen.reshape(boxes.shape[:2]) > 0
    for person, box_rows, seen_row in zip(ids, boxes, seen, strict=True):
        if is_nobodys(int(person)):
            continue
        rows = zip(frame_ids, box_rows, seen_row, strict=True)
        tracks.boxes[int(person)] = {int(frame): box.astype(float) for frame, box, vis in rows if vis and np.isfinite(box).all()}


def _read_track(arrays: Arrays, person: int, tracks: Tracks) -> None:
    frames, boxes = arrays.need(f"track_{person}_frames").reshape(-1), arrays.need(f"track_{person}_bboxes")
    if boxes.shape != (len(frames), 4):
        raise UserError(f"{arrays.path}: 'track_{person}_bboxes' has shape {boxes.shape} for {len(frames)} frames; (n, 4) is expected")
    tracks.boxes[person] = {int(f): _corners(box) for f, box in zip(frames, boxes, strict=True) if np.isfinite(box).all()}


def _corners(box: np.ndarray) -> np.ndarray:
    """Centre, width and height -> corners."""
    centre, size = np.asarray(box[:2], float), np.asarray(box[2:4], float)
    return np.concatenate([centre - size / 2, centre + size / 2])


def _read_detections(path: Path, frame: int, tracks: Tracks, boxes_only: bool) -> None:
    content = load_pickle(path)
    if not isinstance(content, (list, tuple)):
        raise UserError(f"{path}: holds a {type(content).__name__}; a list of detections is expected")
    for detection in content:
        if not isinstance(detection, dict):
            raise UserError(f"{path}: a detection is a {type(detection).__name__}; a dict with 'track_id' is expected")
        person = next((detection[key] for key in ("track_id", "id", "tid", "person_id") if detection.get(key) is not None), None)
        if person is None or is_nobodys(person):
            continue  # a detection that the tracker gave to nobody
        person = int(person)
        if (box := detection.get("bbox")) is not None and np.size(box) >= 4 and np.isfinite(np.asarray(box, float)).all():
            tracks.boxes.setdefault(person, {}).setdefault(frame, _corners(np.asarray(box, float).reshape(-1)))
        points = next((detection[key] for key in ("keypoints_2d", "keypoints") if detection.get(key) is not None), None)
        if points is not None and not boxes_only:
            points = np.asarray(points, float)
            if points.ndim != 2 or points.shape[1] < 2:
                raise UserError(f"{path}: 'keypoints_2d' of track {person} has shape {points.shape}; (K, 3) is expected")
            tracks.add_keypoints(person, frame, points, detection.get("keypoint_format"), str(path))


def _read_keypoint_file(path: Path, frame_ids: np.ndarray, tracks: Tracks) -> None:
    person = int(re.findall(r"\d+", path.stem)[-1])
    arrays = Arrays(path)
    points, name, frames = arrays.need("keypoints"), arrays.text("format"), arrays.get("frame_ids", "frames")
    if points.ndim != 3 or points.shape[2] < 2:
        raise UserError(f"{path}: 'keypoints' has shape {points.shape}; (T, K, 3) is expected")
    frames = frame_ids if frames is None else frames.reshape(-1)
    if len(frames) != len(points):
        raise UserError(f"{path}: 'keypoints' has {len(points)} rows for {len(frames)} frames; one for each camera is expected")
    for frame, row in zip(frames, points, strict=True):
        tracks.add_keypoints(person, int(frame), row, name, str(path))


def _drop_outside(tracks: Tracks, image_size: tuple[int, int], warnings: list[str]) -> None:
    """Boxes that lie outside the image, or have no area, say nothing."""
    width, height = image_size
    outside = []
    for person, boxes in tracks.boxes.items():
        for frame, (x0, y0, x1, y1) in list(boxes.items()):
            if x1 <= max(x0, 0) or y1 <= max(y0, 0) or x0 >= width or y0 >= height or max(-x0, -y0, x1, y1) > _MOST_PX:
                outside.append(f"person {person} frame {frame}")
                del boxes[frame]
    if outside:
        warnings.append(f"boxes outside the {width} x {height} image were left out: {listed(outside)}")
