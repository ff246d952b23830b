"""What people wear in pictures: the surface of a body model, or Anny's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pose_priors.body import conversions
from pose_priors.body.anny.dressing import fitted_skin
from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.layout import layout
from pose_priors.body.model import chained
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.body.skin import Skin
from pose_priors.body.surface import Surface
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.result.people import rest_offsets

Wear = Surface | AnnyBody
"""Of all people of a picture."""
_NUM_BODY = 22
_CHUNK = 16  # frames at once


def dressed(wear: Wear, motion: Track, pose: np.ndarray, betas: np.ndarray, floor: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Vertices in metres and unit normals, (m, V, 3) both, of a person on the rows of a motion, some rows at a time.

    Args:
        pose: (n, J, 3) rotation vectors on these rows, the first relative to the world.
        betas: (B,) for a body model.
        floor: (4,) up-facing unit normal n and d with n.x + d = 0, on which Anny stands.
    """
    if isinstance(wear, Surface):
        whole, pelvis = torch.from_numpy(in_smplx_order(pose)), torch.from_numpy(motion.joints[:, 0])
        for vertices in wear.posed(whole, torch.from_numpy(betas), pelvis):
            yield vertices.numpy(), wear.normals(vertices).numpy()
        return
    skin, turns = anny_of(wear, motion, pose, floor)
    for start in range(0, len(turns), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(turns)))
        placed, normals = zip(*(skin.posed(turns[row], motion.joints[row]) for row in rows), strict=True)
        yield np.stack(placed).astype(np.float32), np.stack(normals).astype(np.float32)


def anny_of(body: AnnyBody, motion: Track, pose: np.ndarray, floor: np.ndarray) -> tuple[Skin, np.ndarray]:
    """Anny with a person's bones, and rotations (n, J, 3, 3) of the joints relative to the world; pose and floor as in `dressed`."""
    parents = layout(motion.joints.shape[1]).parents
    rotmat = conversions.rotvec_to_rotmat(torch.from_numpy(pose).double())
    _, turned = chained(rotmat, torch.zeros(len(parents), 3, dtype=torch.float64), parents)
    turns: np.ndarray = turned.numpy()
    return fitted_skin(body, rest_offsets(turns, motion.joints, parents), turns, motion.joints, floor), turns


def in_smplx_order(pose: np.ndarray) -> np.ndarray:
    """(n, 55, 3) of (n, 22 | 24 | 55, 3) rotation vectors; zero for joints that the body lacks. SMPL's hand stubs are none of SMPL-X's."""
    out = np.zeros((len(pose), NUM_JOINTS, 3))
    known = NUM_JOINTS if pose.shape[1] == NUM_JOINTS else _NUM_BODY
    out[:, :known] = pose[:, :known]
    return out
