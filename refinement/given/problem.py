"""What a refinement is given: everything fixed, in one place, people and frames as dimensions.

Conventions. Metres, radians, pixels of the full image. Cameras are OpenCV (x right, y down, z forward) and map world to camera. The world
is stage 1's: the axes of its first camera. Stage 1's camera translations and depths are in its own unit: `metric = alpha * stage1`.
P people, T frames of the clip, J joints of the body, K keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARTS

FloorMethod = Literal["median", "ransac", "fixed"]
"""How the floor is found, see `refinement.given.floor.ground_plane`."""

NUM_SKIN_POINTS = 144
"""Of `Observations.surface_points`, those of the skin, which come first."""


@dataclass(frozen=True)
class Cameras:
    """One pinhole camera per frame.

    Attributes:
        w2c: (T, 4, 4) world to camera, translation in stage 1's unit.
        intrinsics: (T, 3, 3) in pixels of the full image.
        image_size: width and height in pixels.
        confidence: (T,) in [0, 1].
    """

    w2c: Tensor
    intrinsics: Tensor
    image_size: tuple[int, int]
    confidence: Tensor


@dataclass(frozen=True)
class Bodies:
    """Each person's skeleton: joints are linear in betas and posed by forward kinematics.

    Attributes:
        parents: J indices.
        rest_joints: (P, J, 3) metres, at the betas given; joint 0 is the pelvis.
        shape_directions: (P, J, 3, B) metres per unit of beta; B = 0 where no body-model file says how shape moves joints.
        betas: (P, B0) as given, passed through where B = 0.
        smplx_index: (J,) SMPL-X joint of each joint, -1 for those that SMPL-X lacks (SMPL's hand stubs).
        height: (P, J) metres that a joint stands above the sole when the foot is flat; nan for joints that never carry
            (all but ankles and feet).
        thickness: (P, J) metres from a joint forward to the skin that a camera sees; nan where not known.
        root_offset: (P, 3) metres, smplx's J0 at the betas given: `transl = pelvis - root_offset`. Rest joints start at the pelvis.
        root_shape_directions: (P, 3, B) metres per unit of beta, how J0 moves with shape.
        size_width: (P,), or (1,) for all: by how much less sure than usual each size is, a standard deviation in the logarithm.
    """

    parents: tuple[int, ...]
    rest_joints: Tensor
    shape_directions: Tensor
    betas: Tensor
    smplx_index: tuple[int, ...]
    height: Tensor
    thickness: Tensor
    root_offset: Tensor = field(default_factory=lambda: torch.zeros(1, 3))
    root_shape_directions: Tensor = field(default_factory=lambda: torch.zeros(1, 3, 0))
    size_width: Tensor = field(default_factory=lambda: torch.zeros(1))

    @property
    def body_joints(self) -> tuple[int, ...]:
        """Joints of the body without its root, SMPL's hand stubs among them."""
        return tuple(joint for joint, smplx in enumerate(self.smplx_index) if smplx in (-1, *PARTS["body"]))

    @property
    def hand_joints(self) -> tuple[int, ...]:
        """Joints of the fingers; none for bodies whose hands are stubs."""
        return tuple(joint for joint, smplx in enumerate(self.smplx_index) if smplx in (*PARTS["left_hand"], *PARTS["right_hand"]))


@dataclass(frozen=True)
class Observations:
    """What was seen, per person and frame; zero confidence where nothing was.

    Attributes:
        keypoints: (P, T, K, 2) pixels.
        keypoint_confidence: (P, T, K) in [0, 1].
        keypoint_joints: K tuples of joint indices; a keypoint lies at the mean of its joints (most have one).
        keypoint_error: how far it may lie from there even so, as a share of the body's height in the image.
        joint_depth: (P, T, J) z-depth in stage 1's unit, read from the depth map at the projected joint inside the person's own mask.
        joint_depth_confidence: (P, T, J) in [0, 1]; 0 where hidden, outside the mask, or without depth.
        depth_bias: (P,), or (1,) for all: by how much the depth maps seem to show a person too far away, in the logarithm, by the floor.
        floor_points: (M, 3) points of the scene in the stage 1 world and unit that may belong to the floor; M may be 0.
        contact_log_odds: (P, T, 4), or (1, 1, 4) for all, of ankles and balls of the feet, left and right in turn: the log-odds that a
            program which looked at the pictures gives it to touch the ground; 0 where it says nothing.
        surface: (P, T) bool, or (1, 1) for all: frames on which nobody tracked a person whom the depth maps show all the same, and some
            beside, on which the person was seen.
        surface_points: (P, T, N, 3) what they show there, in the frame's camera, stage 1's unit; zero elsewhere: `NUM_SKIN_POINTS` of the
            skin, then of what stands before the person; (1, 1, 0, 3) where nobody is lost.
    """

    keypoints: Tensor
    keypoint_confidence: Tensor
    keypoint_joints: tuple[tuple[int, ...], ...]
    joint_depth: Tensor
    joint_depth_confidence: Tensor
    floor_points: Tensor
    keypoint_error: float = 0.0
    depth_bias: Tensor = field(default_factory=lambda: torch.zeros(1))
    contact_log_odds: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 4))
    surface: Tensor = field(default_factory=lambda: torch.zeros(1, 1, dtype=torch.bool))
    surface_points: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 0, 3))


@dataclass(frozen=True)
class Estimate:
    """Where the refinement starts: stage 3 carried into the world at the scale `alpha0`, gaps filled (slerp and lerp).

    Attributes:
        global_orient: (P, T, 3) world.
        body_pose: (P, T, J - 1, 3).
        pelvis: (P, T, 3) metres, world: the position of joint 0, not smplx's `transl`.
        alpha0: metric = alpha * stage 1.
        ground_plane: (4,) up-facing unit normal n and d with n.x + d = 0, metric at alpha0; nan where nothing tells.
    """

    global_orient: Tensor
    body_pose: Tensor
    pelvis: Tensor
    alpha0: float
    ground_plane: Tensor

    def joints(self, bodies: Bodies) -> Tensor:
        """(P, T, J, 3) metres, world."""
        rotvec = torch.cat([self.global_orient[:, :, None], self.body_pose], 2)
        joints, _ = forward_kinematics(rotvec, bodies.rest_joints[:, None], bodies.parents)
        return joints + (self.pelvis - bodies.rest_joints[:, None, 0])[:, :, None]


@dataclass(frozen=True)
class Problem:
    """One clip.

    Attributes:
        person_ids: P tracker ids, ascending, never renumbered.
        frame_ids: T frame numbers of the clip, consecutive.
        fps: frames a second.
        alive: (P, T) bool, from a person's first to last seen frame.
        visible: (P, T) bool, frames on which stage 3 saw the person.
        warnings: one line for each fault that was found in the input and mended.
        broken: those of them that say which assumption does not hold of this clip, so that its outcome wants a look.
        told: one line for each file beside the stages that has a say.
        scale_width: standard deviation of the logarithm of the true alpha about alpha0's, where a tool says it and neither depth nor
            points of the floor tie people to the cameras' unit; inf where they do, or nobody says it; 0 where alpha0 is kept, since
            no keypoint was seen, or feet move in every unit.
        floor_known: whether the floor is one to hold people to; else it is a guess that only says which way is up.
        floor_tilt: standard deviation, in radians about each axis that lies in it, of the floor's tilt about that of the start, where a
            tool or a sensor says which way is up and no points of the scene tell it; inf where they do, or nobody says it.
        padding: frames at the end that were added to reach a shared length, see `solve.padding`; nobody is alive on them.
    """

    person_ids: tuple[int, ...]
    frame_ids: tuple[int, ...]
    fps: float
    alive: Tensor
    visible: Tensor
    cameras: Cameras
    bodies: Bodies
    observations: Observations
    start: Estimate
    warnings: tuple[str, ...] = field(default=())
    broken: tuple[str, ...] = field(default=())
    told: tuple[str, ...] = field(default=())
    scale_width: float = math.inf
    floor_known: bool = True
    floor_tilt: float = math.inf
    padding: int = 0

    @property
    def num_frames(self) -> int:
        """Frames of the clip itself, without the padding."""
        return len(self.frame_ids) - self.padding

    @property
    def typical(self) -> Tensor:
        """(P, T) bool, frames whose depths and heights stand for all: those on which people are seen; all of a clip in which nobody is."""
        return self.visible | ~self.visible.any()

    @property
    def tied(self) -> bool:
        """Whether depth of people or points of the floor tie people to the cameras' unit."""
        return bool(self.observations.joint_depth_confidence.any()) or len(self.observations.floor_points) > 0

    @property
    def scale_guessed(self) -> bool:
        """Whether alpha0 is a guess: neither depth, nor points of the floor, nor a tool say what stage 1's unit is."""
        return not self.tied and math.isinf(self.scale_width)

    @property
    def scale_known(self) -> bool:
        """Whether alpha0 is kept: nothing that was seen could tell better."""
        return self.scale_width == 0

    def to(self, dtype: torch.dtype, device: torch.device | None = None) -> Problem:
        """The same problem with its floats of one type, and on a device; by default on the one that it is on."""
        return replace(self, **_converted(self, dtype, device))


_SEEN = ("keypoints", "keypoint_confidence", "joint_depth", "joint_depth_confidence", "contact_log_odds", "surface", "surface_points")
_BODILY = ("rest_joints", "shape_directions", "betas", "height", "thickness", "root_offset", "root_shape_directions", "size_width")
_POSED = ("global_orient", "body_pose", "pelvis")
_LIVED = ("alive", "visible")
# The parts of a problem that have frames or people, on which dimension, and what of them has.
_OF_FRAMES = {"cameras": (0, ("w2c", "intrinsics", "confidence")), "observations": (1, _SEEN), "start": (1, _POSED)}
_OF_PEOPLE = {"bodies": (0, _BODILY), "observations": (0, (*_SEEN, "depth_bias")), "start": (0, _POSED)}


def with_frames(problem: Problem, frame_ids: tuple[int, ...], change: Callable[[str, Tensor, int], Tensor]) -> Problem:
    """The problem on other frames.

    Args:
        frame_ids: their numbers, consecutive.
        change: makes of a tensor, by its name, itself and its dimension of frames, what it is on these. What holds of all frames, and has
            a length of 1 there, stays.
    """
    return replace(problem, frame_ids=frame_ids, **_changed(problem, _OF_FRAMES, 1, len(problem.frame_ids), change))


def with_people(problem: Problem, person_ids: tuple[int, ...], change: Callable[[str, Tensor], Tensor]) -> Problem:
    """The problem of other people.

    Args:
        person_ids: theirs.
        change: makes of a tensor (P, ...), by its name and itself, what it is of these. What holds of all people, and has a length of 1
            there, stays.
    """
    of_people = _changed(problem, _OF_PEOPLE, 0, len(problem.person_ids), lambda name, value, _: change(name, value))
    return replace(problem, person_ids=person_ids, **of_people)


def _changed(
    problem: Problem, parts: dict[str, tuple[int, tuple[str, ...]]], dim: int, count: int, change: Callable[[str, Tensor, int], Tensor]
) -> dict[str, Any]:
    """What of a problem is other where tensors of a length `count` are changed: those of its parts, and its own along `dim`."""

    def changed(part: Any, dim: int, names: tuple[str, ...]) -> dict[str, Any]:
        values = {name: getattr(part, name) for name in names}
        return {name: change(name, value, dim) for name, value in values.items() if value.shape[dim] == count}

    others = {name: replace(getattr(problem, name), **changed(getattr(problem, name), *of)) for name, of in parts.items()}
    return {**changed(problem, dim, _LIVED), **others}


def _converted(part: Any, dtype: torch.dtype, device: torch.device | None) -> dict[str, Any]:
    """The fields of a dataclass that change with the type or the device: its tensors, and the dataclasses in it."""
    changed: dict[str, Any] = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if isinstance(value, Tensor):
            value = value.to(device, dtype if value.is_floating_point() else None)
            # made in inference mode no tensor has gradients, which a copy may have
            changed[each.name] = value.clone() if value.is_inference() else value
        elif is_dataclass(value) and not isinstance(value, type):
            changed[each.name] = replace(value, **_converted(value, dtype, device))
    return changed
