"""What tools and data sets write of people, small and well, as Python objects: the arrays of each under the names that it has there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

NUM = 12
_RNG = np.random.default_rng(0)
_POSES = 0.3 * _RNG.normal(size=(NUM, 72))
_PLACES = _RNG.normal(size=(NUM, 3))
_UNIT = np.tile([0.0, 0, 0, 1], (NUM, 1))
_OMOMO = np.concatenate([_PLACES, _UNIT, 0.1 * _RNG.normal(size=(NUM, 584))], 1)
_WHAM = {"pose_world": _POSES, "trans_world": _PLACES, "frame_ids": np.arange(NUM) + 3, "betas": np.zeros((NUM, 10))}
_PHC = {"pose_aa": _POSES.reshape(NUM, 24, 3), "trans_orig": _PLACES, "fps": 30, "beta": np.zeros(16)}


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


TOOLS: dict[str, Any] = {
    "aist": {"smpl_poses": _POSES, "smpl_trans": 90 * _PLACES, "smpl_scaling": np.array([90.0]), "smpl_loss": 0.1},
    "gvhmr": {
        "smpl_params_global": _tensors({"global_orient": _POSES[:, :3], "body_pose": _POSES[:, 3:66], "transl": _PLACES}),
        "K_fullimg": torch.eye(3),
    },
    "wham": {0: _WHAM},
    "wham of two": {0: _WHAM, 4: _WHAM | {"frame_ids": np.arange(NUM) + 9}},
    "comotion": _tensors({"pose": _POSES, "trans": _PLACES, "betas": np.zeros((NUM, 10))})
    | {"id": torch.arange(NUM) % 2 + 3, "frame_idx": torch.arange(NUM) // 2},
    "phc": {"walk": _PHC},
    "phc of two": {"walk": _PHC, "run": _PHC},
    "protomotions": _tensors(
        {
            "dof_pos": 0.1 * _RNG.normal(size=(NUM, 69)),
            "rigid_body_pos": np.tile(_PLACES[:, None], (1, 24, 1)),
            "rigid_body_rot": np.tile(_UNIT[:, None], (1, 24, 1)),
        }
    )
    | {"fps": 30},
    "omomo": _OMOMO,
    "romp": {"results": {"smpl_thetas": _POSES, "cam": np.zeros((NUM, 3))}},
    "romp video": {
        "results": {
            f"{i:06d}.jpg": {"smpl_thetas": _POSES[[i, i - 1]], "track_ids": np.array([1, 4]), "cam": np.zeros((2, 3))} for i in range(NUM)
        },
        "sequence_results": {},
    },
    "amass": {"poses": _POSES, "trans": _PLACES, "mocap_framerate": 30.0, "betas": [0.0] * 10, "gender": b"neutral"},
}
"""The name of the tool, and what is in its file."""
