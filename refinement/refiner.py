"""The library doors of the refinement: `Stage5Refiner` for a problem in memory, `run_refinement` for the folders of the stages."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import finish_exchanges
from pose_priors.configs.threads.blas import in_one_thread
from pose_priors.configs.validation import Source, validate
from pose_priors.priors import MotionFlow
from pose_priors.refinement.alone import run_alone
from pose_priors.refinement.given.floor import with_floor
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.priors import Priors, check_priors
from pose_priors.refinement.given.problem import Estimate, Problem
from pose_priors.refinement.infill import GapFiller
from pose_priors.refinement.result.keeping import contradicted, with_input, without
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.scale import another_unit, in_the_given_unit
from pose_priors.refinement.result.soles import lay_soles
from pose_priors.refinement.result.summary import summarize
from pose_priors.refinement.result.unit import feet_stand, in_unit
from pose_priors.refinement.result.write import plain, write_result
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.padding import padded
from pose_priors.refinement.solve.presmoothing import without_flicker
from pose_priors.refinement.solve.resume import fingerprint

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback
    from pytorch_lightning.loggers import Logger

log = logging.getLogger("refine")

# Variables are in single precision: a micrometre at ten metres, and twice as fast as double.
_DTYPE = torch.float32
_UNFINISHED = ".unfinished"
_UNITS = 3  # times that a clip whose unit nothing tells is refined once more, in another unit, at most


@dataclass(frozen=True)
class RefinementInput:
    """What the previous stages left: a problem, as `load_problem` makes it, in any float type."""

    problem: Problem


class Stage5Refiner:
    """Refines problems, one after the other.

    Args:
        config: what to do.
        priors: of poses and motions.
        trainer: passed on to Lightning's Trainer: `accelerator`, `devices`, ...
        logger: of Lightning, or None.
        callbacks: of the caller's own; a sub-stage is an epoch, an iteration a step, and the module is a `RefinementModule`.
        checkpoint_dir: an unfinished run is kept in `.unfinished` in it after each sub-stage, and found again there, with those that went
            before it where a clip is refined once more; None to keep nothing.

    Logger, callbacks and checkpoint folder are those of the next clip, and may be changed between clips.
    """

    def __init__(
        self,
        config: RefinementConfig | None = None,
        *,
        priors: Priors | None = None,
        trainer: Mapping[str, Any] | None = None,
        logger: Logger | None = None,
        callbacks: Sequence[Callback] = (),
        checkpoint_dir: Path | None = None,
    ) -> None:
        self.config, self.priors = config or RefinementConfig(), priors or Priors()
        self.trainer, self.logger, self.checkpoint_dir = dict(trainer or {}), logger, checkpoint_dir
        self.callbacks: Sequence[Callback] = tuple(callbacks)

    @in_one_thread
    @torch.inference_mode(False)
    def refine(self, given: RefinementInput) -> RefinementOutput:
        """Refines one clip. People whose result contradicts what was seen of them more than their input did keep that; the others are then
        refined once more without them.

        Raises:
            UserError: if the input is not finite, a prior knows none of the joints that it is to judge, or the trainer's options are
                refused: by Lightning, or since they ask for several devices or for another precision of all numbers.
        """
        problem = padded(given.problem.to(_DTYPE), self.config.pad_frames)
        _check_finite(problem)
        check_priors(self.priors, problem)
        began = time.perf_counter()
        problem = with_floor(problem)
        in_its_unit, module = self._in_its_unit(problem)
        found = summarize(module, time.perf_counter() - began)
        if kept := contradicted(module, module.scene()):
            first, others = found, without(in_its_unit, kept)
            if bool(others.visible.any()):
                found = summarize(self._refined(others, problem.start), time.perf_counter() - began)
            found = with_input(found, first, module.problem, kept)
        if self.checkpoint_dir is not None:
            shutil.rmtree(self.checkpoint_dir / _UNFINISHED, ignore_errors=True)  # another run of the same folder may have been faster
        return found.first(problem.num_frames)

    def _in_its_unit(self, problem: Problem) -> tuple[Problem, RefinementModule]:
        """The problem and its module once that is done; in another unit where stage 1's is a guess that motion contradicts, and feet stand
        in the other; held to stage 1's where they move in both."""
        given, first = problem, self._refined(problem, problem.start)
        module = first
        for again in range(_UNITS if problem.scale_guessed else 0):
            if (unit := another_unit(module, guessed=not again)) is None:
                break
            log.info("nothing says what stage 1's unit is, and motion that it is %.3g m: refined once more from there", unit)
            problem = in_unit(given, unit)
            module = self._refined(problem, given.start)
        if problem is not given and not feet_stand(module.scene(), first.scene(), module.problem):
            problem = in_the_given_unit(given)
            module = self._refined(problem, given.start)
        return problem, module

    def _refined(self, problem: Problem, given: Estimate) -> RefinementModule:
        """The module once it is done, on the CPU, its problem with the start that was given, whatever it began from."""
        motion = self.priors.motion
        steps, fill = (None, GapFiller(motion)) if isinstance(motion, MotionFlow) else (motion, None)
        module = self._kind(problem, self.config, self.priors.body, self.priors.hands, steps, fill)
        if module.searches:
            self._fit(module)
        module.to("cpu")
        module.variables.to(_DTYPE)
        module.problem = module.problem.to(_DTYPE, torch.device("cpu"))
        if module.searches:
            without_flicker(module.variables, module.problem)
            lay_soles(module)
        module.problem = replace(module.problem, start=given)
        return module

    def _fit(self, module: RefinementModule) -> None:
        folder = None
        if self.checkpoint_dir is not None:
            module.fingerprint = fingerprint(module.problem, module.config, (self.priors.body, self.priors.hands, self.priors.motion))
            folder = self.checkpoint_dir / _UNFINISHED
        if self._alone:
            run_alone(module, folder, shown=bool(self.trainer.get("enable_progress_bar", True)))
        else:
            from pose_priors.refinement.in_lightning import fit  # brings Lightning, whose import takes as long as a short clip

            fit(module, folder, self.trainer, self.logger, self.callbacks)

    @property
    def _alone(self) -> bool:
        """Whether nothing is asked for that only Lightning has: a device, a logger, callbacks."""
        return self.logger is None and not self.callbacks and set(self.trainer) <= {"enable_progress_bar"}

    @property
    def _kind(self) -> type[RefinementModule]:
        if self._alone:
            return RefinementModule
        from pose_priors.refinement.in_lightning import LightningRefinement  # as in `_fit`

        return LightningRefinement


def run_refinement(
    stage4_output_dir: Path | None,
    stage1_output_dir: Path,
    stage2_output_dir: Path,
    stage3_output_dir: Path,
    stage5_output_dir: Path,
    config: Mapping[str, Any] | RefinementConfig | None = None,
    *,
    priors: Priors | None = None,
    options: LoadOptions | None = None,
    trainer: Mapping[str, Any] | None = None,
    logger: Logger | None = None,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Refines the clip in the folders of stages 1 to 4 and writes the folder of stage 5.

    Args:
        stage4_output_dir: None, or a folder that does not exist, where there is none: people start from stage 3 then.
        config: a `RefinementConfig` or its fields.
        priors: what `load_priors` gives, or None.
        options: what can be said of the clip beside its files; how the floor is found is said by `config`.
        trainer: see `Stage5Refiner`.
        logger: the same.
        callbacks: the same.
    Returns:
        The content of `refinement_results.json`.
    Raises:
        UserError: on bad input, an unknown field, or a folder that cannot be written to.
    """
    settings = config if isinstance(config, RefinementConfig) else validate(RefinementConfig, config or {}, Source("config of stage 5"))
    refiner = Stage5Refiner(settings, priors=priors, trainer=trainer, logger=logger, callbacks=callbacks)
    folders = (Path(stage1_output_dir), Path(stage2_output_dir), Path(stage3_output_dir))
    world = None if stage4_output_dir is None else Path(stage4_output_dir)
    if world is not None and not world.exists():
        log.info("%s: no such folder; the people start from stage 3", world)
        world = None
    given = replace(options or LoadOptions(), ground_plane_init=settings.ground_plane_init)
    return refine_into(refiner, lambda: load_problem(*folders, world, given), Path(stage5_output_dir)).results


def refine_into(refiner: Stage5Refiner, load: Callable[[], Problem], output: Path, digest: str | None = None) -> RefinementOutput:
    """Refines what `load` gives and writes the folder of stage 5; an unfinished run is kept in it, and found again there.

    Args:
        digest: kept in the results, see `batch.digest`.
    Raises:
        UserError: on bad input, or if the folder cannot be written to.
    """
    problem = load()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):  # better now than after the optimisation
            pass
        finish_exchanges(output)  # of a run that was killed while it wrote
    except OSError as error:
        raise UserError(f"{output}: cannot be written to ({error.strerror}); give a folder that can be in output.path") from error
    refiner.checkpoint_dir = output
    found = refiner.refine(RefinementInput(problem))
    of_digest = {} if digest is None else {"digest": digest}
    found = replace(found, results=plain(found.results | of_digest))  # what is returned is what the file says
    for line in found.results["told"]:
        log.info("%s", line)
    for warning in found.results["warnings"]:
        log.warning("%s", warning)
    write_result(output, problem, found)
    return found


def _check_finite(problem: Problem) -> None:
    start = problem.start
    for name in ("global_orient", "body_pose", "pelvis"):
        if not torch.isfinite(getattr(start, name)).all():
            raise UserError(f"the start of the refinement holds NaN in {name}; check the arrays of stage 3")
