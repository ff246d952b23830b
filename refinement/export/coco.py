"""Refined people as keypoints in their images: COCO's 17 in COCO's own JSON (Lin et al., "Microsoft COCO", ECCV 2014)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.body.pinhole import project, to_camera
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.writing import write_json
from pose_priors.refinement.export.people import AnimatedSkeleton, Exported
from pose_priors.refinement.export.views import Views

KEYPOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
"""Of COCO, in its order."""
_EDGES = ((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11))
_EDGES_OF_FACE = ((2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7))
_OF_SMPLX = {"left_eye": "left_eye_smplhf", "right_eye": "right_eye_smplhf"}
_ABSENT, _HIDDEN, _SEEN = 0, 1, 2  # COCO's flags: not labelled; labelled, not visible; labelled and visible


def write_coco(path: Path, exported: Exported, views: Views) -> None:
    """One file of all people: an image for each frame on which anybody is there, an annotation for each person that is in it.

    A keypoint is a joint of the body, flagged 2, or 1 on frames on which the input does not see the person; it is 0, 0 and flagged 0
    where no joint stands for it (nose and ears, and eyes of bodies without them), behind the camera and outside of the image.
    """
    width, height = views.image_size
    place = {frame: at for at, frame in enumerate(views.frames.tolist())}
    annotations: list[dict[str, Any]] = []
    for person in exported.people:
        at = [place[frame] for frame in person.frames.tolist()]
        pixels = project(to_camera(person.joints, views.w2c[at]), views.intrinsics[at])
        inside = np.all((pixels >= 0) & (pixels < [width, height]), axis=-1)
        for row, frame in enumerate(person.frames.tolist()):
            points = _keypoints(person, row, pixels[row], inside[row])
            if not inside[row].any():
                continue
            low, high = pixels[row][inside[row]].min(0), pixels[row][inside[row]].max(0)
            box = [round(float(value), 2) for value in (*low, *(high - low))]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame,
                    "category_id": 1,
                    "track_id": person.person,
                    "keypoints": [value for point in points for value in point],
                    "num_keypoints": sum(point[2] > 0 for point in points),
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                }
            )
    content = {
        "info": {"description": f"{exported.name}: refined people, their joints in the images"},
        "images": [{"id": frame, "file_name": f"{frame:06d}.jpg", "width": width, "height": height} for frame in views.frames.tolist()],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": KEYPOINTS, "skeleton": [*_EDGES, *_EDGES_OF_FACE]}],
    }
    write_json(path, content)


def _keypoints(person: AnimatedSkeleton, row: int, pixels: np.ndarray, inside: np.ndarray) -> list[tuple[float, float, int]]:
    points = []
    for name in KEYPOINTS:
        wanted = _OF_SMPLX.get(name, name)
        joint = JOINT_NAMES.index(wanted) if wanted in person.names else -1
        if joint < 0 or not inside[joint]:
            points.append((0.0, 0.0, _ABSENT))
        else:
            x, y = pixels[joint].tolist()
            points.append((round(x, 2), round(y, 2), _SEEN if person.visible[row] else _HIDDEN))
    return points
