"""Files of AMASS's layout with motions from a seed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def smooth_motion(num_frames: int, fps: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Upright bodies, z up, whose joints swing far: rotation vectors (T, 22, 3) and the pelvis (T, 3), the same for any frame rate."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.arange(num_frames, dtype=torch.float64)[:, None, None] / fps
    size, hertz, phase = (torch.rand(3, 22, 3, generator=generator, dtype=torch.float64)) * torch.tensor([1.5, 1.0, 2 * math.pi]).view(
        3, 1, 1
    )
    pose = size * torch.sin(2 * math.pi * hertz * at + phase)
    pose[:, 0] = torch.tensor([math.pi / 2, 0, 0], dtype=torch.float64) + 0.1 * pose[:, 0]
    pelvis = torch.cat([at[:, 0] * 0.7, torch.sin(at[:, 0]), 0.95 + 0.02 * torch.sin(5 * at[:, 0])], 1)
    return pose, pelvis


def write_amass(path: Path, pose: Tensor, pelvis: Tensor, fps: float | None, rate: str = "mocap_framerate", **more: np.ndarray) -> Path:
    """A file of a motion (T, 22, 3) with its pelvis (T, 3), with the frame rate by a name, or without."""
    poses = np.zeros((len(pose), 156))
    poses[:, :66] = pose.flatten(1)
    entries = {"poses": poses, "trans": pelvis.numpy(), "betas": np.zeros(16), "gender": np.array("neutral")}
    np.savez(path, **(entries | ({} if fps is None else {rate: np.array(fps)}) | more))
    return path
