"""A refinement on the processor that nobody else watches, without Lightning, whose import takes longer than a short clip."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pose_priors.configs.interruption import until_killed
from pose_priors.configs.progress import progress_bar
from pose_priors.configs.writing import write_tensors
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.resume import kept_run

log = logging.getLogger("refine")

GOES_ON = "the same command goes on from the last sub-stage that ended"
"""What whoever stops a run that is kept is told."""


def run_alone(module: RefinementModule, folder: Path | None, *, shown: bool) -> None:
    """Runs all sub-stages.

    Args:
        module: with its fingerprint, where there is a folder.
        folder: of unfinished runs: this one is kept in it after each sub-stage, and goes on from there; None to keep nothing.
        shown: whether it is told how far it is.
    Raises:
        KeyboardInterrupt: with what to do next, at Ctrl-C in a run that is kept.
    """
    unfinished = None if folder is None else folder / module.fingerprint / "last.ckpt"
    began = 0
    if unfinished is not None and (kept := kept_run(unfinished, module.fingerprint)) is not None:
        module.take_up(kept)
        began = len(module.reports)  # also of what Lightning has run and older versions have kept under this name
        told_to_go_on(unfinished)
    bar = shown and sys.stderr.isatty()  # asked before a bar puts another stream there
    try:
        with until_killed(), _told(module, bar) as stepped, torch.enable_grad():
            for number in range(began, len(module.stages)):
                if module.spent:
                    break
                _run_stage(module, number, stepped, shown and not bar)
                if unfinished is not None:
                    write_tensors(unfinished, module.kept())
    except KeyboardInterrupt as error:
        if unfinished is None:
            raise
        raise KeyboardInterrupt(GOES_ON) from error


def told_to_go_on(unfinished: Path) -> None:
    """Says that a run that is kept is taken up."""
    log.info("%s: goes on with the unfinished run that is kept there", unfinished)


def log_stage(module: RefinementModule, seconds: float) -> None:
    """One line of a sub-stage: its iterations, its loss at the start and at the end, the time that it took."""
    report = module.reports.get(module.stage.name)
    if report is not None and "total" in report.losses:
        losses = report.losses["total"]
        change = f"{report.iterations} iterations, loss {losses[0]:.4g} -> {losses[-1]:.4g}"
        log.info("%s, sub-stage %d of %d: %s, %.1f s", module.stage.name, module.number + 1, len(module.stages), change, seconds)


def _run_stage(module: RefinementModule, number: int, stepped: Callable[[], None], lines: bool) -> None:
    start = time.perf_counter()
    module.turn_to(number)
    module.begin_stage()
    stepped()
    for _ in range(module.stage.iterations):
        if module.over:
            break
        module.step()
        stepped()
    if lines:
        log_stage(module, time.perf_counter() - start)
    module.end_stage()


@contextmanager
def _told(module: RefinementModule, bar: bool) -> Iterator[Callable[[], None]]:
    """Where there is to be one, a bar, that of the present sub-stage; what the block calls after each step."""
    if not bar:
        yield lambda: None
        return
    with progress_bar(disable=False) as progress:
        task = progress.add_task("", total=None)

        def stepped() -> None:
            done = module.reports[module.stage.name].iterations
            progress.update(task, description=module.stage.name, completed=done, total=module.stage.iterations)

        yield stepped
