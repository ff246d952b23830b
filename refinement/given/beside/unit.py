"""How many metres the unit of a camera's path has, by feet that stand and by another path of the same camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose_priors.body.pinhole import camera_centres
from pose_priors.refinement.formats.readings import common_unit
from pose_priors.refinement.given.robust import weighted_median

_STEP_S = 0.1  # to both sides of a frame: a foot stands longer, and readings' noise is short of what a camera moves
_STANDS = 0.04  # metres by which a foot that stands seems to move meanwhile
_DEPTH_ERRS = 5.0  # times as much as places across
_TRIED, _REFITS = 60, 10
_EXPLAINED = 0.5  # of how feet move before the camera, which its path must explain
_AGREE = 0.25  # by which the halves of a clip may differ, in the logarithm
_LEAST = 12  # steps of feet in each half


@dataclass(frozen=True)
class Found:
    """Metres in the unit of the path, and what tells them, in a few words for a line."""

    alpha: float
    by: str


def by_feet(feet: np.ndarray, seen: np.ndarray, w2c: np.ndarray, fps: float) -> Found | None:
    """The unit at which one foot of each person stands still in the world at a time; None where the feet do not tell.

    Args:
        feet: (P, T, F, 3) metres, in the axes of each frame's camera.
        seen: (P, T) bool.
        w2c: (T, 4, 4), translation in the unit.
        fps: frames a second.
    """
    reach = max(1, round(_STEP_S * fps))
    if len(w2c) <= 2 * reach:
        return None
    turned = np.einsum("tji,ptfj->ptfi", w2c[:, :3, :3], feet)
    both = seen[:, 2 * reach :] & seen[:, : -2 * reach]
    rays = turned[:, reach:-reach].mean(2)[both]
    rays /= np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-9)
    by_body = _less_along((turned[:, 2 * reach :] - turned[:, : -2 * reach])[both], rays[:, None])
    centres = camera_centres(w2c)
    path = _less_along(np.broadcast_to(centres[2 * reach :] - centres[: -2 * reach], (*both.shape, 3))[both], rays)
    when = np.broadcast_to(np.arange(both.shape[1]), both.shape)[both]
    alpha, explained = _standing(by_body, path)
    if not alpha > 0 or explained < _EXPLAINED:
        return None
    order = np.argsort(when, kind="stable")
    share = np.cumsum((path[order] ** 2).sum(1))
    middle = int(np.searchsorted(share, share[-1] / 2))  # each half has half of the path
    halves = [order[:middle], order[middle:]]
    if min(len(half) for half in halves) < _LEAST:
        return None
    alphas = [_standing(by_body[half], path[half])[0] for half in halves]
    if min(alphas) <= 0 or abs(np.log(alphas[0] / alphas[1])) > _AGREE:
        return None
    return Found(alpha, f"feet that stand, which it explains {explained:.0%} of")


def _less_along(steps: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Steps (..., 3) with what they have along unit vectors made smaller, in which a body's depth errs by more than its place across."""
    along: np.ndarray = (steps * rays).sum(-1, keepdims=True) * rays
    return steps - (1 - 1 / _DEPTH_ERRS) * along


def _standing(by_body: np.ndarray, path: np.ndarray) -> tuple[float, float]:
    """The alpha at which `by_body + alpha * path` (n, F, 3) is smallest for one of the F of each row, and the share of `by_body` of that
    one that it explains."""
    lengths, steps = np.linalg.norm(by_body, axis=-1).min(1), np.linalg.norm(path, axis=-1)
    moves = steps > 0
    if moves.sum() < _LEAST or not (lengths[moves] > 0).any():
        return 0.0, 0.0
    guess = weighted_median(lengths[moves] / steps[moves], steps[moves])
    alpha, least = 0.0, np.inf
    for tried in (max(guess, 1e-9) * np.geomspace(0.05, 20, _TRIED)).tolist():
        off = np.linalg.norm(by_body + tried * path[:, None], axis=-1).min(1)
        cost = float((off**2 / (off**2 + _STANDS**2)).sum())
        if cost < least:
            alpha, least = tried, cost
    rows = np.arange(len(path))
    for _ in range(_REFITS):
        off = np.linalg.norm(by_body + alpha * path[:, None], axis=-1)
        foot = off.argmin(1)
        chosen, off = by_body[rows, foot], off[rows, foot]
        weight = (_STANDS**2 / (off**2 + _STANDS**2)) ** 2
        norm = float((weight * (path**2).sum(1)).sum())
        if not norm > 0:
            return 0.0, 0.0
        alpha = -float((weight * (path * chosen).sum(1)).sum()) / norm
    before = float((weight * (chosen**2).sum(1)).sum())
    after = float((weight * ((chosen + alpha * path[:]) ** 2).sum(1)).sum())
    return alpha, 1 - after / max(before, 1e-12)


def by_own_path(own: np.ndarray, other: np.ndarray) -> Found | None:
    """The unit of a camera's path in that of another path of the same camera, each (T, 4, 4) world to camera; None where the other stands,
    or does not explain it."""
    places = [camera_centres(w2c) for w2c in (own, other)]
    turn = between_worlds(own, other)
    alpha, explained = common_unit([places[1] @ turn.T], [places[0]])
    if not alpha > 0 or explained < _EXPLAINED:
        return None
    return Found(alpha, f"the clip's own path of the camera, which it explains {explained:.0%} of")


def between_worlds(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(3, 3) from the axes of the world of `other` into those of `own`, as most of their cameras (T, 4, 4) have it."""
    turns = np.einsum("tji,tjk->tik", own[:, :3, :3], other[:, :3, :3])
    return _mean(turns)


def _mean(turns: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The rotation nearest to the elementwise median of many (T, 3, 3)."""
    left, _, right = np.linalg.svd(np.median(turns, 0))
    found: np.ndarray = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return found
