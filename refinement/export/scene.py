"""All people of a clip and its cameras in one world: `<name>_scene.json`, which says what there is, and `<name>_scene.npz`, the arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize
from pose_priors.configs.writing import write_json, written_aside
from pose_priors.refinement.export.people import AnimatedSkeleton, Exported
from pose_priors.refinement.export.views import Views

SCHEMA = "pose-priors/scene/1"
"""Of the JSON; the number changes where a reader of the old one would be wrong."""


def write_scene(path: Path, exported: Exported, views: Views) -> None:
    """Writes the JSON to `path` and the arrays to the npz of the same name beside it. docs/exports.md has the schema."""
    arrays: dict[str, np.ndarray] = {
        "cameras/frames": views.frames,
        "cameras/w2c": views.w2c.astype(np.float32),
        "cameras/intrinsics": views.intrinsics.astype(np.float32),
    }
    people = []
    for person in exported.people:
        own = _arrays(person)
        keys = {name: f"person_{person.person:03d}/{name}" for name in own}
        arrays |= {keys[name]: value for name, value in own.items()}
        first, last = int(person.frames[0]), int(person.frames[-1])
        people.append(
            {
                "id": person.person,
                "first_frame": first,
                "last_frame": last,
                "joint_names": list(person.names),
                "parents": list(person.parents),
                "arrays": keys,
            }
        )
    with written_aside(path.with_suffix(".npz")) as aside, aside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    content = {
        "schema": SCHEMA,
        "name": exported.name,
        "fps": exported.fps,
        "arrays": path.with_suffix(".npz").name,
        "world": {"unit": "metre", "up": "z", "floor": 0.0, "right_of_first_camera": "x"},
        "cameras": {
            "axes": "OpenCV: x right, y down, z forward",
            "image_size": list(views.image_size),
            "arrays": {name: f"cameras/{name}" for name in ("frames", "w2c", "intrinsics")},
        },
        "people": people,
    }
    write_json(path, content)


def _arrays(person: AnimatedSkeleton) -> dict[str, np.ndarray]:
    rotvec = canonicalize(conversions.rotmat_to_rotvec(torch.from_numpy(person.rotmat))).numpy()
    sigma = np.full(rotvec.shape[:2], np.nan) if person.joint_sigma_mm is None else person.joint_sigma_mm
    single = {
        "joints": person.joints,
        "rotvec": rotvec,
        "pelvis": person.pelvis,
        "offsets": person.offsets,
        "betas": person.betas,
        "joint_sigma_mm": sigma,
    }
    return {"frames": person.frames, "visible": person.visible, **{name: value.astype(np.float32) for name, value in single.items()}}
