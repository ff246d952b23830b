"""Skins that a skeleton moves: capsules around its bones, or the surface of a body model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.body.surface import Surface
from pose_priors.refinement.export.people import AnimatedSkeleton

_SEGMENTS = 10
_INFLUENCES = 4
# Radius of a capsule as a part of its bone's length, and bounds of it in metres.
_SLENDER, _MIN_RADIUS, _MAX_RADIUS = 0.16, 0.006, 0.05


@dataclass(frozen=True)
class Skin:
    """A mesh whose vertices follow joints by linear blend skinning.

    Attributes:
        vertices: (V, 3) metres, at rest, where `rest` are the joints.
        faces: (F, 3), counter-clockwise from outside.
        joints: (V, 4) which joints move a vertex; weights: (V, 4) how much, with sum 1.
        rest: (J, 3) metres.
    """

    vertices: np.ndarray
    faces: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    rest: np.ndarray

    @property
    def normals(self) -> np.ndarray:
        """(V, 3) unit normals, the mean of the adjacent faces' by area."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        face = np.cross(b - a, c - a)
        out = np.zeros_like(self.vertices)
        for i in range(3):
            np.add.at(out, self.faces[:, i], face)
        length = np.linalg.norm(out, axis=1, keepdims=True)
        return np.where(length > 1e-12, out / np.maximum(length, 1e-12), [0.0, 1.0, 0.0])


def capsules(person: AnimatedSkeleton) -> Skin:
    """A capsule around each bone, moved by the joint at which it begins; one that is no longer than it is thick becomes a ball."""
    rest, parts, faces, owners, count = person.rest_joints, [], [], [], 0
    for joint, parent in enumerate(person.parents[1:], start=1):
        bone = person.offsets[joint]
        vertices, triangles = _capsule(bone)
        parts.append(rest[parent] + vertices)
        faces.append(triangles + count)
        owners.append(np.full(len(vertices), parent))
        count += len(vertices)
    owner = np.concatenate(owners)
    joints = np.zeros((count, _INFLUENCES), int)
    joints[:, 0] = owner
    weights = np.zeros((count, _INFLUENCES))
    weights[:, 0] = 1
    return Skin(np.concatenate(parts), np.concatenate(faces), joints, weights, rest)


def model_skin(person: AnimatedSkeleton, surface: Surface) -> Skin:
    """The surface of a body model at the person's betas, bound to the person's joints by the four largest weights of each vertex.

    What the model adds to the surface where joints bend has no place in a skin of glTF, and is left out. Joints of the model that the
    person lacks are held by the nearest above them that the person has.
    """
    width = min(len(person.betas), surface.shape_directions.shape[-1])
    directions = surface.shape_directions[..., :width].double().numpy()
    vertices = surface.template.double().numpy() + directions @ person.betas[:width]
    model_rest = surface.regressor.double().numpy() @ vertices
    own = _own_joints(person, surface)
    num_joints = len(person.parents)
    weights = np.zeros((len(vertices), num_joints))
    np.add.at(weights.T, own, surface.weights.double().numpy().T)
    largest = np.argsort(-weights, axis=1, kind="stable")[:, :_INFLUENCES]
    kept = np.take_along_axis(weights, largest, 1)
    # where the model has no joint of its own for one of the person's, nothing hangs on it, and any place will do
    rest = person.rest_joints + model_rest[0]
    for at, joint in reversed(list(enumerate(own))):
        rest[joint] = model_rest[at]
    return Skin(vertices, surface.faces.astype(int), np.where(kept > 0, largest, 0), kept / kept.sum(1, keepdims=True), rest)


def _own_joints(person: AnimatedSkeleton, surface: Surface) -> list[int]:
    """For each joint of the model the person's joint that stands for it."""
    own: list[int] = []
    num_joints = len(person.parents)
    for at, smplx in enumerate(surface.smplx_index):
        parent = surface.parents[at]
        if smplx < 0 and num_joints == 24:
            own.append(at)  # SMPL's hand on SMPL's hand
        elif 0 <= smplx < (num_joints if num_joints == 55 else 22):
            own.append(smplx)
        else:
            own.append(own[parent])
    return own


def _capsule(bone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a capsule from the origin along a bone (3,)."""
    length = float(np.linalg.norm(bone))
    axis = bone / length if length > 1e-9 else np.array([0.0, 1.0, 0.0])
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    across = np.cross(axis, side)
    radius = float(np.clip(_SLENDER * length, _MIN_RADIUS, _MAX_RADIUS))
    turn = np.arange(_SEGMENTS) * 2 * np.pi / _SEGMENTS
    ring = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * across
    # along the axis, and from it, of the rings between the poles
    profile = [(-np.sqrt(0.5), np.sqrt(0.5), 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, length), (np.sqrt(0.5), np.sqrt(0.5), length)]
    rings = [axis * (at + radius * up) + radius * out * ring for up, out, at in profile]
    vertices = np.concatenate([[-radius * axis], *rings, [axis * (length + radius)]])
    faces = []
    for i in range(_SEGMENTS):
        j = (i + 1) % _SEGMENTS
        faces.append([0, 1 + j, 1 + i])
        for r in range(len(rings) - 1):
            a, b = 1 + r * _SEGMENTS, 1 + (r + 1) * _SEGMENTS
            faces += [[a + i, a + j, b + j], [a + i, b + j, b + i]]
        last = 1 + (len(rings) - 1) * _SEGMENTS
        faces.append([last + i, last + j, len(vertices) - 1])
    return vertices, np.array(faces)
