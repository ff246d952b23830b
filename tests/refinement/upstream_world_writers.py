"""The same of tools whose people stand in the world, or whose cameras are metric, and of newer tools."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import torch
from upstream_truth import IDS, NUM_FRAMES, SIZE, Truth
from upstream_writers import SMPL_ROOT, SMPLX_ROOT, Change, rotmats, unchanged

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.capture.mhr70 import keypoints_of_body


def write_slahmr(folder: Path, truth: Truth, change: Change = unchanged, *, info: bool = True) -> Path:
    """Rows where a person was not seen hold what SLAHMR optimised there; an earlier iteration lies beside and must not be read."""
    (folder / "motion_chunks").mkdir(parents=True)
    (folder / "root_fit").mkdir()
    order = (1, 0)
    content = {
        "trans": truth.pelvis[order, :] - SMPL_ROOT,
        "root_orient": truth.pose[order, :, 0],
        "pose_body": truth.pose[order, :, 1:22].reshape(2, NUM_FRAMES, 63),
        "pose_hand": np.zeros((2, NUM_FRAMES, 90)),
        "betas": np.zeros((2, 16)),
        "latent_pose": np.zeros((2, 1, 32)),
        "world_scale": np.array([[1.7]]),
        "floor_plane": 0.8 * truth.up[None],
        "floor_idcs": np.zeros(2),
        "cam_R": np.stack([truth.w2c[:, :3, :3]] * 2),
        "cam_t": np.stack([truth.w2c[:, :3, 3]] * 2),
        "intrins": truth.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]],
        "track_mask": truth.seen[order, :],
    }
    change(content)
    path = folder / "motion_chunks" / "walk_000080_world_results.npz"
    np.savez(path, **content)
    for other in ("motion_chunks/walk_000020_world_results.npz", "root_fit/walk_000100_world_results.npz"):
        np.savez(folder / other, **(content | {"trans": np.zeros((2, NUM_FRAMES, 3))}))
    if info:
        tracks = {f"{IDS[p]:03d}": {"index": row, "vis_mask": truth.seen[p].astype(int).tolist()} for row, p in enumerate(order)}
        (folder / "track_info.json").write_text(json.dumps({"tracks": tracks, "meta": {"seq_interval": [0, NUM_FRAMES]}}))
    return folder


def write_megahunter(folder: Path, truth: Truth, change: Change = unchanged, *, step: int = 1, names_at: str = "file") -> Path:
    """Points of the floor in the world, people's cells marked as moving."""
    folder.mkdir(parents=True)
    path = folder / "megahunter_megasam_reconstruction_results_walk_cam01_frame_0_16_subsample_1.h5"
    grid = (36, 64)
    small = np.diag([grid[1] / SIZE[0], grid[0] / SIZE[1], 1]) @ truth.intrinsics
    rows, columns = (axis.ravel() + 0.5 for axis in np.mgrid[: grid[0], : grid[1]])
    rays = np.stack([columns, rows, np.ones(len(rows))], 1) @ np.linalg.inv(small).T
    with h5py.File(path, "w") as file:
        names = [f"{1 + 4 + t * step:05d}" for t in range(NUM_FRAMES)]
        for t, name in enumerate(names):
            group = file.create_group(f"our_pred_world_cameras_and_structure/{name}")
            c2w = truth.c2w[t]
            along = rays @ c2w[:3, :3].T @ truth.up
            high = float((c2w[:3, 3] - truth.ground) @ truth.up)
            depth = np.where(along < -0.05, -high / np.minimum(along, -0.05), 20.0)
            group["pts3d"] = ((rays * depth[:, None]) @ c2w[:3, :3].T + c2w[:3, 3]).reshape(*grid, 3).astype(np.float32)
            group["depths"] = (depth / 1.9).reshape(grid)
            group["cam2world"], group["intrinsic"] = c2w, small
            group["rgbimg"], group["conf"], group["dynamic_msk"] = np.zeros((*grid, 3)), np.ones(grid), np.zeros(grid, bool)
        for p, person in enumerate(IDS):
            at = truth.rows(p)
            group, pose = file.create_group(f"our_pred_humans_smplx_params/{person}"), rotmats(truth.pose[p, at])
            group["body_pose"], group["global_orient"] = pose[:, 1:], pose[:, :1]
            group["root_transl"], group["betas"] = truth.pelvis[p, at][:, None], np.zeros((len(at), 10))
            listed = [(names[t],) for t in at]
            if names_at == "file":
                file.attrs[f"/person_frame_info_list/{person}"] = listed
            elif names_at == "group":
                file.require_group("person_frame_info_list").attrs[str(person)] = listed
            else:
                file[f"person_frame_info_list/{person}"] = np.array(listed, dtype="S5")
        change(file)
    return path


def write_glamr(folder: Path, truth: Truth, change: Change = unchanged) -> Path:
    """`kp_2d` in GLAMR's own order of 26 points; the frames on which a person is hidden hold GLAMR's guesses."""
    (folder / "grecon").mkdir(parents=True)
    point_of_joint = {0: 0, 1: 1, 2: 2, 4: 4, 5: 5, 7: 7, 8: 8, 12: 6, 16: 20, 17: 21, 18: 22, 19: 23, 20: 24, 21: 25}
    smpl = truth.keypoints("smpl24")
    people = {}
    for p, person in enumerate(IDS):
        points = np.zeros((NUM_FRAMES, 26, 3))
        for joint, point in point_of_joint.items():
            points[:, point] = smpl[p, :, joint]
        seen = truth.seen[p]
        people[person] = {
            "visible": seen.astype(float),
            "vis_frames": seen,
            "exist_frames": np.ones(NUM_FRAMES, bool),
            "frames": np.arange(NUM_FRAMES),
            "frame2ind": {t: t for t in range(NUM_FRAMES)},
            "scale": None,
            "smpl_pose": truth.pose[p, :, 1:].reshape(-1, 69),
            "smpl_beta": np.zeros((NUM_FRAMES, 10)),
            "smpl_orient_world": truth.pose[p, :, 0],
            "root_trans_world": truth.pelvis[p],
            "kp_2d": points[..., :2],
            "kp_2d_score": points[..., 2],
            "cam_K": np.where(seen[:, None, None], truth.intrinsics, 0.0),
        }
    content = {"seq_name": "walk", "person_data": people, "seq_len": NUM_FRAMES, "cam_pose": truth.w2c, "cam_pose_inv": truth.c2w}
    content |= {"rel_transform_cam": {(0, 1): np.eye(4)}, "gt": {}, "gt_meta": {}, "meta": {"algo": "global_recon", "num_fr": NUM_FRAMES}}
    change(content)
    path = folder / "grecon" / "walk_seed1.pkl"
    with path.open("wb") as stream:
        pickle.dump(content, stream)
    return path


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
