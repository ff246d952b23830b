"""Who of a clip is refined, and whose ids seem to have been exchanged on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from pydantic import Field, field_validator

from pose_priors.configs.base import Config, UserError
from pose_priors.datamodules.plausibility import MAX_SPEED
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip

_LEAP_M = 0.4  # that nobody's place is off by from frame to frame
_OTHERWISE = 0.5  # of how far two people leap, how far they do at most if each goes on as the other


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
    """One line for each two people who leap to where the other was, from a frame to the next, as trackers do that exchange their ids.

    Args:
        people: P ids; frame_ids: (T,).
        pelvis: (P, T, 3) metres, world.
        seen: (P, T) bool.
    """
    found, both = [], seen[:, 1:] & seen[:, :-1]
    leap = max(_LEAP_M, MAX_SPEED / fps)
    for a, b in combinations(range(len(people)), 2):
        own = np.stack([np.linalg.norm(pelvis[p, 1:] - pelvis[p, :-1], axis=-1) for p in (a, b)])
        across = np.stack([np.linalg.norm(pelvis[p, 1:] - pelvis[q, :-1], axis=-1) for p, q in ((a, b), (b, a))])
        for t in np.flatnonzero(both[a] & both[b] & (own > leap).all(0) & (across.max(0) < _OTHERWISE * own.min(0))):
            found.append(
                f"persons {people[a]} and {people[b]} change places from frame {frame_ids[t]} to {frame_ids[t + 1]}: their ids seem to "
                "have been exchanged there, and each was refined as one person"
            )
    return found
