"""Who of a clip is refined, and whose ids seem to have been exchanged on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field, field_validator

from pose_priors.configs.base import Config, UserError, counted
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip

LEAP_M = 0.4
"""Metres that nobody's place is off by from frame to frame."""
_FASTEST = 5.0  # m/s, by which people who dance or play may take each other's places, but for those who go straight on
_STEADY = 5  # frames over which it is seen how somebody goes
_OTHERWISE = 0.5  # of how far people leap, how far they do at most if each goes on as the other


class PersonSelection(Config):
    """Who is refined; by default everybody."""

    person_ids: list[int] | None = Field(None, min_length=1)
    """The tracker's ids of the people to refine, also as text, as in the names of its files: `001 003`; null for all."""
    top_k: int | None = Field(None, ge=1)
    """Of these, only so many who are seen on the most frames; null for all."""
    multihuman: bool = True
    """With false only the one who is seen on the most frames."""

    @field_validator("person_ids", mode="before")
    @classmethod
    def _read_ids(cls, given: object) -> object:
        if isinstance(given, str):
            given = given.replace(",", " ").split()
        if isinstance(given, int) and not isinstance(given, bool):
            given = [given]
        if not isinstance(given, list):
            return given
        return [int(one) if isinstance(one, str) and one.isascii() and one.isdigit() else one for one in given]

    def choose(self, bodies: Mapping[int, BodyTrack]) -> list[int]:
        """The ids to refine, ascending; of equally long tracks the lower id is chosen. Raises `UserError` if there is no such person."""
        wanted = list(bodies) if self.person_ids is None else self.person_ids
        if unknown := sorted(set(wanted) - set(bodies)):
            there = ", ".join(map(str, bodies))
            raise UserError(f"input.person_ids: nobody has the id {', '.join(map(str, unknown))}; this sequence has {there}")
        most = min(self.top_k or len(bodies), len(bodies)) if self.multihuman else 1
        longest = sorted(set(wanted), key=lambda person: (-len(bodies[person].frames), person))
        return sorted(longest[:most])

    def of(self, clip: UpstreamClip) -> UpstreamClip:
        """The clip with the bodies of the chosen alone; boxes, keypoints and masks of the others still say where nobody else is."""
        chosen = self.choose(clip.camera_bodies)
        if len(chosen) == len(clip.camera_bodies):
            return clip
        camera, world = clip.camera_bodies, clip.world_bodies
        return replace(
            clip,
            camera_bodies={person: camera[person] for person in chosen},
            world_bodies={person: world[person] for person in chosen if person in world},
        )


def exchanged(people: Sequence[int], frame_ids: np.ndarray, pelvis: np.ndarray, seen: np.ndarray, fps: float) -> list[str]:
    """One line for people who each go to where another of them was, from where they were last seen to where they are seen next, faster than
    one of them can: as trackers do that exchange their ids while one hides another.

    Args:
        people: P ids; frame_ids: (T,).
        pelvis: (P, T, 3) metres, world.
        seen: (P, T) bool.
    """
    frames, each = np.arange(seen.shape[1]), np.arange(len(seen))[:, None]
    last = np.maximum.accumulate(np.where(seen, frames, -1), 1)[:, :-1]
    following = np.minimum.accumulate(np.where(seen, frames, len(frames))[:, ::-1], 1)[:, ::-1][:, 1:]
    there = (last >= 0) & (following < len(frames))
    last, following = np.where(there, last, 0), np.where(there, following, 0)
    old, new, ago = pelvis[each, last], pelvis[each, following], _run_before(seen)[each, last]
    steady = (old - pelvis[each, last - ago]) * ((following - last) / np.maximum(ago, 1))[..., None]
    own = np.minimum(np.linalg.norm(new - old, axis=-1), np.linalg.norm(new - old - steady, axis=-1))
    moved, leaps = there & (own > LEAP_M), there & (own > np.maximum(LEAP_M, _FASTEST * (following - last) / fps))
    found: dict[tuple[int, ...], dict[tuple[int, int], None]] = {}
    for t in np.flatnonzero(leaps.any(0) & (moved.sum(0) > 1)):
        moving = np.flatnonzero(moved[:, t])
        expected = old[moving, t] + np.stack([np.zeros_like(steady[moving, t]), steady[moving, t]])
        across = np.linalg.norm(new[moving, t, None] - expected[:, None], axis=-1).min(0)
        np.fill_diagonal(across, np.inf)
        for round_ in _rounds(across.argmin(1)):
            rows = moving[round_]
            if leaps[rows, t].any() and across[round_].min(1).max() < _OTHERWISE * own[rows, t].min():
                found.setdefault(tuple(rows), {})[int(last[rows, t].min()), int(following[rows, t].max())] = None
    lines = []
    for who, times in found.items():
        first, end = next(iter(times))
        names = ", ".join(str(people[p]) for p in who[:-1])
        again = f", and {counted(len(times) - 1, 'time')} more" if len(times) > 1 else ""
        lines.append(
            f"persons {names} and {people[who[-1]]} change places from frame {frame_ids[first]} to {frame_ids[end]}{again}: "
            "their ids seem to have been exchanged there, and each was refined as one person"
        )
    return lines


def _run_before(seen: np.ndarray) -> np.ndarray:
    """(P, T) how many frames before each were seen in a row, to `_STEADY`."""
    out = np.zeros(seen.shape, int)
    for back in range(1, _STEADY + 1):
        out[:, back:] += (out[:, back:] == back - 1) & seen[:, :-back]
    return out


def _rounds(after: np.ndarray) -> list[list[int]]:
    """The rounds of n places, each followed by another; of each the places in ascending order."""
    found = []
    for start in range(len(after)):
        walk = [start]
        while (place := int(after[walk[-1]])) not in walk:
            walk.append(place)
        if place == start == min(walk):
            found.append(sorted(walk))
    return found
