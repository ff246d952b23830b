"""Which videos go through the pipeline, and the folder of each."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from pose_priors.configs.base import UserError, listed
from pose_priors.refinement.batch.experiment import InputConfig
from pose_priors.refinement.formats.sequence import InputSequence

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_WANTED = "videos (name.mp4), nor folders of frames (name/cam01/00001.jpg, name/00001.jpg)"


@dataclass(frozen=True)
class Video:
    """One video and what is made of it.

    Attributes:
        name: under which it is reported.
        path: a file, or a folder of frames.
        root: the folder of the sequence, with one of each stage, and `logs`.
    """

    name: str
    path: Path
    root: Path

    @property
    def sequence(self) -> InputSequence:
        """What is made of it, as later stages read it."""
        return InputSequence.at(self.root)

    def files(self) -> dict[str, Path]:
        """What the video is made of: itself, or its frames by their names. Raises `UserError` if there is no such video."""
        if self.path.is_dir():
            frames = (path for path in sorted(self.path.rglob("*")) if path.is_file() and not _hidden(path))
            return {f"video/{path.relative_to(self.path).as_posix()}": path for path in frames}
        if not self.path.exists():
            raise UserError(f"{self.path}: no such video")
        return {"video": self.path}


def find_videos(folder: Path, output: Path) -> list[Video]:
    """The videos of a folder by name: `name.mp4`, `name/cam01/00001.jpg` and `name/00001.jpg` are `name`; of a folder with several cameras
    each is one, `name_cam01`. Each gets a folder of its name in `output`.

    Raises:
        UserError: if there is no such folder or none in it, or two have one name.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; a folder of videos is expected")
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        for name, path in _videos_of(entry).items():
            if name in found:
                raise UserError(f"{path}: {found[name].name} there would have the same results, {output / name}; rename one of them")
            found[name] = path
    if not found:
        inside = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
        raise UserError(f"{folder}: holds no {_WANTED}; it holds: {inside}")
    return [Video(name, found[name], output / name) for name in sorted(found)]


def select_videos(folder: Path, output: Path, given: InputConfig) -> list[Video]:
    """Of a folder's videos those whose names match `given.pattern`, of these from `start_idx` up to but without `end_idx`. A pattern is
    for the whole name; a word that is nobody's name is looked for within the names.

    Raises:
        UserError: if there is none, or none is left.
    """
    found = find_videos(folder, output)
    names = listed([video.name for video in found])
    matching = [video for video in found if given.pattern is None or fnmatch.fnmatchcase(video.name, given.pattern)]
    if given.pattern is not None and not matching and not set(given.pattern) & set("*?["):
        matching = [video for video in found if given.pattern in video.name]
    if not matching:
        raise UserError(f"input.pattern={given.pattern}: no video of {folder} has such a name; there are {names}")
    chosen = matching[given.start_idx : given.end_idx]
    if not chosen:
        end = "" if given.end_idx is None else given.end_idx
        raise UserError(f"input.start_idx..end_idx={given.start_idx}..{end}: {len(matching)} videos of {folder} match: {names}")
    return chosen


def _videos_of(entry: Path) -> dict[str, Path]:
    if _hidden(entry):
        return {}
    if entry.is_file():
        return {entry.stem: entry} if entry.suffix.lower() in VIDEOS else {}
    if not entry.is_dir():
        return {}
    if _holds_images(entry):
        return {entry.name: entry}
    cameras = sorted(camera for camera in entry.glob("cam*") if camera.is_dir() and _holds_images(camera))
    return {entry.name: cameras[0]} if len(cameras) == 1 else {f"{entry.name}_{camera.name}": camera for camera in cameras}


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGES and not _hidden(path) for path in folder.iterdir())


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")
