"""Who of a clip is refined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field, field_validator

from pose_priors.configs.base import Config, UserError
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip


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
