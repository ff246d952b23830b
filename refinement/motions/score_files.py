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
from pose_priors.refinement.motions.scoring import Scores, score_motion
from pose_priors.refinement.result.tables import write_table

FRAMES, TABLE = "frames", "scores.csv"
"""The folder of a clip's frames, and the table of all clips."""
_ROW = "row"


def frames_files(output: Path, name: str) -> list[Path]:
    """What is there of a file's scores: one npz for each person."""
    stem = Path(name).with_suffix("")
    folder = (output / FRAMES / stem).parent
    alone_in = folder / f"{stem.name}.npz"
    many = sorted(folder.glob(f"{_escaped(stem.name)}.person_*.npz")) if folder.is_dir() else []
    return ([alone_in] if alone_in.is_file() else []) + many


def score_file(
    source: Path, output: Path, name: str, config: MotionsConfig, digest: str, learned: Learned | None = None
) -> list[dict[str, Any]]:
    """Scores the people of a file; `frames/<clip>.npz` of each is written, with its row in it.

    Args:
        learned: priors, loaded from what the config names.
    Returns:
        the rows. Raises `UserError` if the file is none of motions.
    """
    file = read_motions(source, config.fps, config.up_axis)
    clip = Path(name).with_suffix("").as_posix()
    rows = []
    for person, motion in enumerate(file.people):
        mine = clip if file.layout.num_people is None else f"{clip}.person_{person}"
        scores = score_motion(motion, learned)
        row = {"clip": mine, "num_frames": len(motion), **scores.clip, "fps": motion.fps, "file": name, "digest": digest}
        row = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        _write_frames(output / FRAMES / f"{mine}.npz", scores, motion.fps, row)
        rows.append(row)
    return rows


def are_scored(output: Path, name: str, digest: str) -> bool:
    """Whether a file's clips were scored already, from the same bytes with the same settings."""
    files = frames_files(output, name)
    try:
        return bool(files) and all(read_row(path).get("digest") == digest for path in files)
    except UserError:
        return False


def read_row(path: Path) -> dict[str, Any]:
    """The row of a clip, as its frames' file keeps it. Raises `UserError` if there is none."""
    entries = open_arrays(path)
    try:
        row = json.loads(str(entries[_ROW].load()))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: no scores of a clip") from error
    if not isinstance(row, dict):
        raise UserError(f"{path}: no scores of a clip")
    return row


def write_scores(output: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Brings the table up to date with the clips of these files; rows, the worst first. Raises `UserError` if it cannot be written."""
    rows = [read_row(path) for name in names for path in frames_files(output, name)]
    rows.sort(key=lambda row: (-row["badness"], row["clip"]))
    try:
        output.mkdir(parents=True, exist_ok=True)
        with alone(output / TABLE):
            columns = [key for key in (rows[0] if rows else {"clip": ""}) if key != "digest"]
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
