"""A small clip as the upstream stages would leave it: people of spheres who walk on a tilted floor, in front of a camera that moves."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from body.builtin import rest_joints
from body.model import forward_kinematics
from refinement.skeletons import layout

SIZE = (640, 360)
GRID = (90, 160)
STAGES = ("1_camera_estimation", "2_tracking", "3_pose_estimation", "4_world_space")
_RADIUS = np.array(
    [0.12, 0.1, 0.1, 0.12, 0.07, 0.07, 0.12, 0.05, 0.05, 0.13, 0.04, 0.04, 0.06, 0.09, 0.09, 0.1, 0.055, 0.055] + [0.045] * 6
)
_ROOT = np.array([0.0, -0.22, 0.03])


@dataclass
class Clip:
    """What is true: joints (P, T, 24, 3) and pelvis in the stage 1 world in metres, poses there, cameras with metric translation."""

    folder: Path
    joints: np.ndarray
    pose: np.ndarray
    rest: np.ndarray
    seen: np.ndarray
    w2c: np.ndarray
    intrinsics: np.ndarray
    plane: np.ndarray
    alpha: float

    @property
    def stages(self) -> tuple[Path, ...]:
        return tuple(self.folder / stage for stage in STAGES)

    def rewrite(self, path: str, **changes: np.ndarray | None) -> None:
        """Changes some arrays of an npz; None removes one."""
        file = self.folder / path
        arrays = dict(np.load(file)) | changes
        np.savez(file, **{key: value for key, value in arrays.items() if value is not None})


def make_clip(
    folder: Path, naming: str = "released", *, alpha: float = 1.3, num_frames: int = 12, double_inverted: bool = False, depth: bool = True
) -> Clip:
    """Writes a clip of two people, the second hidden on frames 5 to 7."""
    of = layout(24)
    built_in = rest_joints().numpy()
    rest = np.concatenate([built_in[:22], built_in[[28, 43]]])
    sizes = np.array([1.0, 0.94])
    u = np.linspace(0, 1, num_frames)
    pose = np.zeros((2, num_frames, 24, 3))
    rng = np.random.default_rng(5)
    pelvis = np.zeros((2, num_frames, 3))
    lean = Rotation.from_euler("xz", [3, 2], degrees=True).as_matrix()
    up = lean @ [0, -1, 0]
    for p in range(2):
        swing = 0.35 * np.sin(2 * np.pi * u + p)
        pose[p] = 0.05 * rng.normal(size=(24, 3))
        pose[p, :, 1, 0], pose[p, :, 2, 0], pose[p, :, 16, 2], pose[p, :, 17, 2] = -swing, swing, -1.1, 1.1
        facing = Rotation.from_euler("y", 180 + 40 * (p - 0.5) + 20 * u[:, None], degrees=True)
        pose[p, :, 0] = (Rotation.from_matrix(lean) * Rotation.from_euler("x", 180, degrees=True) * facing).as_rotvec()
        pelvis[p] = lean @ [1.4 * p - 0.7, 0, 4.2 + 0.5 * p] + u[:, None] * (lean @ [0.2, 0, -0.3])
    rests = rest * sizes[:, None, None]
    posed, _ = forward_kinematics(torch.from_numpy(pose), torch.from_numpy(rests)[:, None], of.parents)
    joints = posed.numpy() + pelvis[:, :, None]
    plane = np.array([*up, 1.25])
    # the lower foot stands on the floor, its ball 17 mm above
    drop = (joints[:, :, [10, 11]] @ up + plane[3]).min(2) - 0.0175 * sizes[:, None]
    joints -= drop[..., None, None] * up

    centre = np.stack([1.2 * u - 0.6, -0.1 * np.sin(3 * u), 0.2 * u], 1)
    turn = Rotation.from_euler("yx", np.stack([-10 * u, 2 * u], 1), degrees=True).as_matrix()
    w2c = np.tile(np.eye(4), (num_frames, 1, 1))
    w2c[:, :3, :3], w2c[:, :3, 3] = turn, -np.einsum("tij,tj->ti", turn, centre)
    w2c = w2c @ np.linalg.inv(w2c[0])
    intrinsics = np.array([[330.0, 0, SIZE[0] / 2], [0, 330.0, SIZE[1] / 2], [0, 0, 1]])
    seen = np.ones((2, num_frames), bool)
    seen[1, 5:8] = False
    clip = Clip(folder, joints, pose, rests, seen, w2c, intrinsics, plane, alpha)
    _write(clip, naming, double_inverted, depth)
    return clip


def stage1_cameras(clip: Clip) -> np.ndarray:
    """(T, 4, 4) in stage 1's unit."""
    out = clip.w2c.copy()
    out[:, :3, 3] /= clip.alpha
    return out


def render(clip: Clip, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Metric depth (h, w) and the person at each cell, -1 for the scene: floor, and a wall behind."""
    h, w = GRID
    x, y = np.meshgrid((np.arange(w) + 0.5) * SIZE[0] / w, (np.arange(h) + 0.5) * SIZE[1] / h)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(clip.intrinsics).T
    rotation, shift = clip.w2c[t, :3, :3], clip.w2c[t, :3, 3]
    depth = np.full(GRID, np.inf)
    for normal, offset in ((clip.plane[:3], clip.plane[3]), (np.array([0.1, 0, -1.0]), 8.0)):
        there = rotation @ normal
        hit = -(offset - there @ shift) / np.where(np.abs(rays @ there) > 1e-9, rays @ there, np.nan)
        depth = np.fmin(depth, np.where(hit > 0, hit, np.inf))
    who = np.full(GRID, -1)
    parents = np.array(layout(24).parents)
    for p in range(len(clip.joints)):
        place = clip.joints[p, t] @ rotation.T + shift
        for share in np.linspace(0, 1, 5):
            centres = place[parents[1:]] * (1 - share) + place[1:] * share
            radii = (_RADIUS[parents[1:]] * (1 - share) + _RADIUS[1:] * share) * (clip.rest[p, 4, 1] / clip.rest[0, 4, 1])
            for centre, radius in zip(centres, radii, strict=True):
                miss = np.linalg.norm(rays[..., :2] * centre[2] - centre[:2], axis=-1)
                front = centre[2] - np.sqrt(np.maximum(radius**2 - miss**2, 0))
                nearer = (miss < radius) & (front < depth)
                depth[nearer], who[nearer] = front[nearer], p
    return depth, who


def _write(clip: Clip, naming: str, double_inverted: bool, with_depth: bool) -> None:
    readme = naming == "readme"
    cameras, tracking, bodies, world = clip.stages
    for folder in (cameras / "depth_maps", tracking / "detections", tracking / "masks", bodies, world):
        folder.mkdir(parents=True)
    num_people, num_frames = clip.seen.shape
    up = stage1_cameras(clip)
    np.savez(cameras / "cameras.npz", poses=up, intrinsics=clip.intrinsics if readme else np.tile(clip.intrinsics, (num_frames, 1, 1)))
    (cameras / "metadata.json").write_text(json.dumps({"image_size": SIZE, "fps": 25}))
    pixels = clip.joints @ clip.w2c[:, :3, :3].transpose(0, 2, 1) + clip.w2c[:, None, :3, 3]
    pixels = pixels @ clip.intrinsics.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    boxes = np.stack([pixels.min(2) - 10, pixels.max(2) + 10], 2).reshape(num_people, num_frames, 4)
    middle = np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)
    digits = 4 if readme else 6
    for t in range(num_frames):
        if with_depth:
            depth, who = render(clip, t)
            depth = depth / clip.alpha
            stored = depth[..., None].astype(np.float16) if readme else depth.astype(np.float32)
            np.save(cameras / "depth_maps" / f"depth_{t:0{digits}d}.npy", stored)
        found = []
        for p in np.flatnonzero(clip.seen[:, t]):
            points = np.concatenate([pixels[p, t], np.full((24, 1), 0.9)], 1)
            found.append({"track_id": int(p) + 1, "bbox": middle[p, t].tolist(), "confidence": 0.9, "keypoints_2d": points.tolist()})
            if with_depth:
                name = f"person_{p + 1:03d}_frame_{t:04d}.png" if readme else f"frame_{t:06d}_person_{p + 1:03d}"
                if readme:
                    large = np.kron(who == p, np.ones((4, 4), bool))
                    Image.fromarray((large * 255).astype(np.uint8)).save(tracking / "masks" / name)
                else:
                    np.save(tracking / "masks" / f"{name}.npy", who == p)
        with (tracking / "detections" / f"frame_{t:0{digits}d}.pkl").open("wb") as stream:
            pickle.dump(found, stream)
    if readme:
        np.savez(tracking / "tracks.npz", person_ids=np.arange(1, num_people + 1), bboxes=boxes, vis=clip.seen)
    else:
        rows = {p: np.flatnonzero(clip.seen[p]) for p in range(num_people)}
        np.savez(
            tracking / "tracks.npz",
            **{f"track_{p + 1}_frames": frames for p, frames in rows.items()},
            **{f"track_{p + 1}_bboxes": middle[p, frames] for p, frames in rows.items()},
        )
    for p in range(num_people):
        rows = np.flatnonzero(clip.seen[p])
        root = _ROOT * clip.rest[p, 4, 1] / clip.rest[0, 4, 1]
        there = clip.joints[p, rows] @ clip.w2c[rows, :3, :3].transpose(0, 2, 1) + clip.w2c[rows, None, :3, 3]
        turn = Rotation.from_matrix(clip.w2c[rows, :3, :3]) * Rotation.from_rotvec(clip.pose[p, rows, 0])
        camera = {"global_orient": turn.as_rotvec(), "transl": there[:, 0] - root}
        carry = up[rows] if double_inverted else np.linalg.inv(up[rows])
        moved = np.einsum("nij,nj->ni", carry[:, :3, :3], there[:, 0]) + carry[:, :3, 3]
        orient = (Rotation.from_matrix(carry[:, :3, :3]) * turn).as_rotvec()
        for stage, kind, part in ((bodies, "camera", camera), (world, "world", {"global_orient": orient, "transl": moved - root})):
            folder = stage / f"person_{p + 1:03d}"
            folder.mkdir()
            body = {"body_pose": clip.pose[p, rows, 1:].reshape(len(rows), 69)} if readme else {"poses": clip.pose[p, rows, 1:]}
            extra = {"frame_ids": rows} if readme else {}
            np.savez(folder / f"smpl_params_{kind}.npz", betas=np.zeros(10), **body, **part, **extra)
            if kind == "camera":
                np.save(folder / "joints_camera.npy", there)
                if not readme:
                    (folder / "metadata.json").write_text(json.dumps({"track_id": p + 1, "frames": rows.tolist()}))
    np.savez(world / "all_people_world.npz", person_1=np.array({"never": "read"}, dtype=object))
