"""Where the search begins at high frame rates: the start without the noise between frames.

White noise of a few millimetres is an acceleration that grows with the square of the frame rate. At 60 frames a second it lies so far out
in the tail of the accelerations that people make that smoothing takes no hold of it, and each frame stays where it is. The objective is
left as it is; only where the search begins is mended, so that accelerations there are about those of noise at 30 frames a second.
"""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from pose_priors.refinement.solve.rates import USUAL_FPS, beyond_usual
from pose_priors.refinement.solve.variables import Variables

# A Gaussian of k frames makes accelerations of white noise smaller by k^2.5; they grow with the square of the frame rate.
_POWER = 2 / 2.5
_REACH = 3  # widths of the Gaussian


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
    width = beyond_usual(fps) ** _POWER
    steps = range(-round(_REACH * width), round(_REACH * width) + 1)
    gaussian = torch.exp(-0.5 * (torch.tensor(steps) / width) ** 2)
    weights = (gaussian / gaussian.sum()).tolist()
    quat = variables.start_quat[:, :, variables.free]
    shift, turn = torch.zeros_like(variables.start_pelvis), torch.zeros_like(quat[..., :3])
    at = torch.arange(shift.shape[1], device=shift.device)
    for weight, step in zip(weights, steps, strict=True):
        # as far back as ahead at the ends too, else the first frame would be drawn into the clip
        reach = torch.minimum(at, frames - 1 - at).clamp_min(0)
        there = at + reach.clamp_max(abs(step)) * (1 if step > 0 else -1)
        shift += weight * (variables.start_pelvis[:, there] - variables.start_pelvis)
        turn += weight * _turn(quat, quat[:, there])
    variables.add_increments(torch.cat([shift[:, :, None], turn], 2))


def _turn(start: Tensor, end: Tensor) -> Tensor:
    """Rotation vectors, in the frame of `start`, from there to `end`."""
    turn: Tensor = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(start), end))
    return turn
