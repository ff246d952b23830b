"""The 70 keypoints of MHR (Momentum Human Rig), as SAM 3D Body writes them, and bodies of SMPL-X that have them."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.fitting.points import BodyPoints, Fit
from pose_priors.body.fitting.proportions import fit_body
from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.datamodules.capture.usual_poses import usual_poses

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_LIMBS = tuple(f"{side}_{name}" for name in ("shoulder", "elbow", "hip", "knee", "ankle") for side in ("left", "right"))
_FEET = tuple(f"{side}_{name}" for side in ("left", "right") for name in ("big_toe", "small_toe", "heel"))
_HANDS = tuple(
    name
    for side in ("right", "left")
    for name in (*(f"{side}_{finger}{part}" for finger in _FINGERS for part in ("_tip", "3", "2", "1")), f"{side}_wrist")
)
_SKIN = tuple(f"{side}_{name}" for name in ("olecranon", "cubital_fossa", "acromion") for side in ("left", "right"))
KEYPOINTS: tuple[str, ...] = (*_HEAD, *_LIMBS, *_FEET, *_HANDS, *_SKIN, "neck")
"""Names in the files' order; fingers count from the knuckle."""

# what is no joint of SMPL-X's: the joint that carries it, and where it is from there on a left side, in metres of the built-in adult
_ELSEWHERE: dict[str, tuple[str, tuple[float, float, float]]] = {
    "nose": ("head", (0.0, 0.02, 0.128)),
    "eye": ("head", (0.031, 0.045, 0.092)),
    "ear": ("head", (0.07, 0.01, 0.01)),
    "big_toe": ("foot", (-0.012, -0.016, 0.055)),
    "small_toe": ("foot", (0.035, -0.028, 0.007)),
    "heel": ("ankle", (-0.004, -0.045, -0.03)),
    "olecranon": ("elbow", (0.0, 0.0, -0.026)),
    "cubital_fossa": ("elbow", (0.01, 0.0, 0.033)),
    "acromion": ("collar", (0.097, 0.096, -0.01)),
    "neck": ("neck", (0.0, 0.03, 0.014)),
}
_TIP_M = 0.02
_SIGMA, _SKIN_SIGMA = 0.005, 0.01
_JOINT_SPREAD, _SKIN_SPREAD = 0.008, 0.01


def keypoints_of_body() -> tuple[BodyPoints, Tensor]:
    """The keypoints on SMPL-X's joints, and by how many metres (70,) each may be elsewhere on another person."""
    rest = rest_joints()
    joint, offset, on_skin = [], [], []
    for name in KEYPOINTS:
        base = name.removeprefix("left_").removeprefix("right_")
        side = name[: len(name) - len(base)]
        if base in _ELSEWHERE:
            carrier, where = _ELSEWHERE[base]
            joint.append(index_of(carrier if carrier in ("head", "neck") else f"{side}{carrier}"))
            offset.append(rest.new_tensor(where) * rest.new_tensor([-1.0 if side == "right_" else 1.0, 1.0, 1.0]))
        elif base.endswith("_tip"):
            last, before = (index_of(f"{side}{base.removesuffix('_tip')}{i}") for i in (3, 2))
            joint.append(last)
            offset.append(_TIP_M * torch.nn.functional.normalize(rest[last] - rest[before], dim=0))
        else:
            joint.append(index_of(name))
            offset.append(rest.new_zeros(3))
        on_skin.append(base in _ELSEWHERE or base.endswith("_tip"))
    skin = torch.tensor(on_skin)
    sigma = torch.where(skin, _SKIN_SIGMA, _SIGMA).double()
    return BodyPoints(torch.tensor(joint), torch.stack(offset), sigma), torch.where(skin, _SKIN_SPREAD, _JOINT_SPREAD).double()


def fitted(seen: Tensor) -> Fit:
    """The body of SMPL-X that has one person's keypoints.

    Args:
        seen: (T, 70, 3) metres, in any axes, nan where one is not known.
    Returns:
        pose of 55 joints, hands too, and the keypoints of that body as `places`.
    """
    points, spread = keypoints_of_body()
    rest = rest_joints()
    thigh = seen[:, KEYPOINTS.index("left_knee")] - seen[:, KEYPOINTS.index("left_hip")]
    shank = seen[:, KEYPOINTS.index("left_ankle")] - seen[:, KEYPOINTS.index("left_knee")]
    length = float((thigh.norm(dim=-1) + shank.norm(dim=-1)).nanmedian())
    hip, knee, ankle = (rest[index_of(f"left_{name}")] for name in ("hip", "knee", "ankle"))
    size = length / float((knee - hip).norm() + (ankle - knee).norm())
    points = BodyPoints(points.joint, points.offset * size, points.sigma)
    frames = torch.linspace(0, len(seen) - 1, min(len(seen), 60)).long().unique()
    return fit_body(
        seen, points, rest * size, PARENTS, usual_poses(len(PARENTS), girdles=False), offset_spread=spread * size, frames=frames
    )
