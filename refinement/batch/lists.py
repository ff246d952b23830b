"""Programs that handle many videos in one process: the list they are given, and how they say that one is complete.

The list has one JSON object a line: `name`, `video`, `output` (the stage's folder), `stage1` and `stage2` (those of earlier stages), and
`done`. A program that creates the empty file `done` when the output of a video is complete is not asked for that video again, however it
ends; one that does not is believed for all of its videos if it ends with code 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pose_priors.configs.writing import write_text
from pose_priors.refinement.batch.stage_outputs import done_mark
from pose_priors.refinement.batch.videos import Video


def write_list(path: Path, stage: int, todo: Mapping[Video, str]) -> None:
    """Writes the list of some videos for a stage, each with the digest of its output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(_entry(stage, video, digest)) + "\n" for video, digest in todo.items()))


def places_of(video: Video, stage: int) -> dict[str, str]:
    """What stands for a video in the command of a stage, by the names of its places."""
    folders = {"output": stage, "stage1": 1, "stage2": 2}
    return {"video": str(video.path), **{name: str(video.sequence.stage(number)) for name, number in folders.items()}}


def _entry(stage: int, video: Video, digest: str) -> dict[str, str]:
    return {"name": video.name, **places_of(video, stage), "done": str(done_mark(video.sequence.stage(stage), digest))}
