"""A stand-in for an SMPL-X model of full size, free of licences: what a forward pass costs does not hang on what a body looks like."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import NUM_JOINTS, PARENTS

_NUM_VERTICES, _NUM_FACES, _NUM_SHAPES = 10475, 20908, 20


def full_body(batch: int) -> torch.nn.Module:
    """smplx's SMPLX with 10475 vertices near the built-in joints, each moved by one or two joints, for batches of one size."""
    rng = np.random.default_rng(0)
    joints = rest_joints().numpy()
    owner = np.arange(_NUM_VERTICES) % NUM_JOINTS
    vertices = joints[owner] + rng.normal(0, 0.03, (_NUM_VERTICES, 3))
    regressor = np.zeros((NUM_JOINTS, _NUM_VERTICES))
    regressor[owner, np.arange(_NUM_VERTICES)] = 1
    regressor /= regressor.sum(1, keepdims=True)
    parents = np.array(PARENTS)
    parents[0] = 2**32 - 1
    weights = np.zeros((_NUM_VERTICES, NUM_JOINTS))
    weights[np.arange(_NUM_VERTICES), owner] = 0.7
    weights[np.arange(_NUM_VERTICES), np.maximum(np.array(PARENTS)[owner], 0)] += 0.3
    content = {
        "v_template": vertices,
        "shapedirs": rng.normal(0, 0.001, (_NUM_VERTICES, 3, _NUM_SHAPES)),
        "J_regressor": regressor,
        "posedirs": rng.normal(0, 1e-4, (_NUM_VERTICES, 3, 9 * (NUM_JOINTS - 1))),
        "kintree_table": np.stack([parents, np.arange(NUM_JOINTS)]),
        "weights": weights,
        "f": rng.integers(0, _NUM_VERTICES, (_NUM_FACES, 3)).astype(np.uint32),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
        "dynamic_lmk_faces_idx": np.zeros((79, 17), np.int64),
        "dynamic_lmk_bary_coords": np.zeros((79, 17, 3)),
    }
    import smplx  # which only this comparison needs

    hands = {f"hands_{what}{side}": np.zeros((45, 45) if what == "components" else 45) for what in ("components", "mean") for side in "lr"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "SMPLX_NEUTRAL.npz"
        np.savez(path, allow_pickle=False, **content, **hands)
        model: torch.nn.Module = smplx.SMPLX(
            str(path), use_pca=False, flat_hand_mean=True, num_betas=10, num_expression_coeffs=10, batch_size=batch
        )
        return model


def joints_of(model: torch.nn.Module, pose: Tensor) -> Tensor:
    """(B, 55, 3) joints by smplx's forward pass, mesh and all, of poses (B, 55, 3)."""
    names = ("body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")
    parts = dict(zip(names, pose[:, 1:].split((21, 1, 1, 1, 15, 15), 1), strict=True))
    found = model(global_orient=pose[:, 0], **{name: value.flatten(1) for name, value in parts.items()})
    joints: Tensor = found.joints[:, :55]
    return joints
