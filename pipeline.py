"""From a video to refined people: `python pipeline.py --config pipeline --video video.mp4 --output results/my_video`.

Stages 1 to 3 are programs of others that the configuration names; stages 4 and 5 are done here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.load import load_config
from pose_priors.refinement.batch.commands import NAMES, NEEDS, PipelineConfig, check_stages, require_output, run_command
from pose_priors.refinement.batch.many import SequenceRefiner
from pose_priors.refinement.formats.sequence import InputSequence

log = logging.getLogger("refine")


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
        self.output_base_dir = Path(output_base_dir)

    def run_full_pipeline(
        self, video_path: str | Path, max_frames: int | None = None, skip_stages: Collection[int] = ()
    ) -> dict[int, dict[str, Any]]:
        """Runs all stages but some; see `run_stages`. The output of stages that are skipped must be there if others need it."""
        skipped = check_stages(list(skip_stages))
        return self.run_stages(video_path, [stage for stage in NAMES if stage not in skipped], max_frames)

    def run_stages(self, video_path: str | Path, stages: Sequence[int], max_frames: int | None = None) -> dict[int, dict[str, Any]]:
        """Runs some stages, in order.

        Args:
            video_path: for stages 1 to 3, and not looked at by the others.
            stages: of 1 to 5.
            max_frames: only the first so many frames are used; None for all.
        Returns:
            by stage, what came of it: `output`, its folder, and of stages 1 to 3 `seconds`, of 4 and 5 the content of their results.
        Raises:
            UserError: if there is no such video or stage, a stage fails, or the output of one that is needed is missing.
        """
        chosen = check_stages(stages)
        if max_frames is not None and max_frames < 1:
            raise UserError(f"max_frames is {max_frames}; a number of at least 1 is expected, or none for all frames")
        video, sequence = Path(video_path), InputSequence.at(self.output_base_dir)
        if chosen and chosen[0] <= 3 and not video.exists():
            raise UserError(f"{video}: no such video, which stage {chosen[0]} ({NAMES[chosen[0]]}) needs")
        # before the first stage is run for hours: what no stage of this run makes must be there
        for stage in chosen:
            for needed in (needed for needed in NEEDS[stage] if needed not in chosen):
                require_output(needed, sequence.stage(needed), stage)
        return {stage: self._run(stage, video, sequence, max_frames) for stage in chosen}

    def _run(self, stage: int, video: Path, sequence: InputSequence, max_frames: int | None) -> dict[str, Any]:
        output = {"output": str(sequence.stage(stage))}
        if stage <= 3:
            command = self.config.stage_command(stage)
            return output | {"seconds": run_command(stage, command, video, self.output_base_dir, max_frames)}
        here = self.config.model_copy(update={"stages": [stage]})
        return output | SequenceRefiner(here, max_frames)(sequence).results


def main(arguments: Sequence[str] | None = None) -> dict[int, dict[str, Any]]:
    """Runs the stages of one video, and returns what came of each."""
    parser = Parser(description=__doc__)
    parser.add_argument("--config", required=True, help="the name of a file in configs/, or a path")
    parser.add_argument("--video", required=True, help="the video, or whatever the commands of the stages take for one")
    parser.add_argument("--output", required=True, help="the folder of the sequence; it gets a folder for each stage")
    parser.add_argument("--max-frames", type=int, help="only the first so many frames")
    parser.add_argument(
        "--skip-stages", type=int, nargs="*", default=[], metavar="STAGE", help="1 to 5; what others need of theirs must be there"
    )
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    pipeline = MultiTRAMPipeline(options.config, options.output, options.override)
    return pipeline.run_full_pipeline(options.video, options.max_frames, options.skip_stages)


if __name__ == "__main__":
    run(main)
