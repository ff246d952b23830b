"""The library doors of the refinement: `Stage5Refiner` for a problem in memory, `run_refinement` for the folders of the stages."""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import ValidationError
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment

from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import PARTS
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import finish_exchanges
from pose_priors.configs.fitting import WholeCheckpoints, told
from pose_priors.configs.interruption import UntilKilled
from pose_priors.priors import MotionPrior, Prior
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.people import PeopleConfig
from pose_priors.refinement.given.priors import load_priors
from pose_priors.refinement.given.problem import Problem, cast
from pose_priors.refinement.padding import cropped, padded
from pose_priors.refinement.result.summary import RefinementOutput, summarize
from pose_priors.refinement.result.write import write_result
from pose_priors.refinement.resume import belongs, fingerprint
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import Scene

log = logging.getLogger("refine")

# Variables are in single precision: a micrometre at ten metres, and twice as fast as double.
_DTYPE = torch.float32
_UNFINISHED = ".unfinished"


OptimizationState = Scene
"""Bodies, scale and floor at one point of the optimisation."""


@dataclass(frozen=True)
class RefinementInput:
    """What the previous stages left: a problem, as `load_problem` makes it, in any float type."""

    problem: Problem


class Stage5Refiner:
    """Refines problems, one after the other.

    Args:
        config: what to do.
        body_prior, hand_prior, motion_prior: frozen priors, or None.
        trainer: passed on to Lightning's Trainer: `accelerator`, `devices`, ...
        logger: of Lightning, or None.
        checkpoint_dir: an unfinished run is kept in `.unfinished` in it after each sub-stage, and found again there; None to keep nothing.

    Logger and checkpoint folder are those of the next clip, and may be changed between clips.
    """

    def __init__(
        self,
        config: RefinementConfig | None = None,
        *,
        body_prior: Prior | None = None,
        hand_prior: Prior | None = None,
        motion_prior: MotionPrior | None = None,
        trainer: Mapping[str, Any] | None = None,
        logger: Logger | None = None,
        checkpoint_dir: Path | None = None,
    ) -> None:
        self.config = config or RefinementConfig()
        self.body_prior, self.hand_prior, self.motion_prior = body_prior, hand_prior, motion_prior
        self.trainer, self.logger, self.checkpoint_dir = dict(trainer or {}), logger, checkpoint_dir

    def refine(self, given: RefinementInput) -> RefinementOutput:
        """Refines one clip.

        Raises:
            UserError: if the input is not finite, a prior knows none of the joints that it is to judge, or Lightning refuses the trainer's
                options.
        """
        problem = padded(cast(given.problem, _DTYPE), self.config.pad_frames)
        _check_finite(problem)
        _check_prior("body", self.body_prior, ("body",), problem)
        if self.motion_prior is not None and not set(range(NUM_JOINTS)) <= set(problem.bodies.smplx_index):
            raise UserError("motion_prior.path: the bodies lack some of the 22 joints of the body that a motion prior sees; leave it out")
        _check_prior("hands", self.hand_prior, ("left_hand", "right_hand"), problem)
        began = time.perf_counter()
        module = RefinementModule(problem, self.config, self.body_prior, self.hand_prior, self.motion_prior)
        if module.stages and self.config.max_total_iterations:
            self._fit(module)
        module.to("cpu")
        module.problem = cast(module.problem, _DTYPE, torch.device("cpu"))
        output = summarize(module, time.perf_counter() - began)
        return replace(output, state=cropped(output.state, problem.num_frames))

    def _fit(self, module: RefinementModule) -> None:
        callbacks: list[Callback] = [UntilKilled()]
        if self.trainer.get("enable_progress_bar", True):
            callbacks.append(SubStageBar())
        unfinished = None
        if self.checkpoint_dir is not None:
            module.fingerprint = fingerprint(module.problem, self.config, (self.body_prior, self.hand_prior, self.motion_prior))
            folder = self.checkpoint_dir / _UNFINISHED
            callbacks.append(ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False))
            unfinished = folder / "last.ckpt"
        options = {"accelerator": "cpu", "devices": 1} | self.trainer
        fixed: dict[str, Any] = {
            "max_epochs": len(module.stages),
            "callbacks": callbacks,
            # one process, also in a job of Slurm that has several
            "plugins": [LightningEnvironment(), WholeCheckpoints()],
            "logger": self.logger or False,
            "log_every_n_steps": 1,
            "enable_checkpointing": unfinished is not None,
            "enable_model_summary": False,
            "reload_dataloaders_every_n_epochs": 1,
        }
        with told(f"trainer {options}: refused by Lightning's Trainer"):
            trainer = pl.Trainer(**options | fixed)
        resume = str(unfinished) if unfinished is not None and belongs(unfinished, module.fingerprint) else None
        if resume is not None:
            log.info("%s: goes on with the unfinished run that is kept there", resume)
        with warnings.catch_warnings():
            # priors are frozen and in eval mode on purpose, and the folder of an unfinished run is not empty
            warnings.filterwarnings("ignore", message="Found .* module.* in eval mode")
            warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")
            try:
                trainer.fit(module, ckpt_path=resume)
            except SystemExit as error:  # how Lightning ends at an interrupt, after which it lets no other come
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if unfinished is None:
                    raise KeyboardInterrupt from error
                raise KeyboardInterrupt("the same command goes on from the last sub-stage that ended") from error
        if unfinished is not None:
            shutil.rmtree(unfinished.parent, ignore_errors=True)  # another run of the same folder may have been faster


def run_refinement(
    stage4_output_dir: Path | None,
    stage1_output_dir: Path,
    stage2_output_dir: Path,
    stage3_output_dir: Path,
    stage5_output_dir: Path,
    config: Mapping[str, Any] | RefinementConfig | None = None,
    *,
    body_prior: str | Path | None = None,
    hand_prior: str | Path | None = None,
    motion_prior: str | Path | None = None,
    body_model: str | Path | None = None,
    fps: float | None = None,
    keypoint_dropout: float = 0.0,
    seed: int = 0,
    who: PeopleConfig | None = None,
    trainer: Mapping[str, Any] | None = None,
    logger: Logger | None = None,
) -> dict[str, Any]:
    """Refines the clip in the folders of stages 1 to 4 and writes the folder of stage 5.

    Args:
        config: a `RefinementConfig` or its fields.
        body_prior, hand_prior, motion_prior: checkpoints of priors, or None.
        body_model: a file or folder in smplx's format, or None.
        fps, keypoint_dropout, seed, who: see `load_problem`.
        trainer, logger: see `Stage5Refiner`.
    Returns:
        The content of `refinement_results.json`.
    Raises:
        UserError: on bad input, an unknown field, or a folder that cannot be written to.
    """
    settings = _settings(config)
    priors = load_priors(body_prior, hand_prior, motion_prior)
    refiner = Stage5Refiner(settings, **priors, trainer=trainer, logger=logger)
    load = partial(
        load_problem,
        Path(stage1_output_dir),
        Path(stage2_output_dir),
        Path(stage3_output_dir),
        None if stage4_output_dir is None else Path(stage4_output_dir),
        fps=fps,
        body_model=None if body_model is None else Path(body_model),
        ground_plane_init=settings.ground_plane_init,
        keypoint_dropout=keypoint_dropout,
        seed=seed,
        who=who,
    )
    return refine_into(refiner, load, Path(stage5_output_dir)).results


def refine_into(refiner: Stage5Refiner, load: Callable[[], Problem], output: Path, digest: str | None = None) -> RefinementOutput:
    """Refines what `load` gives and writes the folder of stage 5; an unfinished run is kept in it, and found again there.

    Args:
        digest: kept in the results, see `refinement.digest`.
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
    if digest is not None:
        found = replace(found, results=found.results | {"digest": digest})
    for warning in found.results["warnings"]:
        log.warning("%s", warning)
    write_result(output, problem, found.state, found.results, found.metrics)
    return found


class SubStageBar(TQDMProgressBar):
    """A progress bar that names the sub-stage."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(trainer.lightning_module.stage.name)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {}


def _settings(config: Mapping[str, Any] | RefinementConfig | None) -> RefinementConfig:
    if isinstance(config, RefinementConfig):
        return config
    try:
        return RefinementConfig.model_validate(dict(config or {}))
    except ValidationError as error:
        first = error.errors()[0]
        allowed = f"; allowed: {', '.join(RefinementConfig.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UserError(f"config of stage 5: {'.'.join(map(str, first['loc']))}: {first['msg']}{allowed}") from error


def _check_prior(name: str, prior: Prior | None, parts: Sequence[str], problem: Problem) -> None:
    if prior is None:
        return
    asked = {joint for part in parts for joint in PARTS[part]}
    if not asked & set(prior.joint_indices):
        raise UserError(f"prior.{name}: scores {', '.join(prior.joints[:3])} ..., no joint of the {name}; give another checkpoint, or none")
    if not asked & set(prior.joint_indices) & set(problem.bodies.smplx_index):
        raise UserError(f"prior.{name}: the bodies of stage 3 have no {name} ({len(problem.bodies.parents)} joints); leave it out")


def _check_finite(problem: Problem) -> None:
    start = problem.start
    for name in ("global_orient", "body_pose", "pelvis"):
        if not torch.isfinite(getattr(start, name)).all():
            raise UserError(f"the start of the refinement holds NaN in {name}; check the arrays of stage 3")
