"""A rig that is driven as MHR is, through body_models' own code, with the joints of a skeleton of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from body_models import Joint
from body_models._common.kinematics import KinematicTree
from body_models._common.skinning import CompactSkinning
from body_models._common.sparse import SparseMatrix
from body_models.mhr._constants import MHR_JOINTS
from body_models.mhr._io import MhrAssets, MhrCorrectives
from scipy.spatial.transform import Rotation

from pose_priors.body.rigs.model import smplx_name
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS

SIZE = 139
"""Of the 204 numbers that which makes the whole body larger, by the power of two."""


def write_stand_in(monkeypatch: Any, rest: np.ndarray, num_joints: int = 22) -> MhrAssets:
    """`body_models` reads this from now on when it is asked for MHR.

    Args:
        rest: (J, 3) of the skeleton at rest in metres, whose first `num_joints` the rig has; its axes are turned at random.
    """
    rng = np.random.default_rng(5)
    theirs = {smplx_name(str(joint.value)): name for joint, name in MHR_JOINTS.items() if joint is not Joint.PELVIS}
    names = ["body_world", "root", *(theirs.get(name, f"c_{name}") for name in JOINT_NAMES[1:num_joints])]
    parents = [-1, 0, *(1 + parent for parent in PARENTS[1:num_joints])]
    turn = Rotation.random(num_joints, rng)
    axes = np.concatenate([np.eye(3)[None], turn.as_matrix()])
    place = np.concatenate([np.zeros((1, 3)), rest[:num_joints]])
    offsets = np.stack([axes[max(p, 0)].T @ (place[j] - place[max(p, 0)]) for j, p in enumerate(parents)])
    before = np.stack([axes[max(p, 0)].T @ axes[j] for j, p in enumerate(parents)])
    by = np.zeros((len(names), 7, 204 + 45))
    by[1, :3, :3] = 10 * np.eye(3)
    by[1, 3:6, 3:6] = np.eye(3)
    angles = iter([*range(6, 27), *range(30, 68), *range(122, 136)])
    for joint in range(2, len(names)):
        head = names[joint] == "c_head"
        for axis in range(3):
            by[joint, 3 + axis, 27 + axis if head else next(angles)] = 1
    by[1, 6, SIZE] = 1
    weights, nothing = np.eye(len(names))[:1], np.zeros(1, np.int64)
    assets = MhrAssets(
        base_vertices=np.zeros((1, 3), np.float32),
        blendshape_dirs=np.zeros((117, 1, 3), np.float32),
        compact_skinning=CompactSkinning(np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32)),
        dense_skin_weights=weights.astype(np.float32),
        faces=np.zeros((1, 3), np.int64),
        joint_offsets=(100 * offsets).astype(np.float32),
        joint_pre_rotations=Rotation.from_matrix(before).as_quat().astype(np.float32),
        parameter_transform=by.reshape(-1, 249).astype(np.float32),
        pose_control_joints=(),
        bind_inv_linear=np.tile(np.eye(3, dtype=np.float32), (len(names), 1, 1)),
        bind_inv_translation=np.zeros((len(names), 3), np.float32),
        correctives=MhrCorrectives(np.zeros((1, 1), np.float32), SparseMatrix(nothing, nothing, np.zeros(1, np.float32), (1, 3))),
        kinematic_tree=KinematicTree.from_parents(parents),
        joint_names=names,
    )
    monkeypatch.setattr("body_models.mhr._model.get_model_path", lambda path: path)
    monkeypatch.setattr("body_models.mhr._model.load_model_data", lambda path, **options: assets)
    return assets
