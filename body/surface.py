"""The skin of a body model, posed by linear blend skinning (Loper et al., "SMPL", SIGGRAPH Asia 2015; Pavlakos et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import NUM_JOINTS

_CHUNK = 16  # frames at once: some 10 MB each


@dataclass(frozen=True)
class Surface:
    """The skin of one body model; V vertices, N joints, B shape coefficients; float32.

    Attributes:
        smplx_index: (N,) the SMPL-X joint of each joint, -1 for SMPL's hands.
        parents: (N,) -1 for the root.
        template: (V, 3) metres.
        shape_directions: (V, 3, B) metres per unit of beta.
        pose_directions: (9 (N - 1), 3 V) metres per unit of the elements of rotation matrices less the identity.
        regressor: (N, V) from vertices to joints.
        weights: (V, N) of each joint.
        faces: (F, 3) vertices of each triangle.
    """

    smplx_index: tuple[int, ...]
    parents: tuple[int, ...]
    template: Tensor
    shape_directions: Tensor
    pose_directions: Tensor
    regressor: Tensor
    weights: Tensor
    faces: np.ndarray

    @torch.no_grad()
    def posed(self, pose: Tensor, betas: Tensor, pelvis: Tensor) -> Iterator[Tensor]:
        """The vertices of one person, some frames at a time: together (n, V, 3) metres.

        Args:
            pose: (n, 55, 3) rotation vectors in SMPL-X order; SMPL's hand stubs, which SMPL-X lacks, stay straight.
            betas: as many as there are; the rest is zero, those beyond the model's are left out.
            pelvis: (n, 3) metres, where the root joint stands.
        """
        if pose.shape[1:] != (NUM_JOINTS, 3) or pelvis.shape != (len(pose), 3):
            raise ValueError(f"poses (n, {NUM_JOINTS}, 3) and pelves (n, 3) are expected; got {tuple(pose.shape)}, {tuple(pelvis.shape)}")
        width = min(len(betas), self.shape_directions.shape[-1])
        shaped = self.template + self.shape_directions[..., :width] @ betas[:width].to(self.template)
        rest = self.regressor @ shaped
        known = [joint for joint, place in enumerate(self.smplx_index) if place >= 0]
        for some, place in zip(pose.to(self.template).split(_CHUNK), pelvis.to(self.template).split(_CHUNK), strict=True):
            rotvec = some.new_zeros(len(some), len(self.parents), 3)
            rotvec[:, known] = some[:, [self.smplx_index[joint] for joint in known]]
            bent = (conversions.rotvec_to_rotmat(rotvec[:, 1:]) - torch.eye(3)).flatten(1) @ self.pose_directions
            joints, turns = forward_kinematics(rotvec, rest, self.parents)
            shift = joints - (turns @ rest[..., None])[..., 0]
            turn = torch.einsum("vj,njxy->nvxy", self.weights, turns)
            skin = (turn @ (shaped + bent.unflatten(1, (-1, 3)))[..., None])[..., 0] + self.weights @ shift
            yield skin - rest[0] + place[:, None]

    def normals(self, vertices: Tensor) -> Tensor:
        """Unit normals of vertices, (n, V, 3) both: those of the triangles around, weighed by their areas; zero where there are none."""
        faces = torch.from_numpy(self.faces.astype(np.int64))
        a, b, c = (vertices[:, corner] for corner in faces.T)
        around = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(vertices)
        for corner in faces.T:
            total.index_add_(1, corner, around)
        return torch.nn.functional.normalize(total, dim=-1)
