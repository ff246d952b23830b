"""What there is to see of one refined sequence: its people before and after, the floor, and depth as points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pose_priors.body.layout import layout
from pose_priors.body.pinhole import pixel_centres, to_world, unproject
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats import read_upstream
from pose_priors.refinement.formats.clip import Recording
from pose_priors.refinement.formats.files import Arrays, existing_file, read_json
from pose_priors.refinement.given.skeletons import assemble, recover
from pose_priors.refinement.given.start import arranged, carried_into_cameras, scaled
from pose_priors.refinement.result.found import Result
from pose_priors.refinement.result.write import RESULTS, person_file

CONTACT_JOINTS = tuple(index_of(f"{side}_{joint}") for joint in ("ankle", "foot") for side in ("left", "right"))
"""The joints that contacts are written of, in their order."""

_FPS = 30.0  # where no file says, as the refinement has it


@dataclass(frozen=True)
class Motion:
    """One person over time.

    Attributes:
        frames: (n,) frame numbers, strictly increasing.
        joints: (n, J, 3) metres, world.
    """

    frames: np.ndarray
    joints: np.ndarray

    def row(self, frame: int) -> int | None:
        """Which row is of a frame, None if none is."""
        at = int(np.searchsorted(self.frames, frame))
        return at if at < len(self.frames) and self.frames[at] == frame else None

    def bones(self, frame: int) -> np.ndarray | None:
        """(J - 1, 2, 3) from each joint's parent to the joint; None where the person is not there."""
        row = self.row(frame)
        if row is None:
            return None
        joints = self.joints[row]
        return np.stack([joints[list(layout(len(joints)).parents[1:])], joints[1:]], 1)


@dataclass(frozen=True)
class Person:
    """One refined person.

    Attributes:
        person: the tracker's id.
        before: as the input has them, in the world at the scale that the refinement started from; None where the input is not known.
        after: as refined.
        seen: (n,) bool, on which frames of `after` the input sees them.
        contacts: (n, 4) in [0, 1], how surely each of `CONTACT_JOINTS` rests on the floor.
    """

    person: int
    before: Motion | None
    after: Motion
    seen: np.ndarray
    contacts: np.ndarray


@dataclass(frozen=True)
class ReviewScene:
    """One sequence, small things in memory; depth maps are read one at a time.

    Attributes:
        people: ascending by id.
        frames: the numbers of the first and the last frame.
        fps: frames a second.
        ground_plane: (4,) up-facing unit normal n and d with n.x + d = 0, metres.
        alpha: metric = alpha * the cameras' unit.
        status: what `refinement_results.json` says.
        recording: the input, None where it is not known.
        missing: why it is not, one line; empty where it is.
    """

    people: tuple[Person, ...]
    frames: tuple[int, int]
    fps: float
    ground_plane: np.ndarray
    alpha: float
    status: str
    recording: Recording | None
    missing: str

    @property
    def has_depth(self) -> bool:
        """Whether there are depth maps, or a cloud of points."""
        recording = self.recording
        if recording is None:
            return False
        return len(recording.cloud) > 0 or any(recording.depth.read(frame) is not None for frame in recording.cameras.frame_ids.tolist())

    def depth_points(self, frame: int, step: int) -> np.ndarray:
        """(N, 3) metres, world: every `step`-th row and column of a frame's depth map, or as thinned a cloud where there are no maps."""
        if self.recording is None:
            return np.zeros((0, 3))
        cameras = self.recording.cameras
        at = frame - int(cameras.frame_ids[0])
        found = self.recording.depth.read(frame) if 0 <= at < len(cameras.frame_ids) else None
        if found is None:
            return self.recording.cloud[:: step**2] * self.alpha
        rows, columns, centres = pixel_centres(found[0].shape, cameras.image_size, step)
        depth = found[0][rows, columns].astype(float)
        there = np.isfinite(depth)
        return to_world(unproject(centres[there], depth[there], cameras.intrinsics[at]), cameras.w2c[at]) * self.alpha


def load_scene(result: Result) -> ReviewScene:
    """Reads a result, and its input where that is known. What is wrong with the input leaves it out, and is told in `missing`.

    Raises:
        UserError: if the result cannot be read.
    """
    results = read_json(existing_file(result.refined / RESULTS, "what came out of a refinement"))
    ids = sorted(int(person) for person in results.get("per_person_likelihoods", {}) if person.isdigit())
    if not ids:
        raise UserError(f"{result.refined / RESULTS}: names no person; refine the sequence again")
    after = {person: _after(Arrays(existing_file(person_file(result.refined, person), "a refined person"))) for person in ids}
    last = after[ids[-1]][1]
    recording, missing, before = None, "", {}
    try:
        if (source := result.source()) is None:
            raise UserError("the input is not beside the result; give its folder with --input")
        recording = read_upstream(source, [])
        before = _before(recording, last["scale_alpha"] / (1 + last["scale_delta"]))
    except UserError as error:
        recording, missing = None, str(error)
    seen = [motion.frames for motion, _ in after.values()]
    fps = None if recording is None else recording.cameras.fps
    return ReviewScene(
        people=tuple(
            Person(person, before.get(person), motion, arrays["visible"].astype(bool), arrays["contacts"])
            for person, (motion, arrays) in after.items()
        ),
        frames=(int(min(frames[0] for frames in seen)), int(max(frames[-1] for frames in seen))),
        fps=fps or _FPS,
        ground_plane=last["ground_plane"],
        alpha=float(last["scale_alpha"]),
        status=str(results.get("status")),
        recording=recording,
        missing=missing,
    )


def _after(arrays: Arrays) -> tuple[Motion, Mapping[str, Any]]:
    """A refined person's joints, and the other arrays of the file."""
    names = ("frame_ids", "joints", "visible", "contacts", "ground_plane", "scale_alpha", "scale_delta")
    found = {name: arrays.need(name) for name in names}
    n = len(found["frame_ids"])
    wanted = {"frame_ids": (n,), "visible": (n,), "contacts": (n, len(CONTACT_JOINTS)), "ground_plane": (4,)}
    wanted |= {"joints": (n, *found["joints"].shape[1:2], 3), "scale_alpha": (), "scale_delta": ()}
    for name, value in found.items():
        if value.shape != wanted[name] or n == 0 or not np.isfinite(value).all():
            raise UserError(
                f"{arrays.path}: {name!r} has shape {value.shape}; {wanted[name]}, finite, is expected; refine the sequence again"
            )
    if found["joints"].shape[1] not in (22, 24, 55):
        raise UserError(f"{arrays.path}: {found['joints'].shape[1]} joints; 22, 24 or 55 are expected; refine the sequence again")
    return Motion(found["frame_ids"].astype(int), found["joints"].astype(float)), found


def _before(recording: Recording, alpha: float) -> dict[int, Motion]:
    """The people of the input by id, carried into the world by its cameras at a scale, on the frames that they are seen on."""
    tracks = recording.camera_bodies or recording.world_bodies
    of = layout(max((track.pose.shape[1] for track in tracks.values()), key=(22, 24, 55).index))
    bodies = assemble([recover(track, of, None, []) for track in tracks.values()], [track.betas for track in tracks.values()], of)
    if not recording.camera_bodies:
        recording = carried_into_cameras(recording, bodies)
    frames = recording.cameras.frame_ids
    people = arranged(recording.camera_bodies, tuple(tracks), frames, bodies)
    joints = to_world(people.joints(bodies), scaled(recording.cameras.w2c, alpha))
    return {person: Motion(frames[seen], joints[p][seen]) for p, (person, seen) in enumerate(zip(tracks, people.seen, strict=True))}
