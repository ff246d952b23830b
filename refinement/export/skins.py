"""Skins of exported people: capsules around their bones, the surface of a body model, or Anny's."""

from __future__ import annotations

import numpy as np

from pose_priors.body.anny.dressing import fitted_skin
from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.skin import INFLUENCES, Skin, bound_at, strongest
from pose_priors.body.surface import Surface
from pose_priors.refinement.export.people import AnimatedSkeleton

# Light and dark by turns, so that neighbours can be told apart without colour too.
COLOURS = ((0.35, 0.60, 0.85), (0.90, 0.55, 0.20), (0.25, 0.45, 0.30), (0.85, 0.75, 0.85), (0.45, 0.20, 0.45), (0.80, 0.80, 0.40))
"""Of people, by turns: red, green and blue in [0, 1]."""
_SEGMENTS = 10
_FLOOR = np.array([0.0, 0.0, 1.0, 0.0])  # exported people stand upright
# Radius of a capsule as a part of its bone's length, and bounds of it in metres.
_SLENDER, _MIN_RADIUS, _MAX_RADIUS = 0.16, 0.006, 0.05


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
    joints = np.zeros((count, INFLUENCES), int)
    joints[:, 0] = owner
    weights = np.zeros((count, INFLUENCES))
    weights[:, 0] = 1
    return Skin(np.concatenate(parts), np.concatenate(faces), joints, weights, bound_at(rest))


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
    # where the model has no joint of its own for one of the person's, nothing hangs on it, and any place will do
    rest = person.rest_joints + model_rest[0]
    for at, joint in reversed(list(enumerate(own))):
        rest[joint] = model_rest[at]
    return Skin(vertices, surface.faces.astype(int), *strongest(weights), bound_at(rest))


def skin_of(person: AnimatedSkeleton, wear: Surface | AnnyBody | None) -> Skin:
    """A person's skin: of a body model, of Anny, or capsules."""
    if wear is None:
        return capsules(person)
    if isinstance(wear, Surface):
        return model_skin(person, wear)
    return fitted_skin(wear, person.offsets, person.turns, person.joints, _FLOOR)


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
