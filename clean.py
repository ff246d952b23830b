"""Takes the faults out of motions: `python clean.py motions/ --output cleaned/`. Files of SMPL, SMPL-H and SMPL-X, what
tools write of people, BVH and Acclaim; no camera is needed."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import
if __name__ == "__main__":
    gc.disable()  # until `run`: what is imported stays, and looking through it for garbage took a sixth of the time

import numpy as np

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
from pose_priors.refinement.motions.cleaning import clean_file, is_clean, recording_of, summed_up
from pose_priors.refinement.motions.config import MotionsConfig
from pose_priors.refinement.motions.learned.load import load_learned
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.repair.fill import Fill
from pose_priors.refinement.motions.restore import Restored

log = logging.getLogger("clean")


def main(arguments: Sequence[str] | None = None) -> list[Outcome]:
    """Cleans, and returns what became of each file; nothing with `--launcher slurm`, which does not wait. Exits with code 1 if some of many
    failed."""
    output = "each file goes there by its name, with a report beside it"
    keys = partial(about_keys, MotionsConfig, pages=("docs/clean_and_score.md",))
    parser = motions_parser(__doc__ or "", output, "by which gaps are filled", "clean", keys)
    parser.add_argument("--preview", action="store_true", help="write <name>.rrd beside each, before and after, for rerun")
    options = parser.parse_args(arguments)
    config = load_config(MotionsConfig, options.config, options.override).with_priors(options.prior)
    if options.preview:
        _require_rerun()
    sources = find_sources(options.path, options.output)
    if options.launcher is not None:
        from pose_priors.configs.launch import launch, results_of  # brings submitit, which only jobs need

        calls = [(config, group, options.output, options.preview) for group in in_groups(sources, config.slurm.group_size)]
        jobs = launch(options.launcher, config.slurm, new_run("clean"), clean_group, calls)
        return [] if options.launcher == "slurm" else [outcome for group in results_of(jobs) for outcome in group]
    if len(sources) == 1 and not options.path.is_dir():  # its mistakes are the user's only result
        _clean(sources[0], config, options.output, load_learned(config.prior).fill, options.preview)
        return [Outcome(sources[0].name, "success")]
    outcomes = clean_all(config, sources, options.output, options.preview)
    exit_if_failed(outcomes)
    return outcomes


def clean_group(config: MotionsConfig, sources: Sequence[Source], output: Path, preview: bool = False) -> list[Outcome]:
    """What one job does. Raises `UserError` that names the files that failed, when the others are done."""
    outcomes = clean_all(config, sources, output, preview)
    refuse_failed(outcomes)
    return outcomes


def clean_all(config: MotionsConfig, sources: Sequence[Source], output: Path, preview: bool = False) -> list[Outcome]:
    """Cleans files one after the other; those that were cleaned before, from the same bytes in the same way, are skipped.

    Args:
        preview: whether a recording for rerun is written beside each.
    """
    fill = load_learned(config.prior).fill
    return work_through(sources, lambda source: _clean(source, config, output, fill, preview))


def _clean(source: Source, config: MotionsConfig, output: Path, fill: Fill, preview: bool) -> bool:
    digest = digest_of(source.path, "clean", config)
    recording = recording_of(output, source.name)
    if is_clean(output, source.name, digest) and (recording.is_file() or not preview):
        return False
    show = partial(_record if preview else _forget, recording)
    report = clean_file(source.path, output, source.name, config, digest, fill, show)
    log.info("%s: %s", source.shown, summed_up(report))
    return True


def _forget(path: Path, _: Sequence[tuple[Motion, Restored | None]]) -> None:
    """Removes a recording, which would show what was cleaned before."""
    path.unlink(missing_ok=True)


def _record(path: Path, people: Sequence[tuple[Motion, Restored | None]]) -> None:
    from pose_priors.refinement.show.motions import ShownMotion
    from pose_priors.refinement.show.record import record_motions

    shown = []
    for before, restored in people:
        after = before if restored is None else restored.motion
        faults = {} if restored is None else {name: marked for name, marked in restored.marked.items() if marked.any()}
        up = np.array([0, 0, before.floor])
        shown.append(ShownMotion(before.joints + up, after.joints + up, faults))
    record_motions(path, shown, people[0][0].fps)


def _require_rerun() -> None:
    from pose_priors.refinement.show.record import require_rerun

    require_rerun()


if __name__ == "__main__":
    run(main)
