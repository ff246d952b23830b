"""Writes files exactly as the upstream tools lay them out; `change` may spoil the main file's content before it is written."""

from __future__ import annotations

import collections
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from upstream_truth import IDS, NUM_FRAMES, SIZE, Truth

from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT

Change = Callable[[Any], None]
SMPL_ROOT, SMPLX_ROOT = np.array(TEMPLATE_ROOT[24]), np.array(TEMPLATE_ROOT[22])
FOCAL_OF_DIAGONAL = float(np.hypot(*SIZE))


def rotmats(rotvec: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(*rotvec.shape[:-1], 3, 3).astype(np.float32)


def unchanged(_: Any) -> None:
    pass


def write_tram(folder: Path, truth: Truth, change: Change = unchanged, change_hps: Change = unchanged) -> Path:
    """The second person has the longer track in `tracks.npy` (the tracker saw it where the network did not), so k runs against the ids."""
    (folder / "hps").mkdir(parents=True)
    c2w = truth.c2w.astype(np.float32)
    camera = {"pred_cam_R": c2w[:, :3, :3], "pred_cam_T": c2w[:, :3, 3], "img_focal": np.float64(truth.intrinsics[0, 0])}
    camera["img_center"] = truth.intrinsics[:2, 2]
    change(camera)
    np.save(folder / "camera.npy", camera, allow_pickle=True)
    boxes = truth.boxes()
    tracks = {
        IDS[p]: [
            {"frame": t, "det": bool(truth.seen[p, t]), "det_box": np.array([[*boxes[p, t], 0.9]]), "seg_box": boxes[p, t][None]}
            for t in range(NUM_FRAMES - (p == 0))
        ]
        for p in range(2)
    }
    np.save(folder / "tracks.npy", tracks, allow_pickle=True)
    np.save(folder / "boxes.npy", boxes)
    for k, p in enumerate((1, 0)):
        rows = truth.rows(p)[: NUM_FRAMES - (p == 0)]
        hps = {
            "pred_cam": torch.ones(len(rows), 3),
            "pred_pose": torch.zeros(len(rows), 144),
            "pred_shape": torch.zeros(len(rows), 10),
            "pred_rotmat": torch.from_numpy(rotmats(truth.camera_pose[p, rows])),
            "pred_trans": torch.from_numpy(truth.camera_pelvis[p, rows] - SMPL_ROOT).float()[:, None],
            "frame": torch.from_numpy(rows),
        }
        change_hps(hps)
        np.save(folder / "hps" / f"hps_track_{k}.npy", hps, allow_pickle=True)
    return folder


def write_phalp(folder: Path, truth: Truth, change: Change = unchanged) -> Path:
    """The last frames of the second person are ghosts."""
    (folder / "results").mkdir(parents=True)
    focal = 5000 * max(SIZE) / 256
    boxes, pose = truth.boxes(), rotmats(truth.camera_pose)
    content = {}
    for t in range(NUM_FRAMES):
        names = ("tid", "bbox", "tracked_time", "smpl", "camera", "camera_bbox", "size", "conf", "center", "scale", "2d_joints", "mask")
        frame: dict[str, Any] = {"time": t, "shot": 0, "frame_path": f"frames/{t + 1:06d}.jpg", **{name: [] for name in names}}
        for p in range(2):
            ghost = not truth.seen[p, t]
            smpl = {"global_orient": pose[p, t, :1], "body_pose": pose[p, t, 1:], "betas": np.zeros(10, np.float32)}
            transl = truth.camera_pelvis[p, t] - SMPL_ROOT
            entry = {
                "tid": IDS[p],
                "bbox": np.array([*boxes[p, t, :2], *(boxes[p, t, 2:] - boxes[p, t, :2])]),
                "tracked_time": int(ghost),
                "smpl": {name: value * np.float32(not ghost) + np.float32(ghost) for name, value in smpl.items()} if ghost else smpl,
                "camera": np.array([transl[0], transl[1], transl[2] * focal / truth.intrinsics[0, 0]], np.float32),
                "camera_bbox": np.ones(3, np.float32),
                "size": [SIZE[1], SIZE[0]],
                "conf": np.float32(0.9),
                "center": np.zeros(2),
                "scale": np.ones(2),
                "2d_joints": np.zeros(90, np.float32),
                "mask": [{"size": [SIZE[1], SIZE[0]], "counts": b"PP"}],
            }
            for name, value in entry.items():
                frame[name].append(value)
        frame["tracked_ids"] = [IDS[p] for p in range(2) if truth.seen[p, t]]
        content[frame["frame_path"]] = frame
    change(content)
    path = folder / "results" / "demo_walk.pkl"
    joblib.dump(content, path, compress=3)
    return path


def write_wham(
    folder: Path, truth: Truth, change: Change = unchanged, *, slam: bool = True, tracking: bool = True, unit: float = 0.4
) -> Path:
    """Each person in a world of its own, y up; the camera's path in a world and a unit that are neither's."""
    folder.mkdir(parents=True)
    results: dict[int, dict[str, np.ndarray]] = collections.defaultdict(dict)
    detections: dict[int, dict[str, Any]] = collections.defaultdict(dict)
    points = truth.keypoints("coco17")
    for p, person in enumerate(IDS):
        rows = truth.rows(p)
        own = truth if p == 0 else truth.turned(Rotation.from_euler("y", 50, degrees=True), (2.0, 0, -3.0))
        results[person] = {
            "pose": truth.camera_pose[p, rows].reshape(-1, 72).astype(np.float32),
            "trans": (truth.camera_pelvis[p, rows] - SMPL_ROOT).astype(np.float32),
            "pose_world": own.pose[p, rows].reshape(-1, 72).astype(np.float32),
            "trans_world": (own.pelvis[p, rows] - SMPL_ROOT).astype(np.float32),
            "betas": np.zeros((len(rows), 10), np.float32),
            "verts": np.zeros((len(rows), 30, 3), np.float32),
            "frame_ids": rows,
        }
        detections[person] = {"frame_id": rows, "keypoints": points[p, rows], "bbox": np.ones((len(rows), 3))}
    change(results)
    joblib.dump(results, folder / "wham_output.pkl")
    if tracking:
        joblib.dump(detections, folder / "tracking_results.pth")
    if slam:
        other = truth.turned(Rotation.from_euler("xyz", [120, 30, 10], degrees=True), (1.0, 2.0, 3.0)).c2w
        quat = Rotation.from_matrix(other[:, :3, :3]).as_quat()
        joblib.dump(np.concatenate([other[:, :3, 3] * unit, quat], 1), folder / "slam_results.pth")
    return folder / "wham_output.pkl"


def write_gvhmr(folder: Path, truth: Truth, change: Change = unchanged, *, slam: str = "", observed: bool = True) -> Path:
    """The first person alone, on all frames."""
    (folder / "preprocess").mkdir(parents=True)

    def parameters(pose: np.ndarray, pelvis: np.ndarray) -> dict[str, torch.Tensor]:
        return {
            "body_pose": torch.from_numpy(pose[:, 1:22].reshape(-1, 63)).float(),
            "betas": torch.zeros(len(pose), 10),
            "global_orient": torch.from_numpy(pose[:, 0].copy()).float(),
            "transl": torch.from_numpy(pelvis - SMPLX_ROOT).float(),
        }

    content = {
        "smpl_params_global": parameters(truth.pose[0], truth.pelvis[0]),
        "smpl_params_incam": parameters(truth.camera_pose[0], truth.camera_pelvis[0]),
        "K_fullimg": torch.from_numpy(np.tile(truth.intrinsics, (NUM_FRAMES, 1, 1))).float(),
        "net_outputs": {"static_conf_logits": torch.zeros(1, NUM_FRAMES, 6)},
    }
    change(content)
    torch.save(content, folder / "hmr4d_results.pt")
    if observed:
        torch.save(torch.from_numpy(truth.keypoints("coco17")[0]).float(), folder / "preprocess" / "vitpose.pt")
        torch.save({"bbx_xyxy": torch.from_numpy(truth.boxes()[0]).float(), "bbx_xys": torch.zeros(NUM_FRAMES, 3)}, folder / "bbx.pt")
    other = truth.turned(Rotation.from_euler("xyz", [100, 30, 10], degrees=True)).c2w
    other[:, :3, 3] *= 2.5
    if slam == "dpvo":
        quat = Rotation.from_matrix(other[:, :3, :3]).as_quat()
        torch.save(np.concatenate([other[:, :3, 3], quat], 1), folder / "preprocess" / "slam_results.pt")
    elif slam:
        torch.save(np.linalg.inv(other), folder / "preprocess" / "slam_results.pt")
    return folder


def write_prompthmr(
    folder: Path, truth: Truth, change: Change = unchanged, *, world: bool = True, essential: bool = False, tensors: bool = False
) -> Path:
    """After PromptHMR's own optimisation, so `Twc` and `pred_cam_*` of the world are out of date."""
    folder.mkdir(parents=True)
    first = truth.turned(Rotation.from_matrix(truth.w2c[0, :3, :3]))
    camera = {"pred_cam_R": first.c2w[:, :3, :3], "pred_cam_T": first.c2w[:, :3, 3], "img_focal": truth.intrinsics[0, 0]}
    camera["img_center"] = truth.intrinsics[:2, 2]
    rotation, translation = truth.w2c[:, :3, :3], truth.w2c[:, :3, 3]
    content: dict[str, Any] = {"camera": camera, "people": {}, "timings": {}, "has_tracks": True, "contact_joint_ids": [7, 10, 8, 11]}
    points, boxes = truth.keypoints("openpose25"), truth.boxes()
    for p, person in enumerate(IDS):
        rows = truth.rows(p)
        pose, hands = truth.camera_pose[p, rows], np.tile(np.eye(3), (len(rows), 33, 1, 1))
        cam = {
            "pose": np.concatenate([pose[:, :22].reshape(-1, 66), np.zeros((len(rows), 9))], 1),
            "rotmat": np.concatenate([rotmats(pose[:, :22]), hands], 1),
            "shape": np.zeros((len(rows), 10)),
            "trans": truth.camera_pelvis[p, rows] - SMPLX_ROOT,
        }
        cam = {name: torch.from_numpy(value) for name, value in cam.items()} if tensors else cam
        about = {"frames": rows, "bboxes": boxes[p, rows], "detected": np.ones(len(rows), bool), "track_id": person, "smplx_cam": cam}
        if world:
            flat = np.concatenate([truth.pose[p, rows, :22].reshape(-1, 66), np.zeros((len(rows), 99))], 1)
            about["smplx_world"] = {"pose": flat, "shape": np.zeros((len(rows), 10)), "trans": truth.pelvis[p, rows] - SMPLX_ROOT}
        if not essential:
            about["keypoints_2d"] = np.concatenate([points[p, rows], np.zeros((len(rows), 110, 3))], 1)
        content["people"][person] = about
    if world:
        stale = {"Rwc": truth.c2w[:, :3, :3], "Twc": -np.einsum("tij,tj->ti", rotation, translation), "pred_cam_R": np.zeros((1, 3, 3))}
        content["camera_world"] = {"Rcw": rotation, "Tcw": translation, **stale, **{k: camera[k] for k in ("img_focal", "img_center")}}
    change(content)
    joblib.dump(content, folder / "results.pkl")
    return folder


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
