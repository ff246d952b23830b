"""4DHumans / PHALP: `results/<dataset>_<video>.pkl` (joblib), a dict of frames (Rajasegaran et al., "Tracking People by Predicting 3D
Appearance, Location and Pose", CVPR 2022; Goel et al., "Humans in 4D", ICCV 2023).

Frames: `time`, from 0 (in the order of the file's keys where there is none). Person ids: `tid`. Rows with `tracked_time` above 0 are
ghosts, where the tracker only predicted, and count as not seen. Camera: none; one that stands still is taken. Scale: from body size alone,
depth is as good as the focal length, which is not known: half of width plus height, as SLAHMR reads these files, in place of PHALP's own
5000 on an image of 256 pixels. Up: read off the people. Bodies: SMPL, 1 + 23 rotation matrices; `camera` is smplx's translation, its depth
for PHALP's focal length. Boxes: `bbox`, x0, y0, width, height. No keypoints (`2d_joints` are the body's own), no depth maps, no frame rate;
masks are left, without depth they say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import (
    camera_track,
    intrinsics_of,
    is_nobodys,
    nobody,
    people_of,
    person_id,
    still_cameras,
    tell_nobodys,
    usual_betas,
)
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Fields, Source, rotvecs
from pose_priors.refinement.formats.tracks import Tracks

NAME = "4DHumans / PHALP"
FILES: tuple[str, ...] = ("results/*.pkl", "demo_*.pkl")
BESIDE: tuple[str, ...] = ()
_FOCAL, _RESOLUTION = 5000.0, 256.0  # PHALP's own, on the image padded to a square


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one such, of frames with tracked people; a folder of several is many clips."""
    file = source.only(*FILES)
    content = source.load(file) if file is not None else None
    frames = list(content.values()) if isinstance(content, Mapping) else []
    return bool(frames) and all(isinstance(frame, Mapping) and {"tid", "smpl"} <= frame.keys() for frame in frames)


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than PHALP writes."""
    file = source.existing(source.only(*FILES), NAME)
    content: Mapping[Any, Any] = source.load(file)
    rows: dict[int, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = {}
    tracks, ghosts, nobodys = Tracks(), 0, 0
    size: tuple[int, int] | None = None
    for order, (key, value) in enumerate(content.items()):
        fields = Fields(value, f"{file}: frame {key}")
        frame = int(fields.whole("time").reshape(-1)[0]) if "time" in fields else order
        people = _lists(fields)
        for at, track in enumerate(people["tid"]):
            if is_nobodys(track):
                nobodys += 1
                continue
            person = person_id(track, fields.source)
            found = Fields({name: values[at] for name, values in people.items()}, f"{fields.source}, track {person}")
            if found.number("tracked_time") > 0:
                ghosts += 1
                continue
            height, width = found.whole("size", 2).tolist()
            if size is not None and size != (width, height):
                raise UserError(
                    f"{found.source}: an image of {width} x {height} after images of {size[0]} x {size[1]}; one clip has one size"
                )
            size = width, height
            smpl = found.within("smpl")
            root = smpl.array("global_orient").reshape(-1, 3, 3)
            pose = np.concatenate([root[:1], smpl.array("body_pose", 23, 3, 3)])
            betas = smpl.array("betas").ravel()
            if person in rows and len(betas) != len(rows[person][0][-1]):
                raise UserError(f"{smpl.source}: {len(betas)} betas after {len(rows[person][0][-1])}; one body has one shape")
            rows.setdefault(person, []).append((frame, pose, found.array("camera", 3), betas))
            box = found.array("bbox", 4)
            tracks.boxes.setdefault(person, {})[frame] = np.concatenate([box[:2], box[:2] + box[2:]])
    tell_nobodys(nobodys, file, warnings)
    if size is None:
        raise nobody(file, warnings)
    focal = sum(size) / 2
    depth = focal / (_FOCAL * max(size) / _RESOLUTION)
    frames = [frame for track in rows.values() for frame, *_ in track]
    first, num_frames = min(frames), max(frames) - min(frames) + 1
    intrinsics = intrinsics_of(focal, np.array(size) / 2)
    cameras = camera_track(str(file), *still_cameras(num_frames), intrinsics, inverted=False, image_size=size, first_frame=first)
    bodies = []
    for person, track in rows.items():
        rows_at, matrices, places, betas = (np.array(column) for column in zip(*track, strict=True))
        poses, said = rotvecs(matrices, f"{file}: track {person}: 'smpl'"), f"{file}: track {person}"
        bodies.append(BodyTrack(person, said, rows_at, poses, usual_betas(betas), places * [1, 1, depth], None))
    warnings.append(
        f"{file}: PHALP knows no camera: one that stands still, of {focal:.0f} px focal length, is taken, and distances are "
        "as uncertain as that; it writes no keypoints and no depth maps, so the scale starts at 1"
    )
    if ghosts:
        warnings.append(f"{file}: {ghosts} rows where the tracker only predicted are left out")
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies=people_of(bodies, cameras.frame_ids, str(file), warnings),
        alpha=1.0,
    )


def _lists(fields: Fields) -> dict[str, list[Any]]:
    """The lists of one frame that have an entry for each track, all of one length."""
    names = ("tid", "tracked_time", "bbox", "smpl", "camera", "size")
    lists = {name: fields.raw(name) for name in names}
    lengths = {name: len(value) if isinstance(value, list | tuple | np.ndarray) else None for name, value in lists.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"{fields.source}: lists of one length are expected, one entry for each track; found {found}")
    return lists
