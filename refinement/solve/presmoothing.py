"""Motion at high frame rates without the noise between frames, before the search and after it.

White noise of a few millimetres is an acceleration that grows with the square of the frame rate. At 60 frames a second it lies so far out
in the tail of the accelerations that people make that smoothing takes no hold of it, and each frame stays where it is. The objective is
left as it is; where the search begins is mended, so that accelerations there are about those of noise at 30 frames a second.

The search leaves some of it: what joints may accelerate by, they may do anew on every frame. Nobody moves to and fro within a few
thousandths of a second, so that this is taken out of what was found.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.rates import USUAL_FPS, beyond_usual
from pose_priors.refinement.solve.variables import Variables

# A Gaussian of k frames makes accelerations of white noise smaller by k^2.5; they grow with the square of the frame rate.
_POWER = 2 / 2.5
_REACH = 3  # widths of the Gaussian
_FLICKER_S = 0.01  # its width once the search is done


@torch.no_grad()
def presmooth(variables: Variables, fps: float, frames: int) -> None:
    """Sets the increments of pelvis and rotations to what smooths the start that they add to; nothing up to 30 frames a second.

    Args:
        variables: as made, all zero.
        fps: frames a second.
        frames: of the clip, without padding.
    """
    if fps <= USUAL_FPS or frames < 2:
        return
    there = torch.zeros_like(variables.start_pelvis[..., 0], dtype=torch.bool)
    there[:, :frames] = True
    _smooth(variables, beyond_usual(fps) ** _POWER, there)


@torch.no_grad()
def without_flicker(variables: Variables, problem: Problem) -> None:
    """Smooths people's motion over a few milliseconds, each from the first frame of their life to the last; nothing up to 30 frames a
    second, where neighbouring frames are farther apart."""
    if problem.fps > USUAL_FPS:
        _smooth(variables, _FLICKER_S * problem.fps, problem.alive)


def _smooth(variables: Variables, width: float, there: Tensor) -> None:
    """Moves the variables to what a Gaussian of so many frames makes of the motion, on those of the frames (P, T) of each person's span."""
    steps = range(-round(_REACH * width), round(_REACH * width) + 1)
    gaussian = torch.exp(-0.5 * (torch.tensor(steps) / width) ** 2)
    weights = (gaussian / gaussian.sum()).tolist()
    moved = variables.moved()
    pelvis = variables.start_pelvis * (1 + variables.delta() if variables.grows else 1) + moved[:, :, 0]
    start = variables.start_quat[:, :, variables.free]
    quat = conversions.quat_product(start, conversions.rotvec_to_unitquat(moved[:, :, 1:]))
    shift, turn = torch.zeros_like(pelvis), torch.zeros_like(moved[:, :, 1:])
    reach = _reach(there)
    person, at = torch.arange(len(pelvis), device=pelvis.device)[:, None], torch.arange(pelvis.shape[1], device=pelvis.device)
    for weight, step in zip(weights, steps, strict=True):
        other = at + reach.clamp_max(abs(step)) * (1 if step > 0 else -1)
        shift += weight * (pelvis[person, other] - pelvis)
        turn += weight * _turn(quat, quat[person, other])
    # onto what the joints have turned by so far
    both = conversions.quat_product(conversions.rotvec_to_unitquat(moved[:, :, 1:]), conversions.rotvec_to_unitquat(turn))
    variables.add_increments(torch.cat([shift[:, :, None], conversions.unitquat_to_rotvec(both) - moved[:, :, 1:]], 2))


def _reach(there: Tensor) -> Tensor:
    """(P, T) how many frames each may look back and ahead: as far back as ahead at the ends of a person's span (P, T) too, else its first
    frame would be drawn into it."""
    at = torch.arange(there.shape[1], device=there.device)
    last = torch.where(there, at, -1).amax(1, keepdim=True)
    first = torch.where(there, at, there.shape[1]).amin(1, keepdim=True)
    return torch.minimum(at - first, last - at).clamp_min(0)


def _turn(start: Tensor, end: Tensor) -> Tensor:
    """Rotation vectors, in the frame of `start`, from there to `end`."""
    turn: Tensor = conversions.unitquat_to_rotvec(conversions.quat_product(conversions.quat_conjugation(start), end))
    return turn
