"""Says which motions, frames and joints are plausible: `python score.py motions/ --output scores/ --keep 0.95`. Files as of clean.py."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import
if __name__ == "__main__":
    gc.disable()  # until `run`: what is imported stays, and looking through it for garbage took a sixth of the time

from pose_priors.configs.base import one_line
from pose_priors.configs.cli import run
from pose_priors.configs.keys import about_keys
from pose_priors.configs.load import load_config
from pose_priors.configs.slurm import new_run
from pose_priors.refinement.motions.arguments import motions_parser
from pose_priors.refinement.motions.batch import (
    Outcome,
    Source,
    digest_of,
    exit_if_failed,
    find_sources,
    in_groups,
    refuse_failed,
    work_through,
)
from pose_priors.refinement.motions.config import MotionsConfig
from pose_priors.refinement.motions.keeping import choose, write_lists
from pose_priors.refinement.motions.learned.load import Learned, load_learned
from pose_priors.refinement.motions.score_files import TABLE, are_scored, score_file, write_scores

log = logging.getLogger("score")


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Scores, and returns the rows of the table, the worst clip first; none with `--launcher slurm`, which does not wait. Exits with code 1
    if some of many files failed."""
    output = "scores.csv, and frames/<clip>.npz for each clip"
    keys = partial(about_keys, MotionsConfig, pages=("docs/clean_and_score.md",))
    parser = motions_parser(__doc__ or "", output, "which says how surprising frames and joints are", "score", keys)
    parser.add_argument("--keep", metavar="0.95", help="clips to list as good: a share of all, or thresholds: 'badness<0.5,floor_m<0.1'")
    parser.add_argument("--pose-prior", metavar="CKPT", help="prior.body: a prior of poses, which says how usual they are")
    options = parser.parse_args(arguments)
    config = load_config(MotionsConfig, options.config, options.override).with_priors(options.prior, options.pose_prior)
    if options.keep is not None:
        choose([], options.keep)  # a mistake shows before the work
    sources = find_sources(options.path, options.output)
    names = [source.name for source in sources]
    outcomes: list[Outcome] = []
    if options.launcher is not None:
        from pose_priors.configs.launch import launch, results_of  # brings submitit, which only jobs need

        calls = [(config, group, options.output) for group in in_groups(sources, config.slurm.group_size)]
        jobs = launch(options.launcher, config.slurm, new_run("score"), score_group, calls)
        if options.launcher == "slurm":
            log.info("when the jobs have ended, the same command without --launcher writes %s", one_line(str(options.output / TABLE)))
            return []
        results_of(jobs)
    elif len(sources) == 1 and not options.path.is_dir():
        _score(sources[0], config, options.output, load_learned(config.prior))
    else:
        outcomes = score_all(config, sources, options.output)
    rows = write_scores(options.output, names)
    log.info("%d clips, the worst first: %s", len(rows), one_line(str(options.output / TABLE)))
    if options.keep is not None:
        for path in write_lists(options.output, rows, options.keep):
            log.info("%s", one_line(str(path)))
    exit_if_failed(outcomes)
    return rows


def score_group(config: MotionsConfig, sources: Sequence[Source], output: Path) -> list[Outcome]:
    """What one job does. Raises `UserError` that names the files that failed, when the others are done."""
    outcomes = score_all(config, sources, output)
    refuse_failed(outcomes)
    return outcomes


def score_all(config: MotionsConfig, sources: Sequence[Source], output: Path) -> list[Outcome]:
    """Scores files one after the other; those that were scored before, from the same bytes in the same way, are skipped."""
    learned = load_learned(config.prior)
    return work_through(sources, lambda source: _score(source, config, output, learned))


def _score(source: Source, config: MotionsConfig, output: Path, learned: Learned) -> bool:
    digest = digest_of(source.path, "score", config)
    if are_scored(output, source.name, digest):
        return False
    score_file(source.path, output, source.name, config, digest, learned)
    return True


if __name__ == "__main__":
    run(main)
