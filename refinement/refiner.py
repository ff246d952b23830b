"""The library doors of the refinement: `Stage5Refiner` for a problem in memory, `run_refinement` for the folders of the stages."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import ValidationError
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import Logger
from torch import Tensor

from configs.base import UserError
from priors import Prior, load_prior
from refinement.config import RefinementConfig
from refinement.load import load_problem
from refinement.module import RefinementModule
from refinement.problem import Problem
from refinement.scene import Scene
from refinement.terms import PosePrior, Smoothness
from refinement.write import Refined, write_result

log = logging.getLogger("refine")

# Variables are in single precision: a micrometre at ten metres, and twice as fast as double.
_DTYPE = torch.float32
_CHECKPOINT = "unfinished"
# A delta above this fraction of its bound is stuck there.
_STUCK = 0.95


@dataclass(frozen=True)
class RefinementInput:
    """What the previous stages left: a problem, as `load_problem` makes it, in any float type."""

    problem: Problem


@dataclass(frozen=True)
class RefinementOutput:
    """What comes out.

    Attributes:
        state: bodies, floor and scale.
        results: the content of `refinement_results.json`.
        metrics: of `optimization_metrics.json`: per sub-stage and term the history over iterations.
    """

    state: Refined
    results: dict[str, Any]
    metrics: dict[str, Any]


class Stage5Refiner:
    """Refines problems, one after the other.

    Args:
        config: what to do.
        body_prior, hand_prior: frozen priors, or None.
        trainer: passed on to Lightning's Trainer: `accelerator`, `devices`, ...
        logger: of Lightning, or None.
        checkpoint_dir: where an unfinished run is kept after each sub-stage and found again; None to keep nothing.
    """

    def __init__(
        self,
        config: RefinementConfig | None = None,
        *,
        body_prior: Prior | None = None,
        hand_prior: Prior | None = None,
        trainer: Mapping[str, Any] | None = None,
        logger: Logger | None = None,
        checkpoint_dir: Path | None = None,
    ) -> None:
        self.config = config or RefinementConfig()
        self.body_prior, self.hand_prior = body_prior, hand_prior
        self.trainer, self.logger, self.checkpoint_dir = dict(trainer or {}), logger, checkpoint_dir

    def refine(self, given: RefinementInput) -> RefinementOutput:
        """Refines one clip. Raises `UserError` if the input is not finite."""
        problem = cast(given.problem, _DTYPE)
        _check_finite(problem)
        began = time.perf_counter()
        module = RefinementModule(problem, self.config, self.body_prior, self.hand_prior)
        if module.stages and self.config.max_total_iterations:
            self._fit(module)
        module.to("cpu")
        module.problem = cast(module.problem, _DTYPE, torch.device("cpu"))
        return self._output(module, time.perf_counter() - began)

    def _fit(self, module: RefinementModule) -> None:
        callbacks: list[Callback] = [SubStageBar()] if self.trainer.get("enable_progress_bar", True) else []
        unfinished = None
        if self.checkpoint_dir is not None:
            module.fingerprint = self._fingerprint(module.problem)
            callbacks.append(ModelCheckpoint(self.checkpoint_dir, _CHECKPOINT, save_on_train_epoch_end=True, enable_version_counter=False))
            unfinished = self.checkpoint_dir / f"{_CHECKPOINT}.ckpt"
        trainer = pl.Trainer(
            **{"accelerator": "cpu", "devices": 1}
            | self.trainer
            | {
                "max_epochs": len(module.stages),
                "callbacks": callbacks,
                "logger": self.logger or False,
                "log_every_n_steps": 1,
                "enable_checkpointing": unfinished is not None,
                "enable_model_summary": False,
                "reload_dataloaders_every_n_epochs": 1,
            }
        )
        resume = str(unfinished) if unfinished is not None and _belongs(unfinished, module.fingerprint) else None
        trainer.fit(module, ckpt_path=resume)
        if trainer.interrupted:
            raise KeyboardInterrupt
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)

    def _fingerprint(self, problem: Problem) -> str:
        """Names the problem, the configuration and the priors, so that a run is never resumed with others."""
        digest = hashlib.sha256(self.config.model_dump_json().encode())
        _digest(problem, digest)
        for prior in (self.body_prior, self.hand_prior):
            for name, value in (prior.state_dict() if prior is not None else {}).items():
                digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _output(self, module: RefinementModule, seconds: float) -> RefinementOutput:
        problem, scene = module.problem, module.scene()
        alpha, delta = float(scene.alpha), float(module.variables.delta().detach())
        warnings = list(problem.warnings)
        if abs(delta) > _STUCK * self.config.alpha_change_threshold:
            warnings.append(
                f"the scale is stuck at its bound ({delta:+.3f}): the scale at the start is probably wrong, or "
                f"alpha_change_threshold ({self.config.alpha_change_threshold}) too small"
            )
        for name, report in module.reports.items():
            if report.failures:
                warnings.append(f"sub-stage {name}: the loss was not finite {report.failures} times")
        betas = problem.bodies.betas.clone()
        num_betas = problem.bodies.shape_directions.shape[-1]
        if num_betas:
            betas[:, :num_betas] += scene.shape
        state = Refined(
            global_orient=scene.rotvec[:, :, 0],
            body_pose=scene.rotvec[:, :, 1:],
            pelvis=scene.joints[:, :, 0],
            betas=betas,
            joints=scene.joints,
            contacts=scene.contacts,
            ground_plane=torch.cat([scene.normal, scene.offset[None]]),
            scale_alpha=alpha,
            scale_delta=delta,
        )
        results = {
            "status": "success",
            "num_people": len(problem.person_ids),
            "convergence_achieved": bool(module.reports) and all(report.converged for report in module.reports.values()),
            "scale_alpha": alpha,
            "scale_delta": delta,
            "metrics": {
                "total_loss_history": {name: report.losses["total"][-1] for name, report in module.reports.items()},
                "scale_delta": delta,
                "scale_alpha": alpha,
            },
            "per_person_likelihoods": _likelihoods(scene, problem, self.body_prior),
            "warnings": warnings,
        }
        metrics = {
            "noise": dataclasses.asdict(module.noise),
            "total_iterations": module.total_iterations,
            "seconds": seconds,
            "sub_stages": {name: dataclasses.asdict(report) for name, report in module.reports.items()},
        }
        return RefinementOutput(state, results, metrics)


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
    body_model: str | Path | None = None,
    fps: float | None = None,
    keypoint_dropout: float = 0.0,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
    logger: Logger | None = None,
) -> dict[str, Any]:
    """Refines the clip in the folders of stages 1 to 4 and writes the folder of stage 5.

    Args:
        config: a `RefinementConfig` or its fields.
        body_prior, hand_prior: checkpoints of priors, or None.
        body_model: a file or folder in smplx's format, or None.
        fps, keypoint_dropout, seed: see `load_problem`.
        trainer, logger: see `Stage5Refiner`.
    Returns:
        The content of `refinement_results.json`.
    Raises:
        UserError: on bad input, an unknown field, or a folder that cannot be written to.
    """
    settings = _settings(config)
    output = Path(stage5_output_dir)
    priors = [None if path is None else load_prior(path) for path in (body_prior, hand_prior)]
    problem = load_problem(
        Path(stage1_output_dir),
        Path(stage2_output_dir),
        Path(stage3_output_dir),
        None if stage4_output_dir is None else Path(stage4_output_dir),
        fps=fps,
        body_model=None if body_model is None else Path(body_model),
        ground_plane_init=settings.ground_plane_init,
        keypoint_dropout=keypoint_dropout,
        seed=seed,
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); give a folder that can be written to in output.path") from error
    refiner = Stage5Refiner(settings, body_prior=priors[0], hand_prior=priors[1], trainer=trainer, logger=logger, checkpoint_dir=output)
    found = refiner.refine(RefinementInput(problem))
    for warning in found.results["warnings"]:
        log.warning("%s", warning)
    write_result(output, problem, found.state, found.results, found.metrics)
    return found.results


class SubStageBar(TQDMProgressBar):
    """A progress bar that names the sub-stage."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(trainer.lightning_module.stage.name)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {}


def cast(value: Any, dtype: torch.dtype, device: torch.device | None = None) -> Any:
    """A problem with its floats of one type, and on a device."""
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **{f.name: cast(getattr(value, f.name), dtype, device) for f in dataclasses.fields(value)})
    return value


def _digest(value: Any, digest: hashlib._Hash) -> None:
    if isinstance(value, Tensor):
        digest.update(str(tuple(value.shape)).encode() + value.cpu().numpy().tobytes())
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            _digest(getattr(value, f.name), digest)
    else:
        digest.update(repr(value).encode())


def _settings(config: Mapping[str, Any] | RefinementConfig | None) -> RefinementConfig:
    if isinstance(config, RefinementConfig):
        return config
    try:
        return RefinementConfig.model_validate(dict(config or {}))
    except ValidationError as error:
        first = error.errors()[0]
        allowed = f"; allowed: {', '.join(RefinementConfig.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UserError(f"config of stage 5: {'.'.join(map(str, first['loc']))}: {first['msg']}{allowed}") from error


def _check_finite(problem: Problem) -> None:
    start = problem.start
    for name in ("global_orient", "body_pose", "pelvis"):
        if not torch.isfinite(getattr(start, name)).all():
            raise UserError(f"the start of the refinement holds NaN in {name}; check the arrays of stage 3")


def _belongs(checkpoint: Path, fingerprint: str) -> bool:
    """Whether a checkpoint is of an unfinished run of the same problem and configuration."""
    if not checkpoint.is_file():
        return False
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return content["refinement"]["fingerprint"] == fingerprint
    except Exception:
        log.warning("%s: cannot be read; the refinement starts anew", checkpoint)
        return False


@torch.no_grad()
def _likelihoods(scene: Scene, problem: Problem, prior: Prior | None) -> dict[str, float]:
    """Per person, log-likelihood in nats per frame: of the motion, less a constant, and of the poses where there is a prior."""
    terms = [Smoothness(), *([PosePrior(prior=prior)] if prior is not None else [])]
    found = {}
    for p, person in enumerate(problem.person_ids):
        alive = torch.zeros_like(problem.alive)
        alive[p] = problem.alive[p]
        alone = dataclasses.replace(problem, alive=alive)
        found[str(person)] = -sum(float(term(scene, alone)) for term in terms)
    return found
