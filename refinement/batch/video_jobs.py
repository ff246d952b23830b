"""Many videos in jobs: for each stage an array, a task for each group of videos, which starts when the stage before has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.configs.launch import Job, launch
from pose_priors.configs.slurm import Launcher, layout, new_run
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.gpu_use import gpu_use_logged
from pose_priors.refinement.batch.many_videos import failures, process_videos
from pose_priors.refinement.batch.stage_outputs import check_stages
from pose_priors.refinement.batch.stage_runner import StageOutcome, required_command
from pose_priors.refinement.batch.videos import Video


def launch_videos(
    launcher: Launcher, config: PipelineConfig, videos: Sequence[Video], stages: Sequence[int], output: Path
) -> list[list[Job[list[StageOutcome]]]]:
    """Submits the stages of a pipeline; for each its jobs. With `local`, returns when the last of them runs.

    Args:
        output: the folder of all results.
    Raises:
        UserError: if a stage has no command; if `skip_existing` is false, since a job that is queued again would do all again; or for
            what `launch` refuses.
    """
    if not config.input.skip_existing:
        raise UserError(
            f"--launcher {launcher} with input.skip_existing=false: a job that is queued again would do again what is complete; "
            "remove the folders of the stages that are to be made anew"
        )
    for stage in check_stages(stages):
        if stage <= 3:
            required_command(config, stage)
    submitted: list[list[Job[list[StageOutcome]]]] = []
    for stage in check_stages(stages):
        given = config.slurm.of_stage(stage)
        if stage == 5:
            layout(config.trainer | {"num_nodes": 1, "devices": 1}, given)  # whether it has the GPUs that it asks for
        groups = [videos[i : i + given.group_size] for i in range(0, len(videos), given.group_size)]
        calls = [(config, stage, stages, group, output) for group in groups]
        after = submitted[-1] if submitted else []
        submitted.append(launch(launcher, given, new_run(f"pipeline-stage-{stage}"), stage_job, calls, after=after))
    return submitted


def stage_job(config: PipelineConfig, stage: int, chosen: Sequence[int], videos: Sequence[Video], output: Path) -> list[StageOutcome]:
    """What one job does. Raises `UserError` that names the videos that failed, when the others are done."""
    with gpu_use_logged():
        outcomes = process_videos(config, videos, [stage], output, chosen=chosen, in_job=True)
    if failed := failures(outcomes):
        reasons = ", ".join(f"{name} ({reason})" for name, reason in failed.items())
        raise UserError(f"{len(failed)} of {len(videos)} videos failed: {reasons}")
    return outcomes
