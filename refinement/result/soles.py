"""Soles of feet that stand, laid towards the floor once the search is done.

A foot that rolls about the line from its ankle to its ball moves no joint, so that no keypoint and no depth tells how it is rolled: the
search leaves that as stage 3 had it, some degrees off. Feet that stand with ankle and ball tell it. Many are level; others lean on an edge
by anything that ankles do, as those do who stand astride, and are none the worse for it. So what is seen of a foot is a normal about its
roll, as wide as stage 3's error, and its roll is one of these two kinds before it is seen. The foot is turned to the mean of what it may be
then: a roll of a few degrees goes, a large one stays, and so does any where stage 3 hardly errs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pose_priors.body import conversions
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.solve.contacts import contact_joints, detect_contacts
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.stages import rotation_width

_FEET = tuple((index_of(f"{side}_ankle"), index_of(f"{side}_foot")) for side in ("left", "right"))
_LEVEL, _EDGE, _SHARE = math.radians(2.5), math.radians(35), 0.5  # what level feet are off by, how far others lean, and how many are level
_SAME_S, _FADE_S = 0.4, 0.08  # for which a foot is of one kind, and in which a turn comes and goes
_REACH, _TINY = 3, 1e-6  # widths of the Gaussian; and the least that divides


@torch.no_grad()
def lay_soles(module: RefinementModule) -> None:
    """Turns feet that stand about the line from ankle to ball; all joints stay where they are. Nothing where nobody is held to a floor.

    Args:
        module: done.
    """
    problem, variables, config = module.problem, module.variables, module.config
    if not (problem.floor_known and config.enable_environmental_constraints and config.lambda_contact):
        return
    scene, sigma = module.scene(), rotation_width(module.noise)
    contacts = detect_contacts(scene, problem, module.motion)
    moved, carrying, free = variables.moved(), contact_joints(problem.bodies), variables.free.tolist()
    _, turned = forward_kinematics(scene.rotvec, scene.rest_joints[:, None], problem.bodies.parents)
    changed = torch.zeros_like(moved)
    for foot in _FEET:
        ankle, ball = (problem.bodies.smplx_index.index(joint) for joint in foot)
        if not {ankle, ball} <= set(carrying):
            continue
        bone = functional.normalize(scene.rest_joints[:, ball] - scene.rest_joints[:, ankle], dim=-1)
        stands = contacts[..., [carrying.index(ankle), carrying.index(ball)]].amin(-1)
        turn = _turn(roll_of(turned[:, :, ankle], bone, scene.normal), stands, problem.alive, sigma, problem.fps)
        place = 1 + free.index(ankle)
        before = conversions.rotvec_to_unitquat(moved[:, :, place])
        after = conversions.quat_product(before, conversions.rotvec_to_unitquat(turn[..., None] * bone[:, None]))
        changed[:, :, place] = conversions.unitquat_to_rotvec(after) - moved[:, :, place]
    variables.add_increments(changed)


def excess(roll: Tensor, sigma: float) -> Tensor:
    """What of a roll (...), in radians, is to go, as a part of it: it is the error in it that is to be expected.

    Of level feet the roll is normal about 0, of others anything that ankles do; what is seen of it is off by a normal error of width sigma.
    """
    variance = _LEVEL**2 + sigma**2
    level = _SHARE * torch.exp(-0.5 * roll.square() / variance) / math.sqrt(2 * math.pi * variance)
    return sigma**2 / variance * level / (level + (1 - _SHARE) / (2 * _EDGE))


def roll_of(turned: Tensor, bone: Tensor, up: Tensor) -> Tensor:
    """(P, T) radians by which a foot is rolled about the line from ankle to ball; 0 where its sole is level from side to side.

    Args:
        turned: (P, T, 3, 3) its rotation relative to the world.
        bone: (P, 3) unit, from ankle to ball at rest, where the sole is level; up: (3,) unit.
    """
    aside = functional.normalize(torch.linalg.cross(bone.new_tensor([0.0, 1.0, 0.0]).expand_as(bone), bone), dim=-1)
    above = torch.linalg.cross(bone, aside)
    return torch.atan2(*((turned @ axis[:, None, :, None])[..., 0] @ up for axis in (aside, above)))


def _turn(roll: Tensor, stands: Tensor, alive: Tensor, sigma: float, fps: float) -> Tensor:
    """(P, T) radians to turn by; of which kind a foot is, its mean square on the frames around on which it stands tells."""
    around = _smoothed(stands * roll.square(), _SAME_S * fps) / _smoothed(stands, _SAME_S * fps).clamp_min(_TINY)
    turn, life = -roll * excess(around.sqrt(), sigma) * stands, alive.to(roll)
    return life * _smoothed(turn, _FADE_S * fps) / _smoothed(life, _FADE_S * fps).clamp_min(_TINY)


def _smoothed(values: Tensor, width: float) -> Tensor:
    """Values (P, T) under a Gaussian of so many frames, zero before and after the clip."""
    reach = math.ceil(_REACH * width)
    steps = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    gaussian = torch.exp(-0.5 * (steps / width).square())
    smooth: Tensor = functional.conv1d(values[:, None], (gaussian / gaussian.sum())[None, None], padding=reach)[:, 0]
    return smooth
