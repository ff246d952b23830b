"""From videos to refined people: `python pipeline.py --config pipeline --video video.mp4 --output results/my_video`, or all of a folder:
`--video-base-dir videos --output-base-dir results`.

Stages 1 to 3 are programs of others that the configuration names; stages 4 and 5 are done here.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import
if __name__ == "__main__":
    gc.disable()  # until `run`: what is imported stays, and looking through it for garbage took a sixth of the time

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.keys import about_keys
from pose_priors.configs.load import load_config
from pose_priors.configs.slurm import LAUNCHERS, Launcher
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.many_videos import TABLE, failures, process_videos
from pose_priors.refinement.batch.stage_outputs import NAMES, NEEDS, check_stages, require_output
from pose_priors.refinement.batch.stage_runner import StageOutcome, StageRunner
from pose_priors.refinement.batch.videos import Video, select_videos

log = logging.getLogger("refine")

_OF_A_FOLDER = {"pattern": None, "start_idx": 0, "end_idx": None}


class MultiTRAMPipeline:
    """The five stages of one video.

    Args:
        config_path: a file, or the name of one in `configs/`, as `configs/pipeline.yaml`.
        output_base_dir: the folder of the sequence, which gets a folder for each stage, and `logs`.
        overrides: `key=value`, as on the command line.
    Raises:
        UserError: if the configuration is wrong.
    """

    def __init__(self, config_path: str | Path, output_base_dir: str | Path, overrides: Sequence[str] = ()) -> None:
        self.config = load_config(PipelineConfig, str(config_path), overrides)
        for name, default in _OF_A_FOLDER.items():
            if getattr(self.config.input, name) != default:
                raise UserError(
                    f"input.{name} chooses from a folder of videos, and this is one video; leave it out, or give --video-base-dir"
                )
        self.output_base_dir = Path(output_base_dir)

    def run_full_pipeline(
        self, video_path: str | Path, max_frames: int | None = None, skip_stages: Collection[int] = ()
    ) -> dict[int, dict[str, Any]]:
        """Runs all stages but some; see `run_stages`. The output of stages that are skipped must be there if others need it."""
        return self.run_stages(video_path, _but(skip_stages), max_frames)

    def run_stages(self, video_path: str | Path, stages: Sequence[int], max_frames: int | None = None) -> dict[int, dict[str, Any]]:
        """Runs some stages, in order; a stage whose output is complete and made from the same is skipped.

        Args:
            video_path: for stages 1 to 3, and not looked at by the others.
            stages: of 1 to 5.
            max_frames: only the first so many frames are used; None for `input.max_frames`.
        Returns:
            by stage, what came of it: `output`, its folder, `skipped`, and of stages 1 to 3 `seconds`, of 4 and 5 the content of their
            results.
        Raises:
            UserError: if there is no such video or stage, a stage fails, or the output of one that is needed is missing.
        """
        chosen = check_stages(stages)
        config = self.config
        if max_frames is not None:
            if max_frames < 1:
                raise UserError(f"max_frames is {max_frames}; a number of at least 1 is expected, or none for all frames")
            config = config.model_copy(update={"input": config.input.model_copy(update={"max_frames": max_frames})})
        video = self.video(video_path, chosen)
        runners = [StageRunner(config, stage, chosen, video.root / "logs") for stage in chosen]
        return {runner.stage: _came_of(runner.one(video), video) for runner in runners}

    def video(self, video_path: str | Path, stages: Sequence[int]) -> Video:
        """The video, with all that is needed for some stages and made by none of them: what is not there is told before the first stage
        runs for hours. Raises `UserError`."""
        root = self.output_base_dir
        video = Video(root.name, Path(video_path), root)
        if stages and stages[0] <= 3 and not video.path.exists():
            raise UserError(f"{video.path}: no such video, which stage {stages[0]} ({NAMES[stages[0]]}) needs")
        for stage in stages:
            for needed in (needed for needed in NEEDS[stage] if needed not in stages):
                require_output(needed, video.sequence.stage(needed), stage)
        return video


def main(arguments: Sequence[str] | None = None) -> dict[int, dict[str, Any]]:
    """Runs the stages of one video, and returns what came of each; or of the videos of a folder, or in jobs, and returns nothing. Exits
    with code 1 if some of many videos failed."""
    options = _parser().parse_args(arguments)
    stages, overrides = _but(options.skip_stages), [*options.override, *_said_by_flags(options)]
    if options.video_base_dir is None:
        for flag, name in (("--video", "video"), ("--output", "output")):
            if getattr(options, name) is None:
                raise UserError(
                    f"{flag} is not given; give --video and --output, or for many videos --video-base-dir and --output-base-dir"
                )
        pipeline = MultiTRAMPipeline(options.config, options.output, overrides)
        if options.launcher is None:
            return pipeline.run_stages(options.video, stages)
        config, output, videos = pipeline.config, Path(options.output), [pipeline.video(options.video, stages)]
    else:
        if options.output_base_dir is None or options.video is not None or options.output is not None:
            raise UserError("--video-base-dir goes with --output-base-dir, and without --video and --output, which are for one video")
        config, output = load_config(PipelineConfig, options.config, overrides), Path(options.output_base_dir)
        videos = select_videos(Path(options.video_base_dir), output, config.input)
    if options.launcher is not None:
        _in_jobs(options.launcher, config, videos, stages, output)
        return {}
    outcomes = process_videos(config, videos, stages, output)
    failed = failures(outcomes)
    log.info("%d of %d videos went through all stages; %s", len(videos) - len(failed), len(videos), output / TABLE)
    if failed:
        print(f"error: {len(failed)} of {len(videos)} videos failed: {', '.join(failed)}", file=sys.stderr)
        for name, reason in failed.items():
            print(f"  {name}: {reason}", file=sys.stderr)
        sys.exit(1)
    return {}


def _parser() -> Parser:
    parser = Parser(description=__doc__, about=partial(about_keys, PipelineConfig, pages=("docs/many_sequences.md", "docs/refinement.md")))
    parser.add_argument("--config", required=True, help="the name of a YAML that comes with pose-priors, or a path")
    parser.add_argument("--video", help="the video, or whatever the commands of the stages take for one")
    parser.add_argument("--output", help="the folder of the sequence; it gets a folder for each stage")
    parser.add_argument("--video-base-dir", help="many videos: a folder of name.mp4 or name/cam01/00001.jpg")
    parser.add_argument("--output-base-dir", help="of many videos; it gets a folder for each")
    parser.add_argument("--pattern", help="of these, those with such names (jump*), or with that word in them (jump)")
    parser.add_argument("--start-idx", type=int, help="of these, by name, the first, counted from 0")
    parser.add_argument("--end-idx", type=int, help="... and the first that is left out again")
    parser.add_argument(
        "--skip-existing", action=argparse.BooleanOptionalAction, default=None, help="complete stages are skipped (default), or done again"
    )
    parser.add_argument("--max-frames", type=int, help="only the first so many frames")
    parser.add_argument(
        "--skip-stages", type=int, nargs="*", default=[], metavar="STAGE", help="1 to 5; what others need of theirs must be there"
    )
    parser.add_argument("--launcher", choices=LAUNCHERS, help="in jobs of a Slurm cluster, or in processes beside this one")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE")
    return parser


def _said_by_flags(options: argparse.Namespace) -> list[str]:
    """Flags are other words for keys of the configuration."""
    names = ("pattern", "start_idx", "end_idx", "skip_existing", "max_frames")
    return [f"input.{name}={json.dumps(value)}" for name in names if (value := getattr(options, name)) is not None]


def _but(skipped: Collection[int]) -> list[int]:
    left_out = check_stages(list(skipped))
    return [stage for stage in NAMES if stage not in left_out]


def _came_of(outcome: StageOutcome, video: Video) -> dict[str, Any]:
    about = {"output": str(video.sequence.stage(outcome.stage)), "skipped": outcome.status == "skipped"}
    return about | (outcome.results if outcome.stage > 3 else {"seconds": outcome.seconds})


def _in_jobs(launcher: Launcher, config: PipelineConfig, videos: Sequence[Video], stages: Sequence[int], output: Path) -> None:
    """Submits jobs; waits for them where they are processes beside this one. Raises `UserError` if some of these failed."""
    from pose_priors.configs.launch import results_of  # brings submitit, which only jobs need
    from pose_priors.refinement.batch.video_jobs import launch_videos

    submitted = launch_videos(launcher, config, videos, stages, output)
    if launcher == "slurm":
        return
    failed = []
    for jobs in submitted:
        try:
            results_of(jobs)
        except UserError as error:
            failed.append(str(error))
    if failed:
        raise UserError(f"{'; '.join(failed)}; {output / TABLE} tells the videos apart")


if __name__ == "__main__":
    run(main)
