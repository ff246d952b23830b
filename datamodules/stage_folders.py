"""Writes the folders of stages 1 to 4 as Multi-TRAM's released code leaves them."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STAGES = {1: "1_camera_estimation", 2: "2_tracking", 3: "3_pose_estimation", 4: "4_world_space"}
"""The folder of each upstream stage."""


@dataclass(frozen=True)
class PosedBodies:
    """Bodies in some axes, rows for all frames.

    Attributes:
        global_orient: (P, T, 3).
        transl: (P, T, 3) metres, smplx's: the pelvis less J0.
        joints: (P, T, 24, 3) metres, or of SMPL-X's 55.
    """

    global_orient: np.ndarray
    transl: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True)
class Stages:
    """What the upstream stages found on one clip, of people 1 to P on frames 0 to T - 1. Values on frames where a person was not seen are
    not written.

    Attributes:
        w2c: (T, 4, 4) in stage 1's unit.
        intrinsics: (3, 3) in pixels.
        image_size: width and height in pixels.
        fps: frames a second.
        depth: (T, h, w) in stage 1's unit, or None.
        who: (T, h, w) index of the person at each cell, -1 for none; or None.
        keypoints: (P, T, 24, 3) pixels and confidence.
        boxes: (P, T, 4) centre, width and height in pixels.
        seen: (P, T) bool.
        body_pose: (P, T, 23, 3).
        camera: of stage 3.
        world: of stage 4.
        hand_pose: (P, T, 30, 3) of bodies with SMPL-X's joints, left and right hand; None of others.
    """

    w2c: np.ndarray
    intrinsics: np.ndarray
    image_size: tuple[int, int]
    fps: float
    depth: np.ndarray | None
    who: np.ndarray | None
    keypoints: np.ndarray
    boxes: np.ndarray
    seen: np.ndarray
    body_pose: np.ndarray
    camera: PosedBodies
    world: PosedBodies
    hand_pose: np.ndarray | None = None


def boxes_around(pixels: np.ndarray, margin: float) -> np.ndarray:
    """(..., 4) centre, width and height of boxes round points (..., N, 2)."""
    low, high = pixels.min(-2) - margin, pixels.max(-2) + margin
    return np.concatenate([(low + high) / 2, high - low], -1)


def write_stages(folder: Path, stages: Stages) -> None:
    """Writes the four folders, which must not exist."""
    paths = {stage: folder / name for stage, name in STAGES.items()}
    for path in (paths[1] / "depth_maps", paths[2] / "detections", paths[2] / "masks", paths[3], paths[4]):
        path.mkdir(parents=True)
    num_frames = len(stages.w2c)
    intrinsics = np.tile(stages.intrinsics, (num_frames, 1, 1))
    np.savez(paths[1] / "cameras.npz", poses=stages.w2c, intrinsics=intrinsics, confidence=np.ones(num_frames))
    about = {"num_frames": num_frames, "image_size": stages.image_size, "fps": stages.fps}
    (paths[1] / "metadata.json").write_text(json.dumps(about))
    for t in range(num_frames):
        if stages.depth is not None:
            np.save(paths[1] / "depth_maps" / f"depth_{t:06d}.npy", stages.depth[t].astype(np.float32))
        _write_detections(paths[2], stages, t)
    rows = {person: np.flatnonzero(seen) for person, seen in enumerate(stages.seen, start=1)}
    frames: dict[str, Any] = {f"track_{person}_frames": at for person, at in rows.items()}
    boxes: dict[str, Any] = {f"track_{person}_bboxes": stages.boxes[person - 1, at] for person, at in rows.items()}
    np.savez(paths[2] / "tracks.npz", **frames, **boxes)
    for person, at in rows.items():
        for stage, kind, bodies in ((3, "camera", stages.camera), (4, "world", stages.world)):
            _write_person(paths[stage] / f"person_{person:03d}", kind, bodies, stages, person, at)


def _write_detections(folder: Path, stages: Stages, t: int) -> None:
    found = []
    for p in np.flatnonzero(stages.seen[:, t]):
        points, box = stages.keypoints[p, t].tolist(), stages.boxes[p, t].tolist()
        found.append({"track_id": int(p) + 1, "bbox": box, "confidence": 0.9, "keypoints_2d": points})
        if stages.who is not None:
            np.save(folder / "masks" / f"frame_{t:06d}_person_{p + 1:03d}.npy", stages.who[t] == p)
    with (folder / "detections" / f"frame_{t:06d}.pkl").open("wb") as stream:
        pickle.dump(found, stream)


def _write_person(folder: Path, kind: str, bodies: PosedBodies, stages: Stages, person: int, rows: np.ndarray) -> None:
    folder.mkdir()
    p = person - 1
    parameters = {"global_orient": bodies.global_orient[p, rows], "transl": bodies.transl[p, rows]}
    if stages.hand_pose is not None:
        hands = stages.hand_pose[p, rows]
        parameters |= {"left_hand_pose": hands[:, :15], "right_hand_pose": hands[:, 15:]}
    np.savez(folder / f"smpl_params_{kind}.npz", poses=stages.body_pose[p, rows], betas=np.zeros(10), **parameters)
    if kind == "camera":
        np.save(folder / "joints_camera.npy", bodies.joints[p, rows])
        about = {"track_id": person, "start_frame": int(rows[0]), "end_frame": int(rows[-1]), "num_frames": len(rows)}
        (folder / "metadata.json").write_text(json.dumps(about | {"frames": rows.tolist()}))
