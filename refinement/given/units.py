"""Bodies in metres: people whose bones, or whose distance, say that a file is in centimetres or millimetres are brought into metres."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from pose_priors.body.builtin import STATURE, rest_joints
from pose_priors.body.layout import layout
from pose_priors.configs.base import UserError, listed
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip

SHORTEST, TALLEST = 0.3, 2.6
"""Metres; people, from the newborn who is too small to walk to nearly the tallest who ever lived."""
_UNITS = {1e-2: "centimetres", 1e-3: "millimetres"}
_FAR = 30.0  # distances that differ by more are in different units
_NUM_BODY = 22
_MIN_DISTANCE = 0.5  # below, where the pelvis stands says nothing about the unit


def stature(joints: np.ndarray) -> float:
    """How tall a body (n, J >= 22, 3) is, in the unit of its joints: by the length of its bones, so whatever its pose."""
    lengths = np.median(_lengths(joints[:, :_NUM_BODY]), 0).sum()
    return STATURE * float(lengths / _lengths(rest_joints().numpy()[None, :_NUM_BODY]).sum())


def _lengths(joints: np.ndarray) -> np.ndarray:
    parents = list(layout(_NUM_BODY).parents[1:])
    lengths: np.ndarray = np.linalg.norm(joints[:, 1:] - joints[:, parents], axis=-1)
    return lengths


def in_metres(clip: UpstreamClip, warnings: list[str]) -> UpstreamClip:
    """The clip with all bodies in metres; `warnings` takes a line for each unit, and for each person who is left out as nobody's size.

    Raises:
        UserError: if nobody is left.
    """
    told, refused = defaultdict[str, list[int]](list), list[str]()
    people = {
        kind: {person: found for person, body in tracks.items() if (found := _mended(clip, body, kind, told, refused)) is not None}
        for kind, tracks in (("camera", clip.camera_bodies), ("world", clip.world_bodies))
    }
    if clip.camera_bodies:
        people["world"] = {person: body for person, body in people["world"].items() if person in people["camera"]}
    if refused and not (people["camera"] or people["world"]):
        raise UserError(refused[0])
    warnings += [f"{line}: people {listed(who)}" for line, who in told.items()]
    warnings += refused
    return replace(clip, camera_bodies=people["camera"], world_bodies=people["world"])


def _mended(clip: UpstreamClip, body: BodyTrack, kind: str, told: dict[str, list[int]], refused: list[str]) -> BodyTrack | None:
    if body.joints is not None:
        tall = stature(body.joints)
        unit = next((unit for unit in (1.0, *_UNITS) if SHORTEST <= unit * tall <= TALLEST), None)
        if unit is None:
            refused.append(
                f"{body.source}: by its joints person {body.person} is {tall:.4g} m tall, {SHORTEST} to {TALLEST} m are expected, and no "
                "centimetres or millimetres are; the person is left out"
            )
            return None
        if unit != 1:
            told[f"the joints in the {kind} are in {_UNITS[unit]}, and are taken as such"].append(body.person)
            body = replace(body, joints=body.joints * unit)
    if (unit := _unit_of_places(clip, body)) != 1:
        told[f"transl in the {kind} is in {_UNITS[unit]}, and is taken as such"].append(body.person)
        body = replace(body, transl=body.transl * unit)
    return body


def _unit_of_places(clip: UpstreamClip, body: BodyTrack) -> float:
    """Of `transl`, against where the joints are, or how far away a person of usual height is who fills their boxes."""
    given = float(np.median(np.linalg.norm(body.transl, axis=1)))
    if body.joints is not None:
        expected = float(np.median(np.linalg.norm(body.joints[:, 0], axis=1)))
    else:
        boxes = clip.tracks.boxes.get(body.person, {})
        heights = [box[3] - box[1] for frame in body.frames.tolist() if (box := boxes.get(frame)) is not None]
        expected = float(np.median(clip.cameras.intrinsics[:, 1, 1]) * STATURE / np.median(heights)) if heights else np.nan
    if not expected > _MIN_DISTANCE or not given > _FAR * expected:
        return 1.0
    return min(_UNITS, key=lambda unit: abs(np.log(given * unit / expected)))
