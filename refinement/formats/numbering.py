"""Which number each stage gives to the first frame: from 0, or from 1 as ffmpeg's `%06d` does, or the number that it has in the video.

Frames are matched by their numbers. Where a stage's numbers run beyond those of the cameras, and cover as many frames, they are the
cameras' frames counted from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.depth import depth_files
from pose_priors.refinement.formats.files import Arrays, numbered_files, read_json, whole_numbers
from pose_priors.refinement.formats.masks import mask_frames

_MOST_FRAMES = 1_000_000  # of a clip: nine hours
_TRACK = re.compile(r"track_\d+_frames")


@dataclass(frozen=True)
class Shifts:
    """By how much each kind of files is numbered higher than the cameras."""

    depth: int = 0
    masks: int = 0
    tracks: int = 0
    bodies: int = 0


def matched(
    cameras: CameraTrack, stage1_dir: Path, stage2_dir: Path | None, stage3_dir: Path, warnings: list[str]
) -> tuple[CameraTrack, Shifts]:
    """The cameras with the numbers that the other stages give to their frames, and what still differs; `warnings` takes a line for each."""
    found = {"depth": (stage1_dir / "depth_maps", set(depth_files(stage1_dir / "depth_maps"))), "bodies": (stage3_dir, _rows(stage3_dir))}
    if stage2_dir is not None:
        found |= {"masks": (stage2_dir / "masks", mask_frames(stage2_dir / "masks")), "tracks": (stage2_dir, _tracked(stage2_dir))}
    given = {kind: (folder, frames) for kind, (folder, frames) in found.items() if frames}
    everything = set[int]().union(*(frames for _, frames in given.values()))
    if not cameras.numbered and (shift := _shift(everything, cameras)):
        first, last = min(everything), max(everything)
        warnings.append(
            f"{cameras.source}: its frames have no numbers, and the other stages count from {first} to {last}: its first camera is taken "
            f"for frame {first}"
        )
        return replace(cameras, frame_ids=cameras.frame_ids + shift), Shifts()
    # a stage that has more frames than there are cameras shows that the cameras end early, not that others count from elsewhere
    longest = max((max(frames) - min(frames) for _, frames in given.values()), default=0)
    short = longest > cameras.frame_ids[-1] - cameras.frame_ids[0]
    shifts = {kind: 0 if short else _shift(frames, cameras) for kind, (_, frames) in given.items()}
    for kind, shift in shifts.items():
        if shift:
            folder, frames = given[kind]
            warnings.append(
                f"{folder}: its frames count from {min(frames)}, the cameras' from {cameras.frame_ids[0]}; they are taken for the same"
            )
    if not any(shifts.values()) and everything and _likely_from_one(everything, cameras):
        warnings.append(
            f"{cameras.source}: its frames are {cameras.frame_ids[0]} to {cameras.frame_ids[-1]}, those of the other stages "
            f"{min(everything)} to {max(everything)}; if these count from 1, say so by 'frame_ids' in cameras.npz"
        )
    return cameras, Shifts(**shifts)


def _shift(frames: Collection[int], cameras: CameraTrack) -> int:
    """0 where they are the cameras' numbers, or it cannot be told."""
    first, last = int(cameras.frame_ids[0]), int(cameras.frame_ids[-1])
    if not frames or max(frames) - min(frames) != last - first or first == last:
        return 0
    return min(frames) - first


def _likely_from_one(frames: Collection[int], cameras: CameraTrack) -> bool:
    return bool(min(frames) > cameras.frame_ids[0] and max(frames) == cameras.frame_ids[-1] + 1)


def _tracked(folder: Path) -> set[int]:
    """The frames of detections, or of tracks where there are none."""
    frames = set(numbered_files(folder / "detections", (".pkl",)))
    if frames or not (path := folder / "tracks.npz").is_file():
        return frames
    try:
        arrays = Arrays(path)
        return _whole(arrays.need(name) for name in arrays.names if _TRACK.fullmatch(name))
    except UserError:  # told when the boxes are read
        return set()


def _rows(folder: Path) -> set[int]:
    """The frames of people, as far as their files name them."""
    rows = set[int]()
    for person in folder.glob("person_*"):
        try:
            about = read_json(person / "metadata.json")
            named = about.get("frames", about.get("frame_ids"))
            if (path := person / "smpl_params_camera.npz").is_file():
                stored = Arrays(path).get("frame_ids", "frames", "frame")
                named = named if stored is None else stored
            rows |= set() if named is None else _whole([named])
        except UserError:  # told when the people are read
            continue
    return rows


def _whole(values: Iterable[object]) -> set[int]:
    return {int(frame) for value in values for frame in whole_numbers(value, "frames").reshape(-1)}


def num_frames_of(first: int, last: int, source: str) -> int:
    """How many frames there are from an image's number to another's. Raises `UserError` if no clip has so many."""
    num_frames = last - first + 1
    if num_frames > _MOST_FRAMES:
        raise UserError(f"{source}: images from {first} to {last}; are their numbers those of frames?")
    return num_frames
