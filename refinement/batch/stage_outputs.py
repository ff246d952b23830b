"""What stages 1 to 3 must leave behind, and whether what is there is complete: a stamp beside it names what it was made from."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import write_json
from pose_priors.refinement.batch.commands import StageCommand, Wanted
from pose_priors.refinement.batch.digest import outcome_digest
from pose_priors.refinement.batch.videos import Video
from pose_priors.refinement.formats.files import read_json

log = logging.getLogger("refine")

NAMES = {1: "camera estimation", 2: "tracking", 3: "pose estimation", 4: "world space", 5: "refinement"}
NEEDS = {1: (), 2: (1,), 3: (1, 2), 4: (1, 3), 5: (1, 2, 3)}
"""The stages whose output each stage reads. Stage 5 makes do without stage 4."""
_LEAVES = {
    1: ("cameras.npz",),
    2: ("tracks.npz", "detections/frame_*.pkl", "keypoints_2d/person_*.npz"),
    3: ("person_*/smpl_params_camera.npz",),
    4: ("person_*/smpl_params_world.npz",),
}
_STAMP = ".complete.json"  # hidden, so that it is no input of other stages
_MARK = ".done-"


def check_stages(stages: Sequence[int]) -> list[int]:
    """Some of the stages 1 to 5, in order, each once. Raises `UserError` if there are others."""
    if unknown := [stage for stage in stages if stage not in NAMES]:
        raise UserError(f"stage {unknown[0]}: no such stage; there are {', '.join(f'{n} ({name})' for n, name in NAMES.items())}")
    return sorted(set(stages))


def require_output(stage: int, folder: Path, needed_by: int | None = None) -> None:
    """Raises `UserError` if a stage has not left what it must, and names the file and the stage that makes it."""
    if any(any(folder.glob(pattern)) for pattern in _LEAVES[stage]):
        return
    missing = " or ".join(_LEAVES[stage])
    if needed_by is None:
        raise UserError(f"{folder}: stage {stage} ({NAMES[stage]}) ended well but left no {missing}; does its command write to {{output}}?")
    raise UserError(
        f"{folder}: no {missing}, which stage {needed_by} ({NAMES[needed_by]}) needs; stage {stage} ({NAMES[stage]}) makes it: run it first"
    )


def stage_digest(video: Video, stage: int, command: StageCommand, wanted: Wanted) -> str:
    """Names an output of stage 1, 2 or 3 by the command that makes it, and by the contents of the video and of what the stage reads of
    others. Raises `UserError` if one of them cannot be read."""
    obeyed = command.obeyed(wanted)
    call = [stage, command.identity(wanted), obeyed.max_frames, obeyed.person_ids]
    files = video.files()
    for needed in NEEDS[stage]:
        folder = video.sequence.stage(needed)
        files |= {f"{needed}/{name}": path for name, path in _files(folder, _stamp(folder)).items()}
    return outcome_digest(hashlib.sha256(json.dumps(call).encode()).hexdigest(), files)


def completed(folder: Path, stage: int | None, digest: str) -> dict[str, Any] | None:
    """What the stamp of an output says that bears that digest and is all there: `seconds`, None where unknown, and `files`; else None.
    `stage` is None for what is made after the last of them."""
    stamp = _stamp(folder)
    if stamp.get("digest") != digest:
        return None
    sizes = {name: path.stat().st_size for name, path in _files(folder).items()}
    if any(sizes.get(name) != size for name, size in stamp["files"].items()):
        return None
    with suppress(UserError):
        _require(stage, folder)
        return stamp
    return None


def begin(folder: Path) -> None:
    """Makes room for the output of a stage: what an earlier run of it has left goes, and other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    if stamp := _stamp(folder):
        for path in _files(folder, stamp).values():
            path.unlink()
    (folder / _STAMP).unlink(missing_ok=True)
    for mark in folder.glob(f"{_MARK}*"):
        mark.unlink()


def complete(folder: Path, stage: int | None, digest: str, seconds: float | None) -> None:
    """Stamps the output of a stage that has ended well. Raises `UserError` if it lacks what the stage must leave."""
    _require(stage, folder)
    sizes = {name: path.stat().st_size for name, path in _files(folder).items()}
    write_json(folder / _STAMP, {"digest": digest, "seconds": seconds, "files": sizes})
    done_mark(folder, digest).unlink(missing_ok=True)


def done_mark(folder: Path, digest: str) -> Path:
    """The empty file by which a program that handles many videos says that the output in a folder is complete, also to a later run."""
    return folder / f"{_MARK}{digest[:16]}"


@contextmanager
def held(video: Video, stage: int) -> Iterator[int]:
    """Waits until nobody else works at a stage of a video. The lock is that of a descriptor: a program that inherits it holds it until it
    ends, also if whoever started it was killed. On a disk without locks, does not wait."""
    path = video.root / "logs" / f".stage{stage}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process works at stage %d, waiting for its end", video.name, stage)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass
        yield lock.fileno()


def _require(stage: int | None, folder: Path) -> None:
    if stage is not None:
        require_output(stage, folder)
    elif not _files(folder):
        raise UserError(f"{folder}: its program ended well but left no file; does its command write to {{output}}?")


def _stamp(folder: Path) -> dict[str, Any]:
    """What a stamp says; nothing where there is none that can be read."""
    with suppress(UserError):
        stamp = read_json(folder / _STAMP)
        if isinstance(stamp.get("files"), dict):
            return stamp
    return {}


def _files(folder: Path, stamp: dict[str, Any] | None = None) -> dict[str, Path]:
    """The files of a stage by their names below its folder, without hidden ones; with a stamp, those of them that it names."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path for name, path in found.items() if name in stamp["files"]} if stamp else found
