"""Writes files exactly as newer tools lay them out; `change` may spoil the main file before it is written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from upstream_truth import IDS, NUM_FRAMES, SIZE, Truth
from upstream_writers import SMPL_ROOT, SMPLX_ROOT, Change, rotmats, unchanged

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.capture.mhr70 import keypoints_of_body


def _parameters(pose: np.ndarray, pelvis: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "body_pose": pose[:, 1:22].reshape(-1, 63).astype(np.float32),
        "betas": np.zeros((len(pose), 10), np.float32),
        "global_orient": pose[:, 0].astype(np.float32),
        "transl": (pelvis - SMPLX_ROOT).astype(np.float32),
    }


def write_gvhmr_spellings(folder: Path, truth: Truth, change: Change = unchanged, *, spelling: str = "comfyui") -> Path:
    """The first person alone, on all frames."""
    folder.mkdir(parents=True)
    camera, world = _parameters(truth.camera_pose[0], truth.camera_pelvis[0]), _parameters(truth.pose[0], truth.pelvis[0])
    intrinsics = np.tile(truth.intrinsics, (NUM_FRAMES, 1, 1)).astype(np.float32)
    boxes = truth.boxes()[0]
    content: dict[str, Any]
    if spelling == "comfyui":
        content = {**world, "global_orient_incam": camera["global_orient"], "transl_incam": camera["transl"], "K_fullimg": intrinsics}
        content |= {
            "R_cam2world": truth.c2w[:, :3, :3],
            "t_cam2world": np.zeros((NUM_FRAMES, 3)),
            "img_width": SIZE[0],
            "img_height": SIZE[1],
        }
        path = folder / "smpl_params_walk.npz"
    elif spelling == "pypi":
        content = {f"world_{name}": value for name, value in world.items()} | {f"camera_{name}": value for name, value in camera.items()}
        size = (boxes[:, 2:] - boxes[:, :2]).max(1)
        content |= {"intrinsics": intrinsics, "fps": 30.0, "camera": "static", "kp2d": truth.keypoints("coco17")[0]}
        content["bbx_xys"] = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, size[:, None]], 1)
        path = folder / "walk.npz"
    else:
        parts = {"body_params_incam": camera, "body_params_global": world}
        content = {key: {name: torch.from_numpy(value) for name, value in part.items()} for key, part in parts.items()}
        content |= {"K_fullimg": torch.from_numpy(intrinsics), "segment_info": {}}
        path = folder / "smpl_params.pt"
    change(content)
    if path.suffix == ".pt":
        torch.save(content, path)
    else:
        np.savez(path, **content)
    return path


def write_comotion(folder: Path, truth: Truth, change: Change = unchanged, *, boxes: bool = True) -> Path:
    folder.mkdir(parents=True)
    people, frames = np.nonzero(truth.seen)
    content = {
        "id": torch.tensor([IDS[p] for p in people]),
        "pose": torch.from_numpy(truth.camera_pose[people, frames].reshape(-1, 72)).float(),
        "trans": torch.from_numpy(truth.camera_pelvis[people, frames] - SMPL_ROOT).float(),
        "betas": torch.zeros(len(people), 10),
        "frame_idx": torch.from_numpy(frames),
    }
    change(content)
    torch.save(content, folder / "walk.pt")
    if boxes:
        middle = truth.camera_pelvis @ truth.intrinsics.T
        middle = middle[..., :2] / middle[..., 2:]
        corner, lines = middle - 30, []
        corner[..., 1] += 0.05 * truth.intrinsics[0, 0] / truth.camera_pelvis[..., 2]
        for p, t in zip(people.tolist(), frames.tolist(), strict=True):
            lines.append(f"{t + 1},{IDS[p]},{corner[p, t, 0]:.3f},{corner[p, t, 1]:.3f},60,60,1,-1,-1,-1")
        (folder / "walk.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_human3r(folder: Path, truth: Truth, change: Change = unchanged) -> Path:
    (folder / "smpl").mkdir(parents=True)
    head = truth.camera_joints[:, :, index_of("head")]
    for t in range(NUM_FRAMES):
        people = [p for p in range(2) if truth.seen[p, t]]
        turns = np.zeros((len(people), 53, 3))
        turns[:, :22] = truth.camera_pose[people, t, :22]
        content: dict[str, Any] = {"shape": np.zeros((len(people), 10)), "rotvec": turns, "transl": head[people, t]}
        content |= {
            "smpl_id": np.array([IDS[p] for p in people]),
            "scores": np.ones(len(people)),
            "expression": np.zeros((len(people), 10)),
        }
        content |= {"cam2world": truth.c2w[t], "intrinsics": truth.intrinsics}
        change(content)
        np.savez(folder / "smpl" / f"{t:06d}.npz", **content)
    return folder


def write_josh(folder: Path, truth: Truth, change: Change = unchanged) -> Path:
    """Depth of 2 m on the first map and 3 m on the second, a corner of each without."""
    (folder / "josh").mkdir(parents=True)
    depth = np.full((2, 18, 32), 2.0)
    depth[1], depth[:, 0, 0] = 3.0, 0.0
    scene = {"pred_cam": truth.c2w, "depth_hw": depth, "rgb_hw3": np.zeros((2, 18, 32, 3), np.uint8), "conf_hw": np.ones_like(depth)}
    scene |= {"intrinsics": truth.intrinsics, "img_idx": np.array([0, 8]), "eval_metrics": {}}
    change(scene)
    joblib.dump(scene, folder / "josh" / "scene.pkl")
    for p, person in enumerate(IDS):
        rows = truth.rows(p)
        hps = {
            "pred_rotmat": torch.from_numpy(rotmats(truth.camera_pose[p, rows])),
            "pred_shape": torch.zeros(len(rows), 10),
            "pred_trans": torch.from_numpy(truth.camera_pelvis[p, rows] - SMPL_ROOT).float()[:, None],
            "frame": torch.from_numpy(rows),
            "boxes": truth.boxes()[p, rows],
            "id": person,
        }
        np.save(folder / "josh" / f"hps_track_{person}.npy", hps, allow_pickle=True)
    return folder


FEW = 5
"""Images of SAM 3D Body's, which takes its time."""


def mhr_keypoints(truth: Truth) -> np.ndarray:
    """(P, T, 70, 3) metres in the camera, of bodies of the built-in proportions."""
    pose = np.zeros((*truth.pose.shape[:2], 55, 3))
    pose[:, :, :22] = truth.camera_pose[:, :, :22]
    joints, turned = forward_kinematics(torch.from_numpy(pose), rest_joints())
    points, _ = keypoints_of_body()
    places = joints[:, :, points.joint] + (turned[:, :, points.joint] @ points.offset[:, :, None])[..., 0]
    return places.numpy() + truth.camera_pelvis[:, :, None]


def write_sam3d_body(
    folder: Path, truth: Truth, change: Change = unchanged, *, layout: str = "files", ids: bool = False, swap: bool = False
) -> Path:
    """A file for each of the first images with its people, or all in one; `swap` lists people in another order on every other image."""
    folder.mkdir(parents=True)
    keypoints, boxes, frames = mhr_keypoints(truth), truth.boxes(), []
    for t in range(FEW):
        people = []
        for p in range(2):
            if not truth.seen[p, t]:
                continue
            place = truth.camera_pelvis[p, t]
            pixels = keypoints[p, t] @ truth.intrinsics.T
            person = {"bbox": boxes[p, t], "focal_length": truth.intrinsics[0, 0], "pred_keypoints_3d": keypoints[p, t] - place}
            person |= {"pred_keypoints_2d": pixels[:, :2] / pixels[:, 2:], "pred_cam_t": place, "pred_vertices": np.zeros((30, 3))}
            person |= {"pred_global_rots": np.zeros((127, 3, 3)), "mask": None, **({"track_id": IDS[p]} if ids else {})}
            change(person)
            people.append(person)
        frames.append(people[::-1] if swap and t % 2 else people)
    if layout == "list":
        with (folder / "walk.pkl").open("wb") as stream:
            pickle.dump(frames, stream)
        return folder / "walk.pkl"
    if layout == "dict":
        torch.save({f"frames/{t:05d}.jpg": people for t, people in enumerate(frames)}, folder / "walk.pt")
        return folder / "walk.pt"
    for t, people in enumerate(frames):
        for p, person in enumerate(people):
            np.savez(folder / f"{t:05d}_subj{p:02d}.npz", **{name: value for name, value in person.items() if value is not None})
    return folder
