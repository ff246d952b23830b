"""Licence-free stand-ins for body-model files: a few vertices per joint, in the format that smplx reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout

_PER_JOINT = 6


def write_model(folder: Path, kind: str, seed: int = 0) -> tuple[Path, np.ndarray, np.ndarray]:
    """Writes SMPL_NEUTRAL.pkl or SMPLX_NEUTRAL.npz; returns its path, its joints (J, 3) and their shape directions (J, 3, 10)."""
    rng = np.random.default_rng(seed)
    num_joints = {"smpl": 24, "smplx": 55}[kind]
    built_in = rest_joints().numpy()
    joints = (np.concatenate([built_in[:22], built_in[[28, 43]]]) if kind == "smpl" else built_in) + [0.01, -0.2, 0.03]
    spread = rng.normal(0, 0.03, (num_joints, _PER_JOINT, 3))
    spread -= spread.mean(1, keepdims=True)
    vertices = (joints[:, None] + spread).reshape(-1, 3)
    num_shapes = 10 if kind == "smpl" else 20
    shapes = rng.normal(0, 0.01, (len(vertices), 3, num_shapes))
    regressor = np.kron(np.eye(num_joints), np.full(_PER_JOINT, 1 / _PER_JOINT))
    parents = np.array(layout(num_joints).parents)
    parents[0] = 2**32 - 1
    content = {
        "v_template": vertices,
        "shapedirs": shapes,
        "J_regressor": regressor,
        "posedirs": np.zeros((len(vertices), 3, 9 * (num_joints - 1))),
        "kintree_table": np.stack([parents, np.arange(num_joints)]),
        "weights": np.repeat(np.eye(num_joints), _PER_JOINT, 0),
        "f": np.array([[0, 1, 2]], np.uint32),
    }
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "smpl":
        path = folder / "SMPL_NEUTRAL.pkl"
        with path.open("wb") as stream:
            pickle.dump(content, stream, protocol=2)
    else:
        path = folder / "SMPLX_NEUTRAL.npz"
        hands = {
            f"hands_{what}{side}": np.zeros((45, 45) if what == "components" else 45) for what in ("components", "mean") for side in "lr"
        }
        faces = {"lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.zeros((51, 3))}
        dynamic = {"dynamic_lmk_faces_idx": np.zeros((79, 17), np.int64), "dynamic_lmk_bary_coords": np.zeros((79, 17, 3))}
        np.savez(path, **content, **hands, **faces, **dynamic)
    return path, joints, np.einsum("jv,vcb->jcb", regressor, shapes)[..., :10]
