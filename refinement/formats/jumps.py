"""Single rows that cannot be: off those around them, and reached by a step that is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pose_priors.configs.base import listed
from pose_priors.datamodules.plausibility import MAX_SPEED
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip

_AROUND_S = 0.25  # rows this far before and after say where a row should be
_TIMES = 6.0  # what rows usually differ by from those around them, a median: what is off by more stands out
_SUDDEN = 0.6  # of how far a row is off: less of a step was a movement that had begun before
_LEAST_ROWS = 5
_SHARE, _MOST = 0.15, 0.2  # of the distance; and of a person's rows: where more jump, that is how the person moves
_NEAREST_M = 0.1


def jumping(values: np.ndarray, frames: np.ndarray, fps: float, least: np.ndarray | float, fastest: float) -> np.ndarray:
    """Which rows stand out from those around them, in runs that are shorter than what surrounds them.

    A row does if it is off the median of the rows within a quarter of a second by `least` and by six times what rows usually are, and if
    one step into or out of its run makes up most of it and is faster than `fastest`. People who turn fast, and noise, do not.

    Args:
        values: (n, C), finite.
        frames: (n,) strictly increasing.
        fps: frames a second.
        least: distance, (n,) or one.
        fastest: distance a second.
    Returns:
        (n,) bool; none of fewer than five rows.
    """
    out = np.zeros(len(values), bool)
    if len(values) < _LEAST_ROWS:
        return out
    reach = max(2, round(_AROUND_S * fps))
    lows, highs = np.searchsorted(frames, frames - reach), np.searchsorted(frames, frames + reach, "right")
    around = np.stack([np.median(values[low:high], 0) for low, high in zip(lows, highs, strict=True)])
    off = np.linalg.norm(values - around, axis=1)
    far = off > np.maximum(least, _TIMES * np.median(off))
    step = np.linalg.norm(np.diff(values, axis=0), axis=1)
    leap = np.where(step * fps / np.diff(frames) > fastest, step, 0)
    into, out_of = np.concatenate([[0], leap]), np.concatenate([leap, [0]])
    for run in np.split(np.flatnonzero(far), np.flatnonzero(np.diff(np.flatnonzero(far)) != 1) + 1):
        if len(run) and max(into[run[0]], out_of[run[-1]]) > _SUDDEN * off[run].max():
            out[run] = True
    return out


def without_jumps(clip: UpstreamClip, fps: float | None, warnings: list[str]) -> UpstreamClip:
    """The clip without the rows on which a person's distance from the camera jumps; they count as not seen, and `warnings` takes a line
    for each person. How a camera turns does not matter, since it changes no distance.

    Args:
        clip: in metres.
        fps: frames a second; None for the cameras' own.
    """
    rate = fps or clip.cameras.fps or USUAL_FPS
    return replace(clip, camera_bodies={person: _without(body, rate, warnings) for person, body in clip.camera_bodies.items()})


def _without(body: BodyTrack, fps: float, warnings: list[str]) -> BodyTrack:
    pelvis = body.transl if body.joints is None else body.joints[:, 0]
    away = np.maximum(np.linalg.norm(pelvis, axis=1), _NEAREST_M)
    jumps = jumping(away[:, None], body.frames, fps, _SHARE * float(np.median(away)), MAX_SPEED)
    if not jumps.any() or jumps.mean() > _MOST:
        return body
    warnings.append(
        f"{body.source}: on {int(jumps.sum())} of {len(jumps)} frames ({listed(body.frames[jumps].tolist())}) person {body.person} is "
        "suddenly at another distance from the camera, and back; these rows count as not seen"
    )
    return body.rows(~jumps)
