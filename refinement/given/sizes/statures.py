"""Whose size in stage 3 is wrong: depth, the floor under the feet, and how tall people are, where they agree against it.

A body that is too large is too far away by its keypoints, so that depth maps and floor show another scale for it than for the others. Whose
is the right one, no image tells; how tall people are does. All errors are mixtures of what is usual and of a slip, so that the fewest slips
explain what is seen, and the most probable of all sizes and scales is found on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from pose_priors.body.anthropometry import stature
from pose_priors.refinement.given.problem import Bodies
from pose_priors.refinement.given.scale import stands_at
from pose_priors.refinement.given.start import PosedPeople
from pose_priors.refinement.given.upright import camera_up, standing, up_direction

_USUAL_SIZE, _USUAL, _SLIP, _SLIPS = 0.015, 0.02, 0.3, 0.1
"""Widths, in the logarithm, of usual errors of sizes and of what depth and floor say, and of slips; and how often these are."""
_STEP, _REACH = 0.002, 0.8
# log-stature of adults, both sexes (Gordon et al., NATICK/TR-15/007, 2014); and the share of children, from 0.6 to 1.6 m alike
_ADULT, _ADULT_WIDTH = np.log(1.69), 0.055
_CHILDREN, _SMALLEST, _TALLEST_CHILD = 0.1, np.log(0.6), np.log(1.6)
_TOLD = 0.04  # change of size that is no ordinary error of stage 3
_BY_BETAS = 0.25  # change of size that a body model's betas are still meant for
_KNOWN = 0.05  # how well a size is known that was found so
_LEVEL = 25.0  # degrees


@dataclass(frozen=True)
class Witnesses:
    """What each person's size in stage 3 would make of the unit: metric = scale * stage 1, (P,), nan where nothing tells.

    Attributes:
        depth: by the depth maps.
        floor: by the floor under the feet.
        stature: (P,) metres, by stage 3.
    """

    depth: np.ndarray
    floor: np.ndarray
    stature: np.ndarray


def size_errors(seen: Witnesses) -> np.ndarray:
    """(P,) log of stage 3's size over the most probable one; 0 where that is within what stage 3 usually errs by, or nothing tells."""
    known = np.log(np.concatenate([seen.depth, seen.floor]))
    known = known[np.isfinite(known)]
    if not len(known):
        return np.zeros(len(seen.depth))
    errors = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    scales = np.arange(known.min() - 0.1, known.max() + 0.1, _STEP)
    total, best = np.zeros(len(scales)), np.zeros((len(seen.depth), len(scales)))
    for p in range(len(seen.depth)):
        cost = (_slipping(errors, _USUAL_SIZE) + _of_stature(np.log(seen.stature[p]) - errors))[:, None] * np.ones(len(scales))
        for witness in (seen.depth[p], seen.floor[p]):
            if np.isfinite(witness):
                cost = cost + _slipping(np.log(witness) - errors[:, None] - scales, _USUAL)
        total += cost.min(0)
        best[p] = errors[cost.argmin(0)]
    found = best[:, total.argmin()]
    return np.where(np.abs(found) > _TOLD, found, 0.0)


def _slipping(error: np.ndarray, width: float) -> np.ndarray:
    """Minus the log-density of an error that is usual most of the time and now and then a slip."""
    usual = (1 - _SLIPS) * np.exp(-0.5 * (error / width) ** 2) / (width * np.sqrt(2 * np.pi))
    cost: np.ndarray = -np.log(usual + _SLIPS * np.exp(-np.abs(error) / _SLIP) / (2 * _SLIP))
    return cost


def _of_stature(height: np.ndarray) -> np.ndarray:
    """Minus the log-density of the log of a person's height in metres."""
    adult = np.exp(-0.5 * ((height - _ADULT) / _ADULT_WIDTH) ** 2) / (_ADULT_WIDTH * np.sqrt(2 * np.pi))
    child = ((height > _SMALLEST) & (height < _TALLEST_CHILD)) / (_TALLEST_CHILD - _SMALLEST)
    cost: np.ndarray = -np.log((1 - _CHILDREN) * adult + _CHILDREN * child + 1e-12)
    return cost


def witnesses(
    bodies: Bodies,
    placed: np.ndarray,
    world: np.ndarray,
    seen: np.ndarray,
    depth: np.ndarray,
    use: np.ndarray,
    w2c: np.ndarray,
    planes: list[tuple[np.ndarray, float]],
) -> Witnesses:
    """What depth and floor say of each person.

    Args:
        placed: (P, T, J, 3) metres, in the axes of each frame's camera; world: the same in the world.
        seen: (P, T) bool.
        depth: (P, T, J) in stage 1's unit; use: (P, T, J) bool, the samples that belong to their joints.
        w2c: (T, 4, 4), translation in stage 1's unit; planes: of the scene in that unit, with their shares of its points.
    """
    thickness = np.nan_to_num(bodies.thickness.numpy())[:, None]
    ratio = (placed[..., 2] - thickness) / np.where(use, depth, 1)
    by_depth = np.array([np.median(ratio[p][use[p]]) if use[p].any() else np.nan for p in range(len(ratio))])
    by_floor = np.full(len(ratio), np.nan)
    ups = [up_direction(world, seen), camera_up(w2c)]
    floors = [(plane, share) for plane, share in (_facing_up(plane, share, ups) for plane, share in planes) if share > 0]
    if floors:
        floor = max(floors, key=lambda each: each[1])[0]
        by_floor = stands_at(placed, seen & standing(world, floor[:3]), bodies.height.numpy(), w2c, floor)
    return Witnesses(by_depth, by_floor, np.array([stature(rest) for rest in bodies.rest_joints.numpy()]))


def _facing_up(plane: np.ndarray, share: float, ups: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """The plane facing up, and its share, 0 where it is not level by people and cameras."""
    facing = plane * np.sign(plane[:3] @ ups[0])
    level = min(float(facing[:3] @ up) for up in ups) > np.cos(np.radians(_LEVEL))
    return facing, share if level else 0.0


def resized(
    bodies: Bodies, people: PosedPeople, errors: np.ndarray, names: list[str], broken: list[str]
) -> tuple[Bodies, PosedPeople, np.ndarray]:
    """Bodies and where they stand, each as much smaller and nearer as its size was too large, so that images stay as they are.

    Args:
        errors: (P,) from `size_errors`.
        names: (P,) the people's.
        broken: takes a line for each person whose size was wrong.
    Returns:
        bodies, people, and (P,) what each was multiplied by.
    """
    by_model = bodies.shape_directions.shape[-1] > 0
    factor = np.where(by_model & (np.abs(errors) > _BY_BETAS), 1.0, np.exp(-errors))
    for name, error, change in zip(names, errors, factor, strict=True):
        if error:
            done = "which is used" if change != 1 else "which no betas of the body model reach, and it is kept"
            broken.append(
                f"{name}: depth, floor and the usual statures of people say that its body is {np.exp(-error):.2f} times as large "
                f"as in stage 3, {done}"
            )
    change = torch.from_numpy(factor)
    grown = replace(
        bodies,
        rest_joints=bodies.rest_joints * change[:, None, None],
        height=bodies.height * change[:, None],
        thickness=bodies.thickness * change[:, None],
        size_width=torch.from_numpy(np.where(factor != 1, _KNOWN, 0.0)),
        root_offset=bodies.root_offset * (change[:, None] if len(bodies.root_offset) == len(factor) else 1),
    )
    if by_model:
        grown = _by_betas(bodies, grown, change.log())
    return grown, replace(people, pelvis=people.pelvis * factor[:, None, None]), factor


def _by_betas(bodies: Bodies, grown: Bodies, change: torch.Tensor) -> Bodies:
    """Of a body model, by the betas that come nearest to it."""
    directions = bodies.shape_directions
    bones = bodies.rest_joints - bodies.rest_joints[:, :1]
    growth = torch.linalg.lstsq(directions.flatten(1, 2), bones.flatten(1)[..., None]).solution[..., 0] * change[:, None]
    betas = bodies.betas.clone()
    betas[:, : growth.shape[1]] += growth
    return replace(
        grown,
        rest_joints=bodies.rest_joints + (directions @ growth[:, None, :, None])[..., 0],
        betas=betas,
        root_offset=bodies.root_offset + (bodies.root_shape_directions @ growth[..., None])[..., 0],
    )
