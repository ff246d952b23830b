"""Where a run is watched: Lightning's loggers, told the whole configuration, what tells the run from others, and what each number means."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from pose_priors.configs.base import LoggerKind, flattened

AnyLogger = TypeVar("AnyLogger", bound=Logger | None)

# settings that say where a run is and how it is shown, not what it is
_NOT_IN_NAMES = ("logging.", "trainer.", "slurm.", "output.")
_MOST_CHARACTERS = 200  # of a label, so that it fits into the name of a folder
_NOT_COMPARED = ("logging.", "slurm.")  # where a run is kept and where it ran says nothing of it
_STRANGE = re.compile(r"[^\w.,+=-]+")
_VERSION = re.compile(r"version_(\d+)")


def make_logger(
    kind: LoggerKind,
    log_dir: str,
    name: str,
    overrides: Sequence[str] = (),
    *,
    project: str = "pose-priors",
    offline: bool = False,
    descriptions: Mapping[str, str] | None = None,
    best: Collection[str] = (),
) -> Logger:
    """A logger of one run.

    Args:
        log_dir, name: logs go to `<log_dir>/<name>/version_<number>`.
        overrides: `key=value` that tell the run from others of that name; they are in the name of the run.
        project, offline: Weights & Biases' project, and whether it does without network or account.
        descriptions: what the numbers mean, by tag, or by tag without its first part (`train/`, `val/`); shown by TensorBoard.
        best: the tags by which TensorBoard compares runs.
    """
    label = run_label(overrides)
    if kind == "wandb":
        os.environ.setdefault("WANDB_SILENT", "true")
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        return WandbLogger(name=" ".join(filter(None, (name, label))), save_dir=log_dir, project=project, offline=offline)
    version = _next_version(Path(log_dir) / name) + (f"-{label.replace(' ', '-')}" if label else "")
    if kind == "csv":
        return CSVLogger(log_dir, name=name, version=version)
    return DescribingTensorBoard(log_dir, name, version, descriptions or {}, best)


@contextmanager
def finished(logger: AnyLogger) -> Iterator[AnyLogger]:
    """A block that is one run: Weights & Biases has one run a process at a time, which the next would go on with."""
    try:
        yield logger
    finally:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger.experiment.finish()


def run_label(overrides: Sequence[str]) -> str:
    """What tells a run from others of its configuration: `hidden=256 learning_rate=1e-4`, of the overrides those that change what it does,
    the last of each key, by the last part of the key; characters that no file name should have are left out."""
    given = dict(override.split("=", 1) for override in overrides if "=" in override and not override.startswith(_NOT_IN_NAMES))
    short = [key.rpartition(".")[2] for key in given]
    names = [key if short.count(last) > 1 else last for key, last in zip(given, short, strict=True)]
    values = (_STRANGE.sub("_", value).strip("_") for value in given.values())
    return " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))[:_MOST_CHARACTERS]


class ConfigLog(Callback):
    """Tells the logger the whole configuration when a fit begins.

    Args:
        config: as a plain dict.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = flattened(config)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(dict(self.config))


class DescribingTensorBoard(TensorBoardLogger):
    """TensorBoard that says under each curve what it is, and compares runs by their configurations and best scores (tab HPARAMS).

    Args:
        descriptions, best: see `make_logger`.
    """

    def __init__(self, log_dir: str, name: str, version: str, descriptions: Mapping[str, str], best: Collection[str]) -> None:
        super().__init__(log_dir, name=name, version=version, default_hp_metric=False)
        self._descriptions, self._best, self._described = descriptions, best, set[str]()

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: dict[str, Any] | None = None, step: int | None = None) -> None:
        """Also without values of metrics, which are curves like others."""
        super().log_hyperparams(params, metrics, step)
        if metrics:
            return
        from torch.utils.tensorboard.summary import hparams

        writer = self.experiment._get_file_writer()
        # without the first, which describes the experiment, TensorBoard looks at all runs itself, and puts first what differs among them
        compared = {key: value for key, value in params.items() if not key.startswith(_NOT_COMPARED)}
        for summary in hparams(self._sanitize_params(compared), dict.fromkeys(self._best))[1:]:
            writer.add_summary(summary)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """The first value of each tag comes with what it means."""
        new = {tag: text for tag in metrics if tag not in self._described and (text := self._meaning(tag))}
        self._described.update(metrics)
        if new:
            from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

            writer = self.experiment._get_file_writer()
            plugin = SummaryMetadata.PluginData(plugin_name="scalars")
            for tag, text in new.items():
                value = metrics[tag]
                number = float(value.item() if isinstance(value, Tensor) else value)
                described = Summary.Value(
                    tag=tag, simple_value=number, metadata=SummaryMetadata(summary_description=text, plugin_data=plugin)
                )
                writer.add_summary(Summary(value=[described]), step)
        super().log_metrics({tag: value for tag, value in metrics.items() if tag not in new}, step)

    def _meaning(self, tag: str) -> str | None:
        first, _, rest = tag.partition("/")
        return next((self._descriptions[key] for key in (tag, rest, rest.partition("/")[0], first) if key in self._descriptions), None)


def _next_version(folder: Path) -> str:
    numbers = [int(found[1]) for path in folder.glob("version_*") if (found := _VERSION.match(path.name))]
    return f"version_{max(numbers, default=-1) + 1}"
