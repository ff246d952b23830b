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

from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import plane_in_camera
from pose_priors.datamodules.stage_folders import STAGES, PosedBodies, Stages, boxes_around, write_stages
from pose_priors.datamodules.synthetic.scenes.rendering import render

SIZE = (640, 360)
GRID = (90, 160)
_RADIUS = np.array(
    [0.12, 0.1, 0.1, 0.12, 0.07, 0.07, 0.12, 0.05, 0.05, 0.13, 0.04, 0.04, 0.06, 0.09, 0.09, 0.1, 0.055, 0.055] + [0.045] * 6
)
_ROOT = np.array([0.0, -0.22, 0.03])
_WALL = np.array([0.1, 0, -1.0, 8.0])


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
        return tuple(self.folder / stage for stage in STAGES.values())

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
    stages = _stages(clip, double_inverted, depth)
    if naming == "readme":
        _write_as_documented(clip, stages)
    else:
        write_stages(folder, stages)
    np.savez(clip.stages[3] / "all_people_world.npz", person_1=np.array({"never": "read"}, dtype=object))
    return clip


def stage1_cameras(clip: Clip) -> np.ndarray:
    """(T, 4, 4) in stage 1's unit."""
    out = clip.w2c.copy()
    out[:, :3, 3] /= clip.alpha
    return out


def render_clip(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Metric depth (T, h, w) and the person at each cell, -1 for the scene: floor, and a wall behind."""
    frames = []
    for t, w2c in enumerate(clip.w2c):
        planes = [plane_in_camera(plane, w2c) for plane in (clip.plane, _WALL)]
        radii = _RADIUS * (clip.rest[:, 4, 1] / clip.rest[0, 4, 1])[:, None]
        joints = clip.joints[:, t] @ w2c[:3, :3].T + w2c[:3, 3]
        frames.append(render(joints, radii, layout(24).parents, planes, clip.intrinsics, SIZE, GRID))
    depth, who = zip(*frames, strict=True)
    return np.stack(depth), np.stack(who)


def _stages(clip: Clip, double_inverted: bool, with_depth: bool) -> Stages:
    up = stage1_cameras(clip)
    there = clip.joints @ clip.w2c[:, :3, :3].transpose(0, 2, 1) + clip.w2c[:, None, :3, 3]
    pixels = there @ clip.intrinsics.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    root = (_ROOT * (clip.rest[:, 4, 1] / clip.rest[0, 4, 1])[:, None])[:, None]
    turns = [Rotation.from_matrix(clip.w2c[:, :3, :3]) * Rotation.from_rotvec(pose[:, 0]) for pose in clip.pose]
    carry = up if double_inverted else np.linalg.inv(up)
    moved = there @ carry[:, :3, :3].transpose(0, 2, 1) + carry[:, None, :3, 3]
    orient = [(Rotation.from_matrix(carry[:, :3, :3]) * turn).as_rotvec() for turn in turns]
    depth, who = render_clip(clip) if with_depth else (None, None)
    return Stages(
        w2c=up,
        intrinsics=clip.intrinsics,
        image_size=SIZE,
        fps=25,
        depth=None if depth is None else depth / clip.alpha,
        who=who,
        keypoints=np.concatenate([pixels, np.full((*pixels.shape[:3], 1), 0.9)], -1),
        boxes=boxes_around(pixels, 10),
        seen=clip.seen,
        body_pose=clip.pose[:, :, 1:],
        camera=PosedBodies(np.stack([turn.as_rotvec() for turn in turns]), there[:, :, 0] - root, there),
        world=PosedBodies(np.stack(orient), moved[:, :, 0] - root, moved),
    )


def _write_as_documented(clip: Clip, stages: Stages) -> None:
    """The layout that Multi-TRAM's documentation shows."""
    cameras, tracking, bodies, world = clip.stages
    for folder in (cameras / "depth_maps", tracking / "detections", tracking / "masks", bodies, world):
        folder.mkdir(parents=True)
    num_people, num_frames = clip.seen.shape
    np.savez(cameras / "cameras.npz", poses=stages.w2c, intrinsics=stages.intrinsics)
    (cameras / "metadata.json").write_text(json.dumps({"image_size": SIZE, "fps": 25}))
    for t in range(num_frames):
        if stages.depth is not None:
            np.save(cameras / "depth_maps" / f"depth_{t:04d}.npy", stages.depth[t][..., None].astype(np.float16))
        found = []
        for p in np.flatnonzero(clip.seen[:, t]):
            points, box = stages.keypoints[p, t].tolist(), stages.boxes[p, t].tolist()
            found.append({"track_id": int(p) + 1, "bbox": box, "confidence": 0.9, "keypoints_2d": points})
            if stages.who is not None:
                large = np.kron(stages.who[t] == p, np.ones((4, 4), bool))
                Image.fromarray((large * 255).astype(np.uint8)).save(tracking / "masks" / f"person_{p + 1:03d}_frame_{t:04d}.png")
        with (tracking / "detections" / f"frame_{t:04d}.pkl").open("wb") as stream:
            pickle.dump(found, stream)
    middle, size = stages.boxes[..., :2], stages.boxes[..., 2:]
    corners = np.concatenate([middle - size / 2, middle + size / 2], -1)
    np.savez(tracking / "tracks.npz", person_ids=np.arange(1, num_people + 1), bboxes=corners, vis=clip.seen)
    for p in range(num_people):
        rows = np.flatnonzero(clip.seen[p])
        for stage, kind, part in ((bodies, "camera", stages.camera), (world, "world", stages.world)):
            folder = stage / f"person_{p + 1:03d}"
            folder.mkdir()
            body = stages.body_pose[p, rows].reshape(len(rows), 69)
            placed = {"global_orient": part.global_orient[p, rows], "transl": part.transl[p, rows]}
            np.savez(folder / f"smpl_params_{kind}.npz", betas=np.zeros(10), body_pose=body, frame_ids=rows, **placed)
            if kind == "camera":
                np.save(folder / "joints_camera.npy", part.joints[p, rows])
