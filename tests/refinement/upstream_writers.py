"""Writes files exactly as tools lay them out whose people stand in the camera; `change` may spoil the main file before it is written."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def as_first_release(folder: Path, truth: Truth, scale: float) -> Path:
    """A folder of TRAM's in the names of its first release, with a third person who was tracked longest and seen on every other frame."""
    camera = np.load(folder / "camera.npy", allow_pickle=True).item()
    quat = Rotation.from_matrix(truth.c2w[:, :3, :3]).as_quat()
    traj = np.concatenate([truth.c2w[:, :3, 3] / scale, quat], 1).astype(np.float32)
    slam = {"tstamp": np.arange(0, NUM_FRAMES, 3), "disps": np.ones((2, 3, 4), np.float32), "traj": traj}
    np.savez(folder / "masked_droid_slam.npz", **slam, img_focal=camera["img_focal"], img_center=camera["img_center"], scale=scale)
    (folder / "camera.npy").unlink()
    for file in (folder / "hps").iterdir():
        file.rename(file.with_name(file.name.replace("hps", "vimo")))
    tracks = np.load(folder / "tracks.npy", allow_pickle=True).item()
    box = np.array([[1.0, 2.0, 30.0, 40.0, 0.9]])
    odd = [{"frame": t, "det": t < NUM_FRAMES and t % 2 == 0, "det_box": box, "seg_box": box[:, :4]} for t in range(NUM_FRAMES + 4)]
    np.save(folder / "tracks.npy", {9: odd, **tracks}, allow_pickle=True)
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
