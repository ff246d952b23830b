"""The state of a moving body at one instant, as motion priors of the HuMoR family see it.

State (339) = trans 3, trans_vel 3, root_orient 9 (rotation matrix), root_orient_vel 3, pose_body 21 x 9, joints 22 x 3, joints_vel 22 x 3,
in this order (Rempe et al., "HuMoR: 3D Human Motion Model for Robust Pose Estimation", ICCV 2021). Joints are SMPL-X's first 22. Metres,
radians, seconds; z is up, the floor is z = 0; velocities are central differences at 30 frames a second, the root's angular velocity is that
of dR/dt R^T, in the frame's axes. `trans` is smplx's translation of the mean shape: the pelvis less `ROOT_OFFSET`.

A transition is seen from the frame of its first state: turned about z alone, so that the body's right, minus the first column of the root's
rotation, points to +x, and moved along the floor so that `trans` is over the origin and the pelvis over `ROOT_OFFSET`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.model import chained
from pose_priors.body.skeleton import PARENTS

FPS = 30.0
"""Frames a second of all states and clips, and of files that do not say: the rate of most cameras, and of HuMoR."""

NUM_JOINTS = 22
CONTACT_JOINTS = (0, 4, 5, 7, 8, 10, 11, 20, 21)
"""Pelvis, knees, ankles, balls of the feet and wrists: joints that may touch the world."""

ROOT_OFFSET = (-0.0018, -0.2233, 0.0282)
"""Metres; where SMPL's neutral mean shape has its pelvis when `trans` is zero."""


def _slices(**sizes: int) -> dict[str, slice]:
    ends = [sum(list(sizes.values())[: i + 1]) for i in range(len(sizes))]
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


STATE = _slices(trans=3, trans_vel=3, root_orient=9, root_orient_vel=3, pose_body=9 * 21, joints=3 * NUM_JOINTS, joints_vel=3 * NUM_JOINTS)
"""Where each part of a state stands."""

CHANGE = _slices(trans=3, trans_vel=3, root_orient=3, root_orient_vel=3, pose_body=3 * 21, joints=3 * NUM_JOINTS, joints_vel=3 * NUM_JOINTS)
"""Where each part of a change of state stands: rotations as rotation vectors."""

STATE_DIM, CHANGE_DIM = STATE["joints_vel"].stop, CHANGE["joints_vel"].stop

_ABOVE = list(PARENTS[1:NUM_JOINTS])
_ROTATIONS = ("root_orient", "pose_body")
_VELOCITIES = ("trans_vel", "root_orient_vel", "joints_vel")


def make_states(rotvec: Tensor, joints: Tensor, fps: float = FPS, turn: Tensor | None = None) -> Tensor:
    """The states of a motion.

    Args:
        rotvec: (..., T, 22, 3) rotation vectors, the root's relative to the world.
        joints: (..., T, 22, 3) metres, z up, floor at z = 0.
        fps: frames a second.
        turn: (3, 3) rotation from the world of the root's rotation vectors to that of the joints; None where they are one.
    Returns:
        (..., T, 339). Velocities are central differences, one-sided at both ends, and zero of a single frame.
    """
    rotmat = conversions.rotvec_to_rotmat(rotvec)
    trans = joints[..., 0, :] - joints.new_tensor(ROOT_OFFSET)
    root = rotmat[..., 0, :, :] if turn is None else turn @ rotmat[..., 0, :, :]
    before, after, span = _neighbours(root.shape[-3], root.device)
    turned = root.index_select(-3, after) @ root.index_select(-3, before).transpose(-1, -2)
    span = span.to(rotvec) / fps
    flat = joints.flatten(-2)
    return torch.cat(
        [
            trans,
            (trans.index_select(-2, after) - trans.index_select(-2, before)) / span,
            root.flatten(-2),
            conversions.rotmat_to_rotvec(turned) / span,
            rotmat[..., 1:, :, :].flatten(-3),
            flat,
            (flat.index_select(-2, after) - flat.index_select(-2, before)) / span,
        ],
        -1,
    )


def _neighbours(num_frames: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each frame the one before, the one after, and the steps between those (T, 1), at least 1. An end is its own neighbour."""
    frames = torch.arange(num_frames, device=device)
    before, after = (frames - 1).clamp_min(0), (frames + 1).clamp_max(num_frames - 1)
    return before, after, (after - before).clamp_min(1)[:, None]


def rotations(states: Tensor) -> Tensor:
    """(..., 22, 3, 3) rotation matrices of the root, relative to the states' frame, and of the joints, relative to their parents."""
    flat = torch.cat([states[..., STATE["root_orient"]], states[..., STATE["pose_body"]]], -1)
    rotmat: Tensor = flat.unflatten(-1, (NUM_JOINTS, 3, 3))
    return rotmat


def joints_of(states: Tensor) -> Tensor:
    """(..., 22, 3) metres."""
    joints: Tensor = states[..., STATE["joints"]].unflatten(-1, (NUM_JOINTS, 3))
    return joints


def heading(states: Tensor) -> Tensor:
    """(..., 3, 3) the turn about z that brings the body's right to +x. A body that lies on its side has none and is not turned."""
    right = -states[..., STATE["root_orient"]].unflatten(-1, (3, 3))[..., :2, 0]
    size = right.square().sum(-1, keepdim=True)
    lying = size < 1e-6
    cos, sin = (torch.where(lying, right.new_tensor([1.0, 0.0]), right) / torch.where(lying, 1.0, size).sqrt()).unbind(-1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn: Tensor = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    return turn


def to_local(states: Tensor, frames: Tensor) -> Tensor:
    """States as seen from the frames of other states.

    Args:
        states, frames: (..., 339), in the same world.
    Returns:
        (..., 339).
    """
    turn = heading(frames)
    offset = states.new_tensor([*ROOT_OFFSET[:2], 0.0])
    over_floor = states.new_tensor([1.0, 1.0, 0.0])
    origin = frames[..., STATE["trans"]] * over_floor
    return _moved(states, turn, origin, origin + offset, offset)


def to_world(states: Tensor, frames: Tensor) -> Tensor:
    """The inverse of `to_local`: states (..., 339) in the frames of other states, in the world of these."""
    turn = heading(frames).transpose(-1, -2)
    offset = states.new_tensor([*ROOT_OFFSET[:2], 0.0])
    origin = frames[..., STATE["trans"]] * states.new_tensor([1.0, 1.0, 0.0])
    back = _moved(states, turn, torch.zeros_like(origin), offset.expand_as(origin), origin + offset)
    return torch.cat([back[..., :3] + origin, back[..., 3:]], -1)


def _moved(states: Tensor, turn: Tensor, origin: Tensor, centre: Tensor, target: Tensor) -> Tensor:
    """States turned: `trans` about an origin, which comes to zero, and joints about a centre, which comes to a target."""

    def turned(vectors: Tensor) -> Tensor:
        apart: Tensor = vectors.unflatten(-1, (-1, 3))
        return (apart @ turn.transpose(-1, -2)).flatten(-2)

    part = {name: states[..., where] for name, where in STATE.items()}
    joints = part["joints"].unflatten(-1, (NUM_JOINTS, 3)) - centre[..., None, :]
    part["trans"] = turned(part["trans"] - origin)
    part["root_orient"] = (turn @ part["root_orient"].unflatten(-1, (3, 3))).flatten(-2)
    part["joints"] = ((joints @ turn.transpose(-1, -2)) + target[..., None, :]).flatten(-2)
    for name in _VELOCITIES:
        part[name] = turned(part[name])
    return torch.cat(list(part.values()), -1)


def change_between(before: Tensor, after: Tensor) -> Tensor:
    """What `apply_change` does to come from one state to another, both (..., 339) in one frame: (..., 207)."""
    parts = []
    for name, where in STATE.items():
        a, b = before[..., where], after[..., where]
        if name in _ROTATIONS:
            turn = b.unflatten(-1, (-1, 3, 3)) @ a.unflatten(-1, (-1, 3, 3)).transpose(-1, -2)
            parts.append(conversions.rotmat_to_rotvec(turn).flatten(-2))
        else:
            parts.append(b - a)
    return torch.cat(parts, -1)


def apply_change(state: Tensor, change: Tensor) -> Tensor:
    """The state (..., 339) after a change (..., 207): vectors add, rotations R become exp(change) R."""
    parts = []
    for name, where in STATE.items():
        value, by = state[..., where], change[..., CHANGE[name]]
        if name in _ROTATIONS:
            turn = conversions.rotvec_to_rotmat(by.unflatten(-1, (-1, 3)))
            parts.append((turn @ value.unflatten(-1, (-1, 3, 3))).flatten(-3))
        else:
            parts.append(value + by)
    return torch.cat(parts, -1)


def bones_of(states: Tensor) -> Tensor:
    """(..., 21, 3) metres: where each joint but the pelvis lies in its parent's frame, by joints and rotations of states (..., 339)."""
    joints = joints_of(states)
    _, turned = chained(rotations(states), torch.zeros_like(joints), PARENTS[:NUM_JOINTS])
    offsets = joints[..., 1:, :] - joints[..., _ABOVE, :]
    return (turned[..., _ABOVE, :, :].transpose(-1, -2) @ offsets[..., None])[..., 0]


def with_bones(states: Tensor, bones: Tensor) -> Tensor:
    """States (..., 339) whose joints are those of bones (..., 21, 3) from the pelvis on, turned as the states say."""
    where = STATE["joints"]
    joints, _ = chained(rotations(states), torch.cat([joints_of(states)[..., :1, :], bones], -2), PARENTS[:NUM_JOINTS])
    return torch.cat([states[..., : where.start], joints.flatten(-2), states[..., where.stop :]], -1)


def unstretched(states: Tensor) -> Tensor:
    """States (..., 339) whose joints move about each other only as bones of constant length can: across the bones."""
    joints = joints_of(states)
    velocity = states[..., STATE["joints_vel"]].unflatten(-1, (NUM_JOINTS, 3))
    along = torch.nn.functional.normalize(joints[..., 1:, :] - joints[..., _ABOVE, :], dim=-1)
    about = velocity[..., 1:, :] - velocity[..., _ABOVE, :]
    about = about - (about * along).sum(-1, keepdim=True) * along
    velocities = [velocity[..., 0, :]]
    for bone, parent in enumerate(_ABOVE):
        velocities.append(velocities[parent] + about[..., bone, :])
    return torch.cat([states[..., : STATE["joints_vel"].start], torch.cat(velocities, -1)], -1)
