"""ROMP's and BEV's files of people whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from upstream_truth import IDS, NUM_FRAMES, SIZE, Truth
from upstream_writers import Change, unchanged

SIDE = max(SIZE)


def write_romp(
    folder: Path, truth: Truth, change: Change = unchanged, *, layout: str = "files", ids: bool = True, flat: bool = False
) -> Path:
    """A file for each image, or that of a video; `flat` projects as ROMP does, without perspective, else as BEV does."""
    folder.mkdir(parents=True)
    frames: dict[str, dict[str, Any]] = {}
    for t in range(NUM_FRAMES):
        rows = np.flatnonzero(truth.seen[:, t])
        # 71 points, of which the first are SMPL's joints; BEV's bodies stand at their hips, not at SMPL's root
        joints = truth.camera_joints[rows, t]
        place = joints[:, [1, 2]].mean(1)
        body = np.concatenate([joints, np.repeat(joints[:, :1], 47, 1)], 1) - place[:, None]
        scale = 2 * truth.intrinsics[0, 0] / SIDE / place[:, 2]
        cam = np.concatenate([scale[:, None], scale[:, None] * place[:, :2]], 1)
        pixels = (cam[:, None, :1] * body[..., :2] + cam[:, None, 1:]) * SIDE / 2 + np.array(SIZE) / 2
        if not flat:
            pixels = (body + place[:, None]) @ truth.intrinsics.T
            pixels = pixels[..., :2] / pixels[..., 2:]
        people = {
            "cam": cam if flat else cam[:, [0, 2, 1]],
            "global_orient": truth.camera_pose[rows, t, 0],
            "body_pose": truth.pose[rows, t, 1:].reshape(-1, 69),
            "smpl_betas": np.zeros((len(rows), 10 if flat else 11)),
            "smpl_thetas": truth.camera_pose[rows, t].reshape(-1, 72),
            "center_confs": np.ones((len(rows), 1)),
            "cam_trans": place,
            "verts": np.zeros((len(rows), 12, 3)),
            "joints": body,
            "pj2d_org": pixels,
        } | ({"track_ids": np.array(IDS)[rows].astype(np.int32)} if ids else {})
        change(people)
        frames[f"{t:08d}.jpg"] = people
    if layout == "video":
        np.savez(folder / "video_results.npz", results=np.array(frames, dtype=object), sequence_results=np.array({}, dtype=object))
        np.savez(folder / "00000003.npz", results=np.array({}, dtype=object))  # as it lies beside; the video's has all
        return folder
    for name, people in frames.items():
        np.savez(folder / f"{Path(name).stem}.npz", results=np.array(people, dtype=object))
    return folder
