"""Motion capture brought onto SMPL-X's joints: by where joints are and which way bones point, under a prior of poses; angles of other
skeletons, whose axes and rest poses are others, are never copied.

The unit is found from the length of the legs, up from how people hold themselves; the body gets the proportions of who was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.fitting.draws import draw_pose
from pose_priors.body.fitting.points import BodyPoints, Fit
from pose_priors.body.fitting.proportions import fit_body
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of
from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.recorded import Recorded
from pose_priors.datamodules.capture.skeletons import recognised
from pose_priors.datamodules.capture.usual_poses import usual_poses

UNITS_M = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "units of CMU's": 0.0254 / 0.45}
"""Units of length that files are in, in metres."""
_LEAST_SIZE, _MOST_SIZE = 0.55, 1.35  # of legs, against the mean adult's
_UPRIGHT = 0.6  # least cosine between an axis and where trunks point on average
_PROPORTION_FRAMES = 120
# metres by which each frame errs, and by which joints of one name stand elsewhere on another skeleton, on the bone that carries them: more
# on the trunk, where makers agree least; a limb's joint that may be far elsewhere would look like a limb that is always bent
_USUAL_SIGMA = 0.008
_TRUNK_SHIFT, _LIMB_SHIFT = 0.03, 0.02
_SHIFTS = dict.fromkeys(("hip", "spine1", "spine2", "spine3", "collar", "shoulder", "head"), _TRUNK_SHIFT)
_SHIFTS |= dict.fromkeys(("knee", "ankle", "foot", "elbow", "wrist"), _LIMB_SHIFT) | {"neck": 0.04}
# what is no joint of the body's: on which joint it sits, at which joint or how far (left side), how far it may be from there, and its error
_TIPS: dict[str, tuple[str, str | tuple[float, float, float], float, float]] = {
    "head_tip": ("head", (0.0, 0.13, 0.02), 0.05, 0.03),
    "foot_tip": ("foot", (0.0, 0.0, 0.06), 0.03, 0.02),
    "hand": ("wrist", "middle1", 0.03, 0.015),
    "hand_tip": ("wrist", "middle3", 0.04, 0.02),
    "thumb_tip": ("wrist", "thumb2", 0.04, 0.02),
}
_NOSE_M, _NOSE_SIGMA = 0.1, 0.03


@dataclass(frozen=True)
class Retargeted:
    """A recorded person on SMPL-X's joints.

    Attributes:
        pose: (T, 55, 3) rotation vectors, the root's in a world with z up.
        pelvis: (T, 3) metres.
        rest: (55, 3) metres, the joints of this person at rest.
        names: (K,) SMPL-X's joints that stand for joints of the file.
        off: (T, K) metres by which they are from these.
        maker, unit: of the skeleton; of the file's lengths.
        fps: frames a second, None where the file does not say.
    """

    pose: Tensor
    pelvis: Tensor
    rest: Tensor
    names: tuple[str, ...]
    off: Tensor
    maker: str
    unit: str
    fps: float | None


def retargeted(recorded: Recorded, *, drawn: bool = False) -> Retargeted:
    """A recorded person on SMPL-X's joints: each frame's most probable pose, or, if `drawn`, one of those that it may have been, by a seed
    that the file makes; `off` is the most probable one's.

    Raises:
        UserError: if the skeleton is of no known maker, its size that of no person in any unit, or no axis is up.
    """
    skeleton, at = recognised(recorded.names, recorded.source)
    unit = _unit(recorded, at)
    found = fitted(recorded, at, UNITS_M[unit], _to_y_up(recorded, at))
    if drawn:
        num_joints = len(found.fit.rest)
        generator = torch.Generator().manual_seed(crc32(recorded.places.tobytes()))
        fit = draw_pose(found.seen, found.fit, PARENTS[:num_joints], usual_poses(num_joints), generator)
        found = replace(found, fit=fit)
    return _result(recorded, found, skeleton.maker, unit)


@dataclass(frozen=True)
class Fitted:
    """The body of SMPL-X that has a recorded person's joints.

    Attributes:
        fit: its pose of 22 or 55 joints, and proportions.
        seen: (T, P, 3) metres, where the fit's points were recorded.
        names: (K,) SMPL-X's joints that stand for joints of the file.
        off: (T, K) metres by which they are from these.
    """

    fit: Fit
    seen: Tensor
    names: tuple[str, ...]
    off: Tensor


def fitted(recorded: Recorded, at: dict[str, int], metres: float, turn: np.ndarray) -> Fitted:
    """A body by inverse kinematics.

    Args:
        at: SMPL-X's joint, or what sits on one, -> joint of the file, see `skeletons.recognised`.
        metres: the file's unit.
        turn: (3, 3) what the file's world is turned by.
    """
    places = torch.from_numpy(recorded.places @ turn.T * metres)
    num_joints = 55 if "left_index1" in at else 22
    prior, rest = usual_poses(num_joints), rest_joints()[:num_joints]
    names = [name for name in at if _base(name) not in _TIPS]
    points, spread = _points(list(at), rest_joints())
    shifts = torch.tensor([_SHIFTS.get(_base(name), 0.0) for name in JOINT_NAMES[:num_joints]], dtype=rest.dtype)
    seen = places[:, [at[name] for name in at]]
    nose = _nose(recorded, at, places, turn)
    seen = torch.cat([seen, nose[:, None]], 1)
    size = _legs(places, at) / _legs(rest[None], {name: index_of(name) for name in at if name.split("_")[-1] in ("hip", "knee", "ankle")})
    points = BodyPoints(points.joint, points.offset * size, points.sigma)
    chosen = torch.linspace(0, len(seen) - 1, min(len(seen), _PROPORTION_FRAMES)).long().unique()
    fit = fit_body(seen, points, rest * size, PARENTS[:num_joints], prior, offset_spread=spread, shift_spread=shifts, frames=chosen)
    columns = [list(at).index(name) for name in names]
    return Fitted(fit, seen, tuple(names), (fit.places - seen)[:, columns].norm(dim=-1))


def _result(recorded: Recorded, found: Fitted, maker: str, unit: str) -> Retargeted:
    fit = found.fit
    to_z_up = Rotation.from_euler("x", 90, degrees=True)
    pose = torch.zeros(len(fit.pose), 55, 3, dtype=torch.float64)
    pose[:, : fit.pose.shape[1]] = fit.pose
    pose[:, 0] = torch.from_numpy((to_z_up * Rotation.from_rotvec(pose[:, 0].numpy())).as_rotvec())
    pelvis = torch.from_numpy(to_z_up.apply(fit.root.numpy()))
    usual = rest_joints()
    rest = usual * float(fit.rest[:22].norm() / usual[:22].norm())
    rest[: len(fit.rest)] = fit.rest
    return Retargeted(pose, pelvis, rest, found.names, found.off, maker, unit, recorded.fps)


def _base(name: str) -> str:
    """A joint's name without its side."""
    return name.removeprefix("left_").removeprefix("right_")


def _legs(places: Tensor, at: dict[str, int]) -> float:
    """How long the legs are, from hip to ankle, in the places' (T, N, 3) unit."""
    total = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (places[:, at[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        total += float((knee - hip).norm(dim=-1).median() + (ankle - knee).norm(dim=-1).median())
    return total / 2


def _unit(recorded: Recorded, at: dict[str, int]) -> str:
    length = _legs(torch.from_numpy(recorded.places), at)
    ours = _legs(rest_joints()[None], {f"{s}_{n}": index_of(f"{s}_{n}") for s in ("left", "right") for n in ("hip", "knee", "ankle")})
    sizes = {unit: length * metres / ours for unit, metres in UNITS_M.items()}
    fitting = {unit: abs(np.log(size)) for unit, size in sizes.items() if _LEAST_SIZE < size < _MOST_SIZE}
    if not fitting:
        raise UserError(f"{recorded.source}: legs of {length:.4g} units, which are those of no person in {', '.join(UNITS_M)}")
    return min(fitting, key=lambda unit: fitting[unit])


def _to_y_up(recorded: Recorded, at: dict[str, int]) -> np.ndarray:
    """(3, 3) the turn of the file's world that makes y up."""
    hips = recorded.places[:, [at["left_hip"], at["right_hip"]]].mean(1)
    trunk = recorded.places[:, at["neck"]] - hips
    mean = (trunk / np.linalg.norm(trunk, axis=-1, keepdims=True).clip(1e-9)).mean(0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) < _UPRIGHT:
        raise UserError(f"{recorded.source}: no axis is clearly up: trunks point to {mean.round(2).tolist()} on average")
    up = np.eye(3)[axis] * np.sign(mean[axis])
    turn, _ = Rotation.align_vectors([[0, 1, 0]], [up])
    matrix: np.ndarray = turn.as_matrix().round(9)
    return matrix


def _points(names: list[str], rest: Tensor) -> tuple[BodyPoints, Tensor]:
    """The points of these names and the nose, and how far each may be from where it is expected."""
    joint, offset, sigma, spread = [], [], [], []
    for name in names:
        base, side = _base(name), name[: -len(_base(name))]
        if base in _TIPS:
            carrier, where, free, error = _TIPS[base]
            place = index_of(f"{side}{carrier}")
            away = rest[index_of(f"{side}{where}")] - rest[place] if isinstance(where, str) else rest.new_tensor(where)
        else:
            place, away = index_of(name), rest.new_zeros(3)
            free, error = 0.0, _USUAL_SIGMA
        joint.append(place)
        offset.append(away)
        sigma.append(error)
        spread.append(free)
    joint.append(index_of("head"))
    offset.append(rest.new_tensor([0.0, 0.0, _NOSE_M]))
    points = BodyPoints(torch.tensor(joint), torch.stack(offset), rest.new_tensor([*sigma, _NOSE_SIGMA]))
    return points, rest.new_tensor([*spread, 0.0])


def _nose(recorded: Recorded, at: dict[str, int], places: Tensor, turn: np.ndarray) -> Tensor:
    """(T, 3) a point before the head, fixed to it: which of the head's own axes is forward follows from where the chest points on
    average, since people look ahead more than elsewhere."""
    turns = torch.from_numpy(turn @ recorded.turns[:, at["head"]])
    across = places[:, at["left_shoulder"]] - places[:, at["right_shoulder"]]
    trunk = places[:, at["neck"]] - (places[:, at["left_hip"]] + places[:, at["right_hip"]]) / 2
    forward = torch.nn.functional.normalize(torch.linalg.cross(across, trunk), dim=-1)
    own = torch.nn.functional.normalize((turns.transpose(1, 2) @ forward[..., None])[..., 0].mean(0), dim=0)
    return places[:, at["head"]] + _NOSE_M * turns @ own
