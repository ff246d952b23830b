"""A mesh that a skeleton moves, by linear blend skinning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

INFLUENCES = 4
"""How many joints move a vertex at most: what glTF has for one."""


@dataclass(frozen=True)
class Skin:
    """A mesh whose vertices follow joints by linear blend skinning.

    Attributes:
        vertices: (V, 3) metres, unposed, in axes of its own.
        faces: (F, 3), counter-clockwise from outside.
        joints: (V, 4) which joints move a vertex; weights: (V, 4) how much, with sum 1.
        bind: (J, 4, 4) from the mesh's axes to those of each joint, at rest: glTF's inverse bind matrices.
    """

    vertices: np.ndarray
    faces: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    bind: np.ndarray

    @cached_property
    def normals(self) -> np.ndarray:
        """(V, 3) unit normals of the unposed mesh, the mean of the adjacent faces' by area."""
        return normals_of(self.vertices, self.faces)

    def posed(self, turns: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) and unit normals (V, 3) of one pose.

        Args:
            turns: (J, 3, 3) of each joint relative to the world.
            joints: (J, 3) metres, where they are.
        """
        moved = self._moved(turns, joints)
        normals = np.einsum("vxy,vy->vx", moved[..., :3], self.normals)
        return _applied(moved, self.vertices), normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def part(self, chosen: np.ndarray) -> Skin:
        """Some of the vertices (V,) bool, without faces."""
        return Skin(self.vertices[chosen], self.faces[:0], self.joints[chosen], self.weights[chosen], self.bind)

    def _moved(self, turns: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """(V, 3, 4) how each vertex is moved."""
        by_joint = np.concatenate([turns @ self.bind[:, :3, :3], turns @ self.bind[:, :3, 3:] + joints[..., None]], -1)
        moved: np.ndarray = (self._dense @ by_joint.reshape(len(by_joint), 12)).reshape(-1, 3, 4)
        return moved

    @cached_property
    def _dense(self) -> np.ndarray:
        """(V, J) the weights of all joints."""
        dense = np.zeros((len(self.vertices), len(self.bind)))
        np.add.at(dense, (np.arange(len(dense))[:, None], self.joints), self.weights)
        return dense


def _applied(moved: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    placed: np.ndarray = np.einsum("vxy,vy->vx", moved[..., :3], vertices) + moved[..., 3]
    return placed


def normals_of(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of a mesh, the mean of the adjacent faces' by area; up where there are none."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, faces[:, i], face)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(length > 1e-12, out / np.maximum(length, 1e-12), [0.0, 1.0, 0.0])


def bound_at(rest: np.ndarray) -> np.ndarray:
    """(J, 4, 4) the bind matrices of a mesh that stands in the rest pose of joints (J, 3), in axes that are theirs."""
    bind = np.tile(np.eye(4), (len(rest), 1, 1))
    bind[:, :3, 3] = -rest
    return bind


def strongest(weights: np.ndarray, count: int = INFLUENCES) -> tuple[np.ndarray, np.ndarray]:
    """The joints (V, `count`) that move each vertex most, and how much, of weights (V, J); sums are made 1."""
    largest = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    kept = np.take_along_axis(weights, largest, 1)
    return np.where(kept > 0, largest, 0), kept / kept.sum(1, keepdims=True)
