"""How the prior of clips sees a moving body: numbers that a turn of the world about the vertical and a shift along the floor leave alone.

A frame is seen from a *reference*: a heading that turns smoothly with the body, found from what is given of it, and one place on the floor
for the whole window. Noise that is alike in all directions stays so, and independent from frame to frame, because the reference is smooth
and paths are no increments. Of a frame there are: the pelvis over the floor and its height, the rotations (first two columns of their
matrices, Zhou et al., CVPR 2019; the root's as seen from the reference), the other joints from the pelvis, as seen from the reference, and
the contacts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from pose_priors.body import conversions
from pose_priors.body.motion import MotionWindows, posed_joints
from pose_priors.body.motion_state import CONTACT_JOINTS, FPS, NUM_JOINTS, joints_of, make_states, rotations
from pose_priors.body.rotations import to_rotmat
from pose_priors.body.skeleton import index_of
from pose_priors.priors.networks.precision import uncast, widened

RUNS = ((1, 2), (1, 1), (NUM_JOINTS, 6), (NUM_JOINTS - 1, 3), (1, len(CONTACT_JOINTS)))
"""Numbers of groups that follow each other and are alike, and the features of each."""
_SIZES = [size for count, size in RUNS for _ in range(count)]
NUM_FEATURES, NUM_GROUPS = sum(_SIZES), len(_SIZES)
GROUP_OF = torch.repeat_interleave(torch.arange(NUM_GROUPS), torch.tensor(_SIZES))
"""(F,) for each feature its group: those that are seen or not seen together, with one noise."""
PATH, HEIGHT = slice(0, 2), slice(2, 3)
ROTATIONS = slice(3, 3 + 6 * NUM_JOINTS)
PLACES = slice(ROTATIONS.stop, ROTATIONS.stop + 3 * (NUM_JOINTS - 1))
CONTACTS = slice(PLACES.stop, NUM_FEATURES)
GROUPS_OF_ROTATIONS, GROUPS_OF_PLACES = slice(2, 2 + NUM_JOINTS), slice(2 + NUM_JOINTS, NUM_GROUPS - 1)
JOINT_OF_GROUP = torch.tensor([0, 0, *range(NUM_JOINTS), *range(1, NUM_JOINTS), -1])
"""(G,) for each group the joint that it tells of; -1 for the contacts."""

_SMOOTH_FRAMES = 6.0  # standard deviation of the weights by which headings are averaged
_REACH_FRAMES, _REACHING = 30.0, 1e-4  # how headings are carried on into frames without any
_ROTATION_DOUBT = 0.2  # radians of noise at which a heading counts half
_COLUMN = (2 / 3) ** 0.5  # noise of a matrix's entry over that of the rotation vector's components
_RIGHT, _LEFT = ([index_of(f"{side}_{part}") for part in ("hip", "shoulder")] for side in ("right", "left"))


@dataclass  # not frozen: a device is changed in place of a copy's fields
class Motion:
    """B windows of T frames, z up.

    Attributes:
        rotations: (B, T, 22, 3, 3) matrices, the root's relative to the world, others relative to their parents.
        joints: (B, T, 22, 3) metres.
        contacts: (B, T, 9) in [0, 1], of `CONTACT_JOINTS`; None where nobody says.
    """

    rotations: Tensor
    joints: Tensor
    contacts: Tensor | None = None

    def __getitem__(self, at: Any) -> Motion:
        return Motion(self.rotations[at], self.joints[at], None if self.contacts is None else self.contacts[at])


@dataclass
class Noise:
    """The standard deviation of normal noise in what is seen of a motion: 0 is exact, infinite is not seen.

    Attributes:
        rotations: (B, T, 22) radians, of each component of a rotation vector.
        joints: (B, T, 22) metres, of each component.
        contacts: (B, T), of all contacts of a frame.
        path: (B, T) metres, of the whole body's place in the world, beside the joints' noise: infinite where joints are known from the
            pelvis alone, 0 by default.
    """

    rotations: Tensor
    joints: Tensor
    contacts: Tensor
    path: Tensor

    @staticmethod
    def of(rotations: Tensor, joints: Tensor) -> Noise:
        """Noise of rotations and joints (B, T, 22), in a world whose place is known; no contacts are seen."""
        place = torch.zeros_like(joints[..., 0])
        return Noise(rotations, joints, torch.full_like(place, torch.inf), place)

    def __getitem__(self, at: Any) -> Noise:
        return Noise(self.rotations[at], self.joints[at], self.contacts[at], self.path[at])


@dataclass(frozen=True)
class Reference:
    """Where windows are seen from.

    Attributes:
        turn: (B, T, 3, 3), from the reference's axes to the world's, about z.
        origin: (B, 3) metres; z is 0.
    """

    turn: Tensor
    origin: Tensor

    def turning(self) -> Tensor:
        """(B, T, 1) radians a second by which the heading turns to the next frame's, in small turns; 0 on the last frame."""
        ahead = self.turn[..., :2, 0]
        sine = ahead[:, :-1, 0] * ahead[:, 1:, 1] - ahead[:, :-1, 1] * ahead[:, 1:, 0]
        return FPS * pad(sine, (0, 1))[..., None]


@uncast
def motion_of_windows(windows: MotionWindows) -> Motion:
    """The motion in windows of a data module."""
    joints = posed_joints(windows.pose, windows.pelvis, windows.rest[:, None])
    return Motion(to_rotmat(windows.pose), joints, windows.contacts.to(joints))


def motion_of_states(states: Tensor) -> Motion:
    """The motion in states (B, T, 339)."""
    return Motion(rotations(states), joints_of(states))


@uncast
def states_of_motion(motion: Motion) -> Tensor:
    """(B, T, 339): `motion_state.make_states` of a motion."""
    return make_states(conversions.rotmat_to_rotvec(motion.rotations), motion.joints)


@uncast
def find_reference(motion: Motion, noise: Noise) -> Reference:
    """The reference by what is seen of root and pelvis; of a root that is not seen, by hips and shoulders. Where nothing is: x is right."""
    right = -motion.rotations[..., 0, :2, 0]
    doubt = noise.rotations[..., 0]
    across = (motion.joints[..., _RIGHT, :2] - motion.joints[..., _LEFT, :2]).mean(-2)
    sighted = noise.joints[..., [*_RIGHT, *_LEFT]].isfinite().all(-1)
    by_root = doubt.isfinite()
    weight = torch.where(by_root, 1 / (1 + (doubt / _ROTATION_DOUBT) ** 2), 0.1 * sighted)
    heading = torch.where(by_root[..., None], right, torch.where(sighted[..., None], normalize(across, dim=-1), 0.0))
    frames = torch.arange(heading.shape[-2], device=heading.device, dtype=heading.dtype)
    apart = (frames[:, None] - frames).abs()
    reach = torch.exp(-0.5 * (apart / _SMOOTH_FRAMES) ** 2) + _REACHING * torch.exp(-apart / _REACH_FRAMES)
    smooth = reach @ (weight[..., None] * torch.nan_to_num(heading))
    size = torch.linalg.vector_norm(smooth, dim=-1, keepdim=True)
    sure = size > 1e-9
    cos, sin = torch.where(sure, smooth / torch.where(sure, size, 1.0), smooth.new_tensor([1.0, 0.0])).unbind(-1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    seen = (noise.joints[..., :1] + noise.path[..., None]).isfinite()
    place = torch.where(seen, motion.joints[..., 0, :], 0.0).sum(-2) / seen.sum(-2).clamp_min(1)
    return Reference(turn, place * place.new_tensor([1.0, 1.0, 0.0]))


@uncast
def to_features(motion: Motion, reference: Reference) -> Tensor:
    """(B, T, F). The pelvis is over the floor from the reference's origin, in the world's axes: see `local_path`."""
    back = reference.turn.transpose(-1, -2)
    pelvis = motion.joints[..., :1, :]
    root = back @ motion.rotations[..., 0, :, :]
    matrices = torch.cat([root[..., None, :, :], motion.rotations[..., 1:, :, :]], -3)[..., :2]
    places = (motion.joints[..., 1:, :] - pelvis) @ reference.turn
    contacts = torch.zeros_like(pelvis[..., 0, :1]).expand(*pelvis.shape[:-2], len(CONTACT_JOINTS))
    if motion.contacts is not None:
        contacts = motion.contacts.to(places)
    path = pelvis[..., 0, :] - reference.origin[..., None, :]
    return torch.cat([path, matrices.flatten(-3), places.flatten(-2), contacts], -1)


@uncast
def from_features(features: Tensor, reference: Reference) -> Motion:
    """The motion of features (B, T, F): rotations are the nearest to what their columns say, joints where their features say."""
    columns = features[..., ROTATIONS].unflatten(-1, (NUM_JOINTS, 3, 2))
    first = normalize(columns[..., 0], dim=-1)
    second = normalize(columns[..., 1] - (columns[..., 1] * first).sum(-1, keepdim=True) * first, dim=-1)
    matrices = torch.stack([first, second, torch.linalg.cross(first, second)], -1)
    root = reference.turn @ matrices[..., 0, :, :]
    pelvis = features[..., :3] + reference.origin[..., None, :]
    places = features[..., PLACES].unflatten(-1, (NUM_JOINTS - 1, 3)) @ reference.turn.transpose(-1, -2)
    joints = torch.cat([pelvis[..., None, :], pelvis[..., None, :] + places], -2)
    contacts = features[..., CONTACTS].clamp(0, 1)
    return Motion(torch.cat([root[..., None, :, :], matrices[..., 1:, :, :]], -3), joints, contacts)


def noise_of_groups(noise: Noise) -> Tensor:
    """(B, T, G) the standard deviations of the groups' features. That of a joint's place holds the pelvis's, which all places share."""
    pelvis = noise.joints[..., :1]
    places = torch.hypot(noise.joints[..., 1:], pelvis)
    world = torch.hypot(pelvis, noise.path[..., None])
    return torch.cat([world, world, _COLUMN * noise.rotations, places, noise.contacts[..., None]], -1)


@uncast
def mean_of_groups(of_features: Tensor) -> Tensor:
    """Means of values of features (..., F) over each group: (..., G)."""
    table = (GROUP_OF[:, None] == torch.arange(NUM_GROUPS)).to(of_features)
    return of_features @ (table / table.sum(0))


@uncast
def local_path(path: Tensor, reference: Reference) -> Tensor:
    """Vectors over the floor (B, T, 2) from the world's axes into the reference's."""
    turned: Tensor = (path[..., None, :] @ reference.turn[..., :2, :2])[..., 0, :]
    return turned


@uncast
def world_path(path: Tensor, reference: Reference) -> Tensor:
    """The inverse of `local_path`."""
    turned: Tensor = (reference.turn[..., :2, :2] @ path[..., None])[..., 0]
    return turned


def std_of_groups(std: Tensor) -> tuple[Tensor, Tensor]:
    """Of standard deviations of groups' features (B, T, G): those of rotations, in radians, and of joints, in metres, (B, T, 22) both."""
    pelvis, rotations, places = std[..., :2].mean(-1, keepdim=True), std[..., 2 : 2 + NUM_JOINTS], std[..., 2 + NUM_JOINTS : -1]
    return rotations / _COLUMN, torch.cat([pelvis, places], -1)


def exact(motion: Motion) -> Noise:
    """All of a motion's rotations and joints seen exactly, its contacts not."""
    zero = torch.zeros_like(motion.joints[..., 0])
    return Noise.of(zero, zero.clone())


def refuse_half(dtype: torch.dtype) -> None:
    """Raises `ValueError` if the type is of half precision."""
    if dtype in (torch.float16, torch.bfloat16):
        raise ValueError(f"priors of clips need float32 or float64, not {dtype}: prior.float(), under autocast if need be")


def checked(motion: Motion, noise: Noise, dtype: torch.dtype) -> tuple[Motion, Noise]:
    """A motion that is finite, in another type: the identity and zero where nothing is seen. Raises `ValueError` if what is seen is not
    finite, or noise has a standard deviation that is negative or NaN, if there are no frames, or if the type is of half precision."""
    if not motion.joints.shape[1]:
        raise ValueError("a motion without frames was given")
    refuse_half(dtype)
    contacts = None if motion.contacts is None else widened(motion.contacts, dtype)
    motion = Motion(widened(motion.rotations, dtype), widened(motion.joints, dtype), contacts)
    noise = Noise(*(getattr(noise, of.name).to(dtype) for of in fields(noise)))
    for of in fields(noise):
        bad = ~(getattr(noise, of.name) >= 0)
        if bad.any():
            raise ValueError(f"noise of {of.name} is negative or NaN in {int(bad.sum())} places: 0 is exact, infinite is not seen")
    shown, placed = noise.rotations.isfinite(), noise.joints.isfinite()
    rotations = torch.where(shown[..., None, None], motion.rotations, torch.eye(3).to(motion.rotations))
    joints = torch.where(placed[..., None], motion.joints, 0.0)
    broken = ~(rotations.isfinite().all(-1).all(-1).all(-1) & joints.isfinite().all(-1).all(-1))
    if broken.any():
        raise ValueError(
            f"what is said to be seen is NaN or infinite on {int(broken.sum())} frames: hide these, by an infinite std or given=False"
        )
    return Motion(rotations, joints, contacts), noise


def by_joint(given: Tensor, shape: torch.Size) -> Tensor:
    """Which joints of which frames of states (*batch, T, 339), of a shape, are given: (*batch, T, 22) bool, of anything that is not zero
    where it is given, by joint or by frame. Raises `ValueError` if it is of neither shape."""
    found = given != 0
    if given.shape == shape[:-1]:
        found = found[..., None]
    wanted = (*shape[:-1], NUM_JOINTS)
    try:
        return found.expand(wanted)
    except RuntimeError:
        raise ValueError(f"given is {tuple(given.shape)}: {wanted} of joints, or {wanted[:-1]} of frames, are expected") from None
