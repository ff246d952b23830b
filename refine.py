"""Refines sequences in world space: `python refine.py --config refinement --override input.path=results/my_video`."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import
if __name__ == "__main__":
    gc.disable()  # until `run`: what is imported stays, and looking through it for garbage took a sixth of the time

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, quiet_lightning, run
from pose_priors.configs.keys import about_keys
from pose_priors.configs.load import load_config
from pose_priors.configs.slurm import LAUNCHERS, Launcher, layout, new_run
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.batch.many import SequenceRefiner, refine_many
from pose_priors.refinement.batch.outcomes import SequenceOutcome
from pose_priors.refinement.batch.sequences import select_sequences, summary_path
from pose_priors.refinement.formats.sequence import InputSequence

if TYPE_CHECKING:
    from pose_priors.configs.launch import Job

log = logging.getLogger("refine")

_BUILTIN = Path("results/built_in")


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Refines, and returns the content of `refinement_results.json` by the sequence's name; nothing with `--launcher slurm`, which does not
    wait. Exits with code 1 if some of many failed."""
    parser = Parser(
        description=__doc__, about=partial(about_keys, RefinementExperiment, pages=("docs/refinement.md", "docs/many_sequences.md"))
    )
    parser.add_argument("--config", required=True, help="the name of a YAML that comes with pose-priors, or a path")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE", help="input.path=results/my_video ...")
    parser.add_argument("--launcher", choices=LAUNCHERS, help="refine in jobs of a Slurm cluster, or in processes beside this one")
    options = parser.parse_args(arguments)
    config = load_config(RefinementExperiment, options.config, options.override)
    quiet_lightning()
    if config.input.path is None:
        from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene  # what makes motions, and scipy's splines

        root, truth = write_builtin_scene(_BUILTIN, config.input.seed, hands=config.prior.hands is not None)
        log.info("no input.path: the built-in sequence, written to %s; its truth is in %s", root, truth)
        config = config.model_copy(update={"input": config.input.model_copy(update={"path": str(root)})})
    sequences = select_sequences(config)
    if options.launcher is not None:
        from pose_priors.configs.launch import results_of  # brings submitit, which only jobs need

        jobs = _launch(options.launcher, config, sequences)
        return {} if options.launcher == "slurm" else {outcome.sequence: outcome.results for group in results_of(jobs) for outcome in group}
    if sequences[0].path == Path(config.input.path or ""):  # a sequence itself: its mistakes are the user's only result
        return {sequences[0].name: SequenceRefiner(config)(sequences[0]).results}
    outcomes = refine_many(config, sequences, summary_path(config))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        names = ", ".join(outcome.sequence for outcome in failed)
        print(f"error: {len(failed)} of {len(outcomes)} sequences failed: {names}", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.sequence}: {outcome.reason}", file=sys.stderr)
        sys.exit(1)
    return {outcome.sequence: outcome.results for outcome in outcomes}


def refine_group(config: RefinementExperiment, sequences: Sequence[InputSequence], summary: Path | None) -> list[SequenceOutcome]:
    """What one job does. Raises `UserError` that names the sequences that failed, when the others are done."""
    outcomes = refine_many(config, sequences, summary)
    failed = [f"{outcome.sequence} ({outcome.reason})" for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise UserError(f"{len(failed)} of {len(outcomes)} sequences failed: {', '.join(failed)}")
    return outcomes


def _launch(launcher: Launcher, config: RefinementExperiment, sequences: Sequence[InputSequence]) -> list[Job[list[SequenceOutcome]]]:
    """One job for each stage and group of sequences; those of the last stage."""
    from pose_priors.configs.launch import launch

    alone = sequences[0].path == Path(config.input.path or "")
    groups = [sequences[i : i + config.slurm.group_size] for i in range(0, len(sequences), config.slurm.group_size)]
    nodes, tasks = layout(config.trainer | {"num_nodes": 1, "devices": 1}, config.slurm)
    given = config.input.model_copy(update={"skip_existing": True})  # a job that is queued again does not do again what is complete
    jobs: list[Job[list[SequenceOutcome]]] = []
    for stage in config.stages:
        of_stage = config.model_copy(update={"stages": [stage], "input": given})
        calls = [(of_stage, group, None if alone else summary_path(config)) for group in groups]
        run_name = new_run(f"refine-stage-{stage}")
        jobs = launch(launcher, config.slurm, run_name, refine_group, calls, num_nodes=nodes, tasks_per_node=tasks, after=jobs)
    return jobs


if __name__ == "__main__":
    run(main)
