"""Where a training run is watched, and where it leaves its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from pose_priors.configs.base import Config, LoggerKind, UserError
from pose_priors.configs.exchange import check_writable
from pose_priors.configs.loggers import make_logger
from pose_priors.configs.writing import written_aside
from pose_priors.figures import Figure

BEST_SCORES = ("nll", "loss")
"""Of the validation scores, those whose least value so far is logged, under `best/`."""

DESCRIPTIONS = {
    "loss": "what training minimises",
    "nll": "negative log-likelihood, nats against normalised Haar measure, over the joints learnt; lower is better",
    "nll_median": "median of the poses' negative log-likelihoods, nats",
    "nll_worst": "negative log-likelihood of the worst pose, nats",
    "bits_per_dof": "negative log-likelihood in bits for each of the 3 degrees of freedom of each joint learnt (BPD)",
    "energy": "mean energy, nats; compare it under one kind of prior only",
    "energy_median": "median energy, nats",
    "energy_worst": "energy of the worst pose, nats",
    "round_trip_deg": "mean angle between poses and their reconstruction, degrees",
    "broad_share": "share of the likelihood that the heavy-tailed component explains; near 1, the flow has learnt nothing",
    "nll_reconstruction": "negative log-likelihood of the hands given the latent, nats",
    "kl": "divergence of the latent from its prior, nats",
    "beta": "weight of the divergence",
    "reconstruction_deg": "mean angle of the reconstruction to the hand, per joint, degrees",
    "sample_mean_error_deg": "mean rotation of samples against that of data, by part of the body, degrees",
    "sample_std_ratio": "spread of samples over that of data, by part of the body; 1 is right",
    "sample_limit_violation_deg": "mean angle by which samples exceed the ranges of motion, degrees",
    "data_limit_violation_deg": "the same of the data",
    "bound": "lower bound of the log-likelihood of a step, nats",
    "divergence": "divergence of the latent given the step from that given the frame before, nats",
    "prediction": "error of the predicted step, in standard deviations",
    "contacts": "cross-entropy of the contacts, nats",
    "critic": "logistic loss of telling real steps from wrong ones, nats",
    "one_step_mm": "mean distance of joints to their prediction one frame ahead, mm",
    "one_step_constant_velocity_mm": "the same, predicted by constant velocity, mm",
    "one_step_ratio": "the former over the latter; below 1 is better than constant velocity",
    "squared": "squared error of what is expected of windows, in variances that the Gaussian process leaves",
    "over_process": "the same over that of the Gaussian process alone",
    "regression": "what the regression of noisy joints minimises: its distance over that which the Gaussian process leaves, and its spread",
    "over_axes": "that distance over that of the Gaussian process of the principal axes alone",
    "spread_nll": "negative log-likelihood of errors under the spread that is learnt of them, nats",
    "denoise_40mm_mm": "mean error of joints seen with 40 mm of noise, mm",
    "gap_20_mm": "mean error of joints in gaps of 20 frames, mm",
    "gap_20_ratio": "the same over that of slerp and lerp",
    "gap_20_sliding": "speed of feet that should stand, in gaps of 20 frames, m/s",
    "gap_20_sliding_truth": "the same of the true motion, m/s",
    "legs_hidden_mm": "mean error of legs that are hidden for whole windows, mm",
    "contact_f1": "F1 score of contacts, all joints",
    "contact_f1_feet": "F1 score of contacts, ankles and feet",
    "lr-AdamW": "learning rate",
    "best/nll": "least validation NLL so far, nats",
    "best/loss": "least validation loss so far",
}
"""What the logged numbers mean, by their tags without `train/` and `val/`."""


class LoggingConfig(Config):
    """Where a run is logged and leaves its checkpoints."""

    logger: LoggerKind = "tensorboard"
    log_dir: str = "lightning_logs"
    """Logs go to `<log_dir>/<run name>`."""
    checkpoint_dir: str | None = None
    """The folder that gets `best.ckpt` and `last.ckpt`; None for `checkpoints/<run name>`."""
    project: str = "pose-priors"
    """Weights & Biases' project."""
    offline: bool = False
    """Weights & Biases without network or account."""
    figures_every_n_epochs: int = Field(5, ge=1)


def check_log_dir(config: LoggingConfig) -> None:
    """Raises `UserError` if no logs could be written: better before the data are read."""
    try:
        check_writable(Path(config.log_dir))
    except UserError as error:
        raise UserError(f"logging.log_dir: {error}") from error


def run_logger(config: LoggingConfig, name: str, overrides: Sequence[str] = ()) -> Logger:
    """Lightning's logger for a run of that name, told from others by its overrides."""
    return make_logger(
        config.logger,
        config.log_dir,
        name,
        overrides,
        project=config.project,
        offline=config.offline,
        descriptions=DESCRIPTIONS,
        best=[f"best/{score}" for score in BEST_SCORES],
    )


def log_figure(logger: Logger, name: str, figure: Figure, step: int) -> None:
    """Shows a figure where the logger shows figures; a CSV logger gets a PNG beside its table."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, figure, step)
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [figure], step=step)
    elif logger.log_dir is not None:
        path = Path(logger.log_dir) / "figures" / f"{name.replace('/', '_')}_{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            figure.savefig(aside)
