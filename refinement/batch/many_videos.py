"""Many videos, stage by stage in one process, and the table of what became of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.configs.progress import progress_bar
from pose_priors.configs.writing import alone
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.stage_outputs import NAMES
from pose_priors.refinement.batch.stage_runner import StageOutcome, StageRunner
from pose_priors.refinement.batch.videos import Video
from pose_priors.refinement.result.tables import unquoted, write_table

TABLE = "videos.csv"
"""The file of the table, in the folder of all results."""
_COLUMNS = ("video", *(f"stage{stage}{part}" for stage in NAMES for part in ("", "_seconds")), "frames", "people", "scale")

_MOST_BYTES = 64 << 20


def process_videos(
    config: PipelineConfig,
    videos: Sequence[Video],
    stages: Sequence[int],
    output: Path,
    *,
    chosen: Sequence[int] | None = None,
    in_job: bool = False,
) -> list[StageOutcome]:
    """Runs stages on videos, all videos through one stage before the next, so that what a stage loads is loaded once. A video that fails
    does not stop the others, and goes through no stage that needs what it lacks.

    Args:
        stages: in order.
        output: the folder of all results; its table is brought up to date after each video of a stage, rows of other videos are kept.
        chosen: the stages of the whole pipeline, where this is a part of it; None for `stages`.
        in_job: whether this is a job, which is warned by signals before it ends.
    Returns:
        One outcome for each stage and video.
    Raises:
        UserError: if nothing can be done at all: a stage has no command, a prior cannot be loaded, the table cannot be written.
    """
    shown = config.trainer.get("enable_progress_bar", True)
    quiet = config.model_copy(update={"trainer": config.trainer | {"enable_progress_bar": False}})
    runners = [StageRunner(quiet, stage, chosen or stages, output / "logs", in_job=in_job) for stage in stages]
    outcomes: list[StageOutcome] = []
    with progress_bar(disable=not shown) as progress:
        task = progress.add_task("", total=len(videos) * len(stages))
        for runner in runners:
            progress.update(task, description=f"stage {runner.stage}")
            for outcome in runner.many(videos):
                outcomes.append(outcome)
                write_outcome(output / TABLE, outcome)
                progress.update(task, description=f"stage {outcome.stage}, {outcome.video}", advance=1)
    return outcomes


def write_outcome(path: Path, outcome: StageOutcome) -> None:
    """Brings the table up to date: `video`, of each stage what became of it (`done`, `skipped`, `failed: ...`, `missed: ...`) and its
    seconds, `frames`, `people` and `scale`. Raises `UserError` if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            rows = _rows(path)
            rows[outcome.video] = rows.get(outcome.video, {"video": outcome.video}) | _cells(outcome)
            write_table(path, _COLUMNS, (rows[name] for name in sorted(rows)))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); give a folder that can be") from error


def failures(outcomes: Sequence[StageOutcome]) -> Mapping[str, str]:
    """Of each video that failed, by its name, the first stage that did, and why."""
    found: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.status in ("failed", "missed"):
            said = outcome.stage <= 3 or outcome.status == "missed"  # by the reason itself
            found.setdefault(outcome.video, outcome.reason if said else f"stage {outcome.stage} ({NAMES[outcome.stage]}): {outcome.reason}")
    return found


def _cells(outcome: StageOutcome) -> dict[str, str]:
    stage, results = f"stage{outcome.stage}", outcome.results
    cells = {
        stage: f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status,
        f"{stage}_seconds": "" if outcome.seconds is None else f"{outcome.seconds:.2f}",
    }
    names = {"frames": "num_frames", "people": "num_people", "scale": "scale_alpha"}
    return cells | {cell: str(results[name]) for cell, name in names.items() if name in results}


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """Of an earlier table, by video; none where it is another table."""
    if not path.is_file():
        return {}
    table = csv.DictReader(io.StringIO(read_regular(path, _MOST_BYTES).decode("utf-8", "replace"), newline=""))
    try:
        if tuple(table.fieldnames or ()) != _COLUMNS:
            return {}
        rows = [{name: unquoted(cell or "") for name, cell in row.items() if name in _COLUMNS} for row in table]
    except csv.Error as error:
        raise UserError(f"{path}: not readable as a table ({error}); mend it, or move it away to start anew") from error
    return {row["video"]: row for row in rows}
