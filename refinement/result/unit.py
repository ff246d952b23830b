"""Stage 1's unit by how people walk, where nothing else tells it: the unit in which feet stand, and the problem as it starts in another."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from pose_priors.body.interpolation import lerp_missing
from pose_priors.refinement.given.floor import skin_depths, soles
from pose_priors.refinement.given.planes import level_plane
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.motion_states import camera_movement, scale_shows
from pose_priors.refinement.solve.scene import Scene, camera_centres
from pose_priors.refinement.solve.terms.base import seen_for

# How much larger or smaller a unit may be than that of the start, for paths in millimetres too, and the ratio between those tried, 1.5 %.
# It is more where the path that is given is so much longer or shorter than people are far away.
_TIMES, _STEPS, _REACH = 3000.0, 541, 100.0
_STANDS = 0.12  # m/s of a foot that stands, at least; more where the motion itself is that noisy
_CLEARLY = 0.9  # of what feet say against the unit of the start, what they may say at most against another
_GLIDES = 12.5  # m/s, above which nobody glides
# What feet may say at most against a unit, of what they say against people who glide evenly in that of the start; and from what on that is
# no way to see them. A camera that follows people, or stands still, is an ordinary thing; where they move unevenly, and pass a camera as
# fast as it moves and the other way, a unit that is too small is likelier.
_OF_A_GLIDE, _UNEVEN = 0.5, 0.5


@torch.no_grad()
def unit_by_feet(scene: Scene, problem: Problem) -> float | None:
    """The scale at which most people stand on a foot on most frames, people held still in the images of their cameras; None where no
    scale does clearly better than that of the start.

    On a frame the slowest foot counts: whoever walks stands on it. Its speed is that in the camera's turned axes and the camera's own,
    which grows with the scale, so that all scales can be tried, however far off the start is.
    """
    moving, movement = _speeds(scene, problem), camera_movement(problem)
    if moving is None or not 0 < movement < math.inf:
        return None
    own, carried, _ = moving
    still, mixed, moved = own.square().sum(-1), 2 * (own * carried).sum(-1), carried.square().sum(-1)

    def speeds(scale: float) -> torch.Tensor:
        """(N,) squares, of the slowest foot."""
        return (still + scale * mixed + scale**2 * moved).clamp_min(0).amin(-1)

    steps = max(_STEPS, math.ceil(_STEPS * math.log(_REACH * max(movement, 1 / movement)) / math.log(_TIMES)))
    times = _TIMES ** (steps / _STEPS)
    scales = problem.start.alpha0 * np.geomspace(1 / times, times, 2 * steps + 1)
    noise = max(_STANDS**2, min(float(speeds(scale).median()) for scale in scales))
    against = [_against(speeds(scale), noise) for scale in scales]
    best = int(np.argmin(against))
    clear = 0 < best < len(scales) - 1 and against[best] < _CLEARLY * against[steps]
    return float(scales[best]) if clear else None


@torch.no_grad()
def feet_stand(found: Scene, given: Scene, problem: Problem) -> bool:
    """Whether feet stand at the scale of a scene that was refined in another unit, so that those who move evenly in that of the start, as
    who skates or flies by, do not explain as well what was seen.

    Args:
        given: refined in the unit of the start.
    """
    now, before = _speeds(found, problem), _speeds(given, problem)
    if now is None or before is None:
        return False
    alpha, start = float(found.alpha), problem.start.alpha0
    stand = (now[0] + alpha * now[1]).square().sum(-1).amin(-1)
    moving, whose = before[0] + start * before[1], before[2]
    glide = torch.cat([_beside_their_glide(moving[whose == person]) for person in whose.unique()])
    against, evenly = _against(stand, _STANDS**2), _against(glide, _STANDS**2)
    return against <= _OF_A_GLIDE * evenly or (evenly > _UNEVEN and alpha > start and scale_shows(problem))


@torch.no_grad()
def feet_that_move(scene: Scene, problem: Problem) -> float:
    """The share of frames, about, on which people stand on no foot; nan where none is seen."""
    moving = _speeds(scene, problem)
    return math.nan if moving is None else _against((moving[0] + scene.alpha * moving[1]).square().sum(-1).amin(-1), _STANDS**2)


def _speeds(scene: Scene, problem: Problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Of all frames on which people are seen: (N, F, 3) m/s of their feet in the camera's turned axes, (N, 1, 3) the camera's own, in stage
    1's unit, and (N,) the row of the person; None where there are none."""
    feet, both = contact_joints(problem.bodies), seen_for(problem, 2)
    if not feet or not both.any():
        return None
    turned = torch.einsum("tji,ptfj->ptfi", problem.cameras.w2c.double()[:, :3, :3], scene.camera_joints[:, :, feet].double())
    own = torch.diff(turned, dim=1)[both] * problem.fps
    carried = (torch.diff(camera_centres(problem.cameras).double(), dim=0) * problem.fps).expand(len(both), -1, -1)[both][:, None]
    return own, carried, both.nonzero()[:, 0]


def _against(squares: torch.Tensor, noise: float) -> float:
    """The share of frames, about, on which no foot stands; squares of speeds."""
    return float((squares / (squares + noise)).mean())


def _beside_their_glide(moving: torch.Tensor) -> torch.Tensor:
    """(N,) squares of the slowest foot of one person, as seen by whoever glides with them: who moves as evenly as one of the feet (N, F, 3)
    mostly does, or not at all, whichever leaves less."""
    evenly = moving.median(0).values
    evenly = torch.cat([torch.zeros_like(evenly[:1]), evenly[torch.linalg.vector_norm(evenly, dim=-1) <= _GLIDES]])
    left: list[torch.Tensor] = [(moving - glide).square().sum(-1).amin(-1) for glide in evenly]
    return min(left, key=lambda squares: _against(squares, _STANDS**2))


def in_unit(problem: Problem, alpha: float) -> Problem:
    """The problem as it starts where stage 1's unit is so many metres: people stay where the cameras see them, on straight lines between,
    and the floor goes to their feet. Of a problem that no depth ties to the unit."""
    start, bodies = problem.start, problem.bodies
    visible = problem.visible.cpu().numpy()
    pelvis = (start.pelvis + (alpha - start.alpha0) * camera_centres(problem.cameras)).cpu().numpy()
    pelvis = np.stack([lerp_missing(row, seen) if seen.any() else row for row, seen in zip(pelvis, visible, strict=True)])
    moved = replace(start, pelvis=torch.from_numpy(pelvis).to(start.pelvis), alpha0=alpha)
    joints, up = moved.joints(bodies).cpu().double().numpy(), start.ground_plane[:3].cpu().double().numpy()
    skin = skin_depths(bodies.height.cpu().numpy(), bodies.thickness.cpu().numpy())
    plane = level_plane(soles(joints, skin, up, visible), up)
    return replace(problem, start=replace(moved, ground_plane=torch.from_numpy(plane).to(start.ground_plane)))
