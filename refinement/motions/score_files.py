"""Scores of a file's people on the disk: the frames of each clip, and the row that it has in the table."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError
from pose_priors.configs.writing import alone, written_aside
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.refinement.motions.config import MotionsConfig
from pose_priors.refinement.motions.files.read import read_motions
from pose_priors.refinement.motions.learned.load import Learned
from pose_priors.refinement.motions.motion import NUM_JOINTS
from pose_priors.refinement.motions.outputs import MADE_FROM, is_of, made_from, refuse, told_when_unwritable
from pose_priors.refinement.motions.scoring import Scores, score_motion
from pose_priors.refinement.result.tables import write_table

FRAMES, TABLE = "frames", "scores.csv"
"""The folder of a clip's frames, and the table of all clips."""
_ROW = "row"
_NOT_IN_THE_TABLE = ("digest", *MADE_FROM)


def frames_files(output: Path, name: str) -> list[Path]:
    """What is there of a file's scores: one npz for each person."""
    stem = Path(name).with_suffix("")
    folder = (output / FRAMES / stem).parent
    alone_in = folder / f"{stem.name}.npz"
    many = sorted(folder.glob(f"{_escaped(stem.name)}.person_*.npz")) if folder.is_dir() else []
    found = ([alone_in] if alone_in.is_file() else []) + many
    return [path for path in found if read_row(path).get("file") == name]


def score_file(
    source: Path, output: Path, name: str, config: MotionsConfig, digest: str, learned: Learned | None = None
) -> list[dict[str, Any]]:
    """Scores the people of a file; `frames/<clip>.npz` of each is written, with its row in it.

    Args:
        learned: priors, loaded from what the config names.
    Returns:
        the rows. Raises `UserError` if the file is none of motions, its scores cannot be written, or another's are where they would be.
    """
    file = read_motions(source, config.fps, config.up_axis)
    clip = Path(name).with_suffix("").as_posix()
    clips = [clip if file.layout.num_people is None else f"{clip}.person_{person}" for person in range(len(file.people))]
    for mine in clips:
        _refuse_taken(_frames_of(output, mine), name, source)
    rows, whose = [], made_from(source)
    for mine, motion in zip(clips, file.people, strict=True):
        scores = score_motion(motion, learned)
        row = {"clip": mine, "num_frames": len(motion), **scores.clip, "fps": motion.fps, "file": name, "digest": digest, **whose}
        row = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        with told_when_unwritable(output):
            _write_frames(_frames_of(output, mine), scores, motion.fps, row)
        rows.append(row)
    for path in frames_files(output, name):
        if path not in [_frames_of(output, mine) for mine in clips]:  # of people whom the file had before
            path.unlink()
    return rows


def _frames_of(output: Path, clip: str) -> Path:
    return output / FRAMES / f"{clip}.npz"


def _refuse_taken(path: Path, name: str, source: Path) -> None:
    """Raises `UserError` if a folder, another file's scores, or what are no scores, are where a clip's would be."""
    if path.is_dir():
        raise refuse(path, source, "is a folder")
    if not path.exists():
        return
    row = read_row(path)
    if row.get("file") != name or not is_of(row, source):
        raise refuse(path, source, f"has the scores of {row.get(MADE_FROM[0], row.get('file'))}")


def are_scored(output: Path, name: str, digest: str) -> bool:
    """Whether a file's clips were scored already, from the same bytes with the same settings."""
    try:
        files = frames_files(output, name)
        return bool(files) and all(read_row(path).get("digest") == digest for path in files)
    except UserError:
        return False


def read_row(path: Path) -> dict[str, Any]:
    """The row of a clip, as its frames' file keeps it. Raises `UserError` if there is none."""
    entries = open_arrays(path)
    try:
        row = json.loads(str(entries[_ROW].load()))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: no scores of a clip; remove it, or give another --output") from error
    if not isinstance(row, dict):
        raise UserError(f"{path}: no scores of a clip; remove it, or give another --output")
    return row


def write_scores(output: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Brings the table up to date with the clips of these files; rows, the worst first. Raises `UserError` if it cannot be written."""
    rows = [read_row(path) for name in names for path in frames_files(output, name)]
    rows.sort(key=lambda row: (-row["badness"], row["clip"]))
    try:
        output.mkdir(parents=True, exist_ok=True)
        with alone(output / TABLE):
            columns = [key for key in (rows[0] if rows else {"clip": ""}) if key not in _NOT_IN_THE_TABLE]
            write_table(output / TABLE, columns, ({key: row.get(key, "") for key in columns} for row in rows))
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error}); give another folder") from error
    return rows


def _write_frames(path: Path, scores: Scores, fps: float, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        allow_pickle=False,
        badness=scores.badness.astype(np.float32),
        joint_badness=scores.joint_badness.astype(np.float32),
        joints=np.array(JOINT_NAMES[:NUM_JOINTS]),
        fps=np.float64(fps),
        **{name: values.astype(np.float32) for name, values in (scores.parts | scores.joint_parts).items()},
        **{_ROW: np.array(json.dumps(row))},
    )
    with written_aside(path) as aside:
        aside.write_bytes(stream.getvalue())


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
