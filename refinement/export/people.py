"""A refined result as what exporters need: skeletons whose bones keep their length, posed over time in a world that stands upright."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pose_priors.body import conversions
from pose_priors.body.layout import layout
from pose_priors.body.model import chained
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.result.people import RefinedPerson, people_in, read_person, rest_offsets, stated_fps
from pose_priors.refinement.result.write import RESULTS

log = logging.getLogger("export")

# Between the joints of a result and those of its bones turned by its poses: files are of single precision.
_TOLERANCE_M = 5e-4
_STUB_NAMES = ("left_hand", "right_hand")


@dataclass(frozen=True)
class AnimatedSkeleton:
    """One person from the first to the last frame that they were seen on, in metres, z up, the floor at z = 0, all people in one world.

    Attributes:
        person: the tracker's id.
        frames: (T,) frame numbers of the clip, consecutive.
        visible: (T,) bool; the poses of other frames are smooth guesses between those around them.
        rotmat: (T, J, 3, 3) of each joint relative to its parent, of the pelvis relative to the world.
        offsets: (J, 3) of each joint from its parent, in the parent's axes at rest (y up, z forward, x to the body's left); of the root 0.
        pelvis: (T, 3).
        betas: (B,) shape coefficients of the model that the bodies were given in.
        root_offset: (3,) where smplx's root joint stands at rest: its `transl` is the pelvis less it.
        parents: J indices, -1 for the root.
        joint_sigma_mm: (T, J) the root mean square distance at which the true joint is to be expected, nan where the result does not say.
    """

    person: int
    frames: np.ndarray
    visible: np.ndarray
    rotmat: np.ndarray
    offsets: np.ndarray
    pelvis: np.ndarray
    betas: np.ndarray
    root_offset: np.ndarray
    parents: tuple[int, ...]
    joint_sigma_mm: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the joints: SMPL-X's, and `left_hand` and `right_hand` for what SMPL has instead of fingers."""
        return (*JOINT_NAMES[:22], *_STUB_NAMES) if len(self.parents) == 24 else JOINT_NAMES[: len(self.parents)]

    def at(self, rows: Sequence[int]) -> AnimatedSkeleton:
        """The same person on some of the rows, which may come twice."""
        index = list(rows)
        sigma = None if self.joint_sigma_mm is None else self.joint_sigma_mm[index]
        over_time = {name: getattr(self, name)[index] for name in ("frames", "visible", "rotmat", "pelvis")}
        return replace(self, **over_time, joint_sigma_mm=sigma)

    @property
    def marks(self) -> dict[str, int | list[int]]:
        """What formats without a place for it are told beside the motion: the frames of the clip that the person has, and on which of these
        nobody saw them."""
        hidden: list[int] = self.frames[~self.visible].tolist()
        return {"first_frame": int(self.frames[0]), "last_frame": int(self.frames[-1]), "frames_not_seen": hidden}

    @property
    def joints(self) -> np.ndarray:
        """(T, J, 3) in the world."""
        posed, _ = chained(torch.from_numpy(self.rotmat), torch.from_numpy(self.offsets), self.parents)
        joints: np.ndarray = posed.numpy() + self.pelvis[:, None]
        return joints

    @property
    def turns(self) -> np.ndarray:
        """(T, J, 3, 3) of each joint in the world, from its rest."""
        _, turns = chained(torch.from_numpy(self.rotmat), torch.from_numpy(self.offsets), self.parents)
        found: np.ndarray = turns.numpy()
        return found

    @property
    def rest_joints(self) -> np.ndarray:
        """(J, 3) nothing rotated, from the pelvis."""
        rest = np.zeros_like(self.offsets)
        for joint, parent in enumerate(self.parents[1:], start=1):
            rest[joint] = rest[parent] + self.offsets[joint]
        return rest


@dataclass(frozen=True)
class Exported:
    """One refined clip.

    Attributes:
        name: of the sequence.
        fps: frames a second.
        people: ascending by id.
    """

    name: str
    fps: float
    people: tuple[AnimatedSkeleton, ...]

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last frame that anybody is on."""
        return min(int(person.frames[0]) for person in self.people), max(int(person.frames[-1]) for person in self.people)


def continuous_quaternions(rotmat: np.ndarray) -> np.ndarray:
    """(T, J, 4) xyzw unit quaternions, float32, of rotations (T, J, 3, 3) over time; each on the side of the sphere of the frame before, so
    that what reads between two frames goes the shortest way."""
    quat = conversions.rotmat_to_unitquat(torch.from_numpy(rotmat)).numpy()
    turned = np.where((quat[1:] * quat[:-1]).sum(-1) < 0, -1, 1)
    sign = np.concatenate([np.ones_like(turned[:1]), turned]).cumprod(0) if len(turned) else np.ones(quat.shape[:2])
    signed: np.ndarray = quat * sign[..., None]
    return signed.astype(np.float32)


def read_people(name: str, folder: Path) -> Exported:
    """The people of a folder of stage 5.

    Raises:
        UserError: if a file is missing, misshaped or not finite, frames are missing in it, its joints do not follow from its poses, or its
            frame rate is none.
    """
    fps = stated_fps(folder)
    if fps is None:
        fps = USUAL_FPS
        log.warning("%s: %s does not say how many frames a second; %g are assumed", folder, RESULTS, fps)
    ids = people_in(folder)
    if not ids:
        raise UserError(f"{folder}: no person_<id> in it; give a folder that refine.py wrote")
    return Exported(name, fps, tuple(_upright_skeleton(read_person(folder, person)) for person in ids))


def _upright_skeleton(found: RefinedPerson) -> AnimatedSkeleton:
    path, frames = found.arrays.path, found.track.frames
    if (gaps := np.flatnonzero(np.diff(frames) != 1)).size:
        raise UserError(f"{path}: frame {frames[gaps[0] + 1]} follows frame {frames[gaps[0]]}; rows of consecutive frames are expected")
    turn, shift = upright(found.ground_plane)
    rotmat = conversions.rotvec_to_rotmat(torch.from_numpy(found.pose)).numpy()
    rotmat[:, 0] = turn @ rotmat[:, 0]
    joints = found.track.joints @ turn.T + shift
    root = joints[:, 0] - (found.transl @ turn.T + shift)
    root_offset = np.median(root @ turn, 0)  # it does not turn with the world
    parents = layout(joints.shape[1]).parents
    offsets = _bones(path, rotmat, joints, parents)
    pelvis, sigma = joints[:, 0], found.joint_sigma_mm
    return AnimatedSkeleton(found.person, frames, found.visible, rotmat, offsets, pelvis, found.betas, root_offset, parents, sigma)


def upright(ground_plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What carries the world of stage 1 to one that stands upright: x to the right of its first camera, z up, the floor at z = 0.

    Args:
        ground_plane: (4,) up-facing unit normal n and d with n.x + d = 0, in the axes of an OpenCV camera.
    Returns:
        turn (3, 3) and shift (3,): new = turn @ old + shift.
    """
    up = ground_plane[:3] / np.linalg.norm(ground_plane[:3])
    # of a camera that lies on its side x is up or down; then what is down in the picture is to the right
    across = np.eye(3)[0] if abs(up[0]) < 0.9 else np.eye(3)[1]
    right = across - (across @ up) * up
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(up, right), up]), np.array([0, 0, ground_plane[3] / np.linalg.norm(ground_plane[:3])])


def _bones(path: Path, rotmat: np.ndarray, joints: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """(J, 3) offsets that, turned by the poses, give the joints."""
    _, turns = chained(torch.from_numpy(rotmat), torch.zeros(len(parents), 3, dtype=torch.float64), parents)
    offsets = rest_offsets(turns.numpy(), joints, parents)
    posed, _ = chained(torch.from_numpy(rotmat), torch.from_numpy(offsets), parents)
    if (error := np.abs(posed.numpy() + joints[:, :1] - joints).max()) > _TOLERANCE_M:
        raise UserError(f"{path}: its joints do not follow from its poses, by {1e3 * error:.1f} mm; is it a file that refine.py wrote?")
    return offsets
