"""The same of tools whose people stand in the world, or whose cameras are metric."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
from upstream_truth import IDS, NUM_FRAMES, SIZE, Truth
from upstream_writers import SMPL_ROOT, Change, rotmats, unchanged


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
