"""CoMotion: `<video>.pt`, with the boxes of `<video>.txt` beside it (Newell et al., "CoMotion", ICLR 2025).

Frames: `frame_idx`, from 0; the boxes' (MOT) count from 1. Person ids: `id`, the tracker's. Camera: one that stands still; CoMotion's own
focal length is twice the longer side of the image, whose size is the one at which the boxes lie where the people are, else 1920 x 1080.
Scale: metric as far as body size tells. Up: read off the people. Bodies: SMPL, 24 rotation vectors and smplx's translation in the camera.
No keypoints, no frame rate, no depth maps, no masks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.refinement.formats.assembly import (
    camera_track,
    intrinsics_of,
    is_nobodys,
    people_of,
    person_id,
    still_cameras,
    tell_nobodys,
    usual_betas,
)
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT, BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "CoMotion"
FILES: tuple[str, ...] = ("*.pt",)
BESIDE: tuple[str, ...] = ("*.txt",)
_KEYS = ("id", "pose", "trans", "betas", "frame_idx")
_USUAL_SIZE = (1920, 1080)
_FEW = 8  # boxes that hardly tell the image's size
_BODY_BELOW_PELVIS = 0.05  # metres: the middle of a standing body's box is about there


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of people by rows with ids and frames."""
    return source.holds(source.only(*FILES), *_KEYS)


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than CoMotion writes."""
    file = source.existing(source.only(*FILES), NAME)
    fields = Fields(source.load(file), str(file))
    pose, transl = fields.array("pose", "N", 72).reshape(-1, 24, 3), fields.array("trans", "N", 3)
    ids, frames, betas = fields.array("id", "N"), fields.whole("frame_idx", "N"), fields.array("betas", "N", None)
    boxes = _boxes(file.with_suffix(".txt"), warnings)
    size = _size(boxes, ids.astype(int), frames, transl + TEMPLATE_ROOT[24])
    if size is None:
        warnings.append(f"{file}: nothing tells the image's size; {_USUAL_SIZE[0]} x {_USUAL_SIZE[1]} is taken")
        size = _USUAL_SIZE
    first, num_frames = int(frames.min()), int(frames.max() - frames.min()) + 1
    intrinsics = intrinsics_of(2.0 * max(size), np.array(size) / 2)
    cameras = camera_track(str(file), *still_cameras(num_frames), intrinsics, inverted=False, image_size=size, first_frame=first)
    tracks, bodies = Tracks(), []
    nobodys = np.array([is_nobodys(int(value)) for value in ids], bool)
    tell_nobodys(int(nobodys.sum()), file, warnings)
    for value in np.unique(ids[~nobodys]):
        person, rows = person_id(int(value), str(file)), np.flatnonzero(ids == value)
        bodies.append(BodyTrack(person, f"{file}: person {person}", frames[rows], pose[rows], usual_betas(betas[rows]), transl[rows], None))
        if person in boxes:
            tracks.boxes[person] = boxes[person]
    warnings.append(
        f"{file}: CoMotion knows no camera: one that stands still, of {2 * max(size)} px focal length, is taken; it writes no keypoints "
        "and no depth maps, so the scale starts at 1"
    )
    known = people_of(bodies, cameras.frame_ids, str(file), warnings)
    return UpstreamClip(cameras=cameras, tracks=tracks, camera_bodies=known, alpha=1.0)


def _boxes(file: Path, warnings: list[str]) -> dict[int, dict[int, np.ndarray]]:
    """Corners by person and frame of a MOT file: frame, id, left, top, width, height, from 1; empty where there is none."""
    if not file.is_file():
        return {}
    boxes: dict[int, dict[int, np.ndarray]] = {}
    for line in read_regular(file).decode("utf-8", "replace").splitlines():
        try:
            frame, person, left, top, width, height = (float(word) for word in line.split(",")[:6])
        except ValueError:
            if line.strip():
                warnings.append(f"{file}: '{line[:40]}' is no line of MOT; the boxes are left out")
                return {}
            continue
        if np.isfinite([frame, person, left, top, width, height]).all():
            boxes.setdefault(int(person), {})[int(frame) - 1] = np.array([left, top, left + width, top + height])
    return boxes


def _size(boxes: dict[int, dict[int, np.ndarray]], ids: np.ndarray, frames: np.ndarray, pelvis: np.ndarray) -> tuple[int, int] | None:
    """Width and height at which the middles of the boxes are the people, with CoMotion's focal length; None where boxes are few."""
    found = []
    for person, frame, place in zip(ids.tolist(), frames.tolist(), pelvis, strict=True):
        box = boxes.get(person, {}).get(frame)
        if box is not None and place[2] > 0.1:
            ray = (place[:2] + np.array([0, _BODY_BELOW_PELVIS])) / place[2]
            found.append((*ray, *((box[:2] + box[2:]) / 2)))
    if len(found) < _FEW:
        return None
    x, y, u, v = np.array(found).T
    # of wide images the width sets the focal length, of tall ones the height
    width = float(np.median(u / (2 * x + 0.5)))
    height = float(np.median(2 * (v - 2 * width * y)))
    if height > width:
        height = float(np.median(v / (2 * y + 0.5)))
        width = float(np.median(2 * (u - 2 * height * x)))
    size = round(width), round(height)
    return size if min(size) > 16 and max(size) < 100_000 else None
