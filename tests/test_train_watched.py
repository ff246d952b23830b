"""What loggers are told of a run, read back from their files; where its data come from; callbacks of the caller's own."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from wandb_files import contents

import evaluate
import train
from pose_priors.configs.schema import load_experiment
from pose_priors.priors import load_prior

ROOT = Path(__file__).parents[1]
TINY = ["data.path=built_in", "data.num_poses=300", "training.batch_size=60", "training.max_epochs=2", "trainer.enable_progress_bar=false"]


def run(folder: Path, name: str = "gaussian_prior", *overrides: str) -> Path:
    places = [f"logging.log_dir={folder / 'logs'}", f"logging.checkpoint_dir={folder / 'ckpt'}", "logging.figures_every_n_epochs=9"]
    return train.main(["--config", name, "--override", *TINY, *places, *overrides])


def as_tensorboard_shows(logs: Path) -> tuple[list[str], list[str]]:
    """The hyperparameters and the metrics of the tab HPARAMS, in its order, of those that differ."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logs)).Reload()
    context = TBContext(multiplexer=multiplexer, data_provider=MultiplexerDataProvider(multiplexer, str(logs)))
    backend, request = Context(context), RequestContext()
    experiment = backend.experiment_from_metadata(request, "", True, backend.hparams_metadata(request, ""), [])
    differ = [info.name for info in experiment.hparam_infos if info.differs]
    assert differ == [info.name for info in experiment.hparam_infos][: len(differ)]
    main = [name for name in differ if name in ("model.hidden", "model.kind", "training.learning_rate")]
    return main, sorted({info.name.tag for info in experiment.metric_infos})


def test_tensorboard_compares_runs_by_configuration_and_best_score(tmp_path: Path) -> None:
    runs: list[tuple[str, list[str]]] = [("gaussian_prior", [f"training.learning_rate={rate}"]) for rate in ("1e-3", "1e-2", "3e-2")]
    runs += [("joint_flow", [f"model.hidden={size}", "model.K=1"]) for size in (8, 16)]
    for name, overrides in runs:
        run(tmp_path, name, *overrides)
    rows = []
    for events in sorted((tmp_path / "logs").glob("*/*/")):
        read = EventAccumulator(str(events)).Reload()
        content = {tag: HParamsPluginData.FromString(data) for tag, data in read.PluginTagToContent("hparams").items()}
        given = content["_hparams_/session_start_info"].session_start_info.hparams
        losses = [event.value for event in read.Scalars("val/nll")]
        assert read.Scalars("best/nll")[-1].value == pytest.approx(min(losses))
        assert "nats against normalised Haar measure" in read.SummaryMetadata("val/nll").summary_description
        assert "by part of the body" in read.SummaryMetadata("val/sample_std_ratio/body").summary_description
        kept = yaml.safe_load((events / "hparams.yaml").read_text())
        assert kept["training.learning_rate"] == given["training.learning_rate"].number_value
        hidden = given["model.hidden"].number_value if "model.hidden" in given else None
        rows.append((given["model.kind"].string_value, given["training.learning_rate"].number_value, hidden, losses[-1]))
    assert [row[:3] for row in rows] == [
        ("gaussian", 1e-3, None), ("gaussian", 1e-2, None), ("gaussian", 3e-2, None), ("joint_flow", 1e-3, 8), ("joint_flow", 1e-3, 16)
    ]  # fmt: skip
    assert all(math.isfinite(row[3]) for row in rows)
    columns, metrics = as_tensorboard_shows(tmp_path / "logs")
    assert columns[:3] == ["model.hidden", "model.kind", "training.learning_rate"]  # what differs comes first
    assert metrics[:2] == ["best/loss", "best/nll"]
    names = sorted(path.name for path in (tmp_path / "logs" / "joint_flow").iterdir())
    assert [name.rpartition("max_epochs=2-")[2] for name in names] == ["hidden=8-K=1", "hidden=16-K=1"]


def test_weights_and_biases_know_the_configuration_and_the_best_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for rate in ("1e-3", "2e-2"):
        run(tmp_path, "gaussian_prior", "logging.logger=wandb", "logging.offline=true", f"training.learning_rate={rate}")
    found = {}
    for path in (tmp_path / "logs").rglob("*.wandb"):
        name, config, values = contents(path)
        assert config["model.kind"] == "gaussian"
        found[config["training.learning_rate"]] = values["best/nll"]
        assert name.endswith(f"learning_rate={'1e-3' if config['training.learning_rate'] == 1e-3 else '2e-2'}")
    assert set(found) == {1e-3, 2e-2}
    assert all(map(math.isfinite, found.values()))


def test_the_best_score_is_kept_over_a_resumption(tmp_path: Path) -> None:
    run(tmp_path)
    last = tmp_path / "ckpt" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    content["best_scores"]["nll"] = -1e6
    torch.save(content, last)
    options = [
        "--override",
        *TINY,
        "training.max_epochs=3",
        f"logging.checkpoint_dir={tmp_path / 'ckpt'}",
        f"logging.log_dir={tmp_path / 'more'}",
    ]
    train.main(["--config", "gaussian_prior", "--resume", str(last), *options])
    (events,) = (tmp_path / "more").glob("*/*/")
    assert EventAccumulator(str(events)).Reload().Scalars("best/nll")[-1].value == -1e6


def test_poses_of_the_current_folder_are_learnt_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for seed, split in enumerate(("train", "val", "test")):
        poses = np.random.default_rng(seed).normal(size=(200, 55, 3)) * 0.2
        np.savez(f"{split}_poses.npz", poses=poses.astype(np.float32).reshape(200, -1))
    small = ["training.max_epochs=1", "trainer.enable_progress_bar=false", "logging.logger=csv"]
    with caplog.at_level(logging.INFO):
        best = train.main(["--config", "gaussian_prior", "--override", *small])
    told = [line for line in caplog.messages if "no data.path" in line]
    assert told == ["no data.path: train_poses.npz, val_poses.npz, test_poses.npz of the current folder are the data"]
    prior = load_prior(best)
    assert prior.trained_on == "train_poses.npz"
    assert "trained on: train_poses.npz" in repr(prior)


def test_synthetic_poses_are_told_and_the_checkpoint_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        best = train.main(["--config", "gaussian_prior", "--override", *TINY[1:], "logging.logger=csv"])
        assert sum("the poses are synthetic" in line for line in caplog.messages) == 1
        assert load_prior(best).trained_on == "synthetic data of the built-in source"
        evaluate.main(["--checkpoint", str(best), "--output", "out"])
    assert f"{best}: trained on synthetic data of the built-in source" in caplog.messages


def test_callbacks_of_the_callers_own(tmp_path: Path) -> None:
    class Count(pl.Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.epochs += 1

    count = Count()
    places = [f"logging.checkpoint_dir={tmp_path / 'ckpt'}", f"logging.log_dir={tmp_path / 'logs'}", "logging.logger=csv"]
    best = train.fit(load_experiment("gaussian_prior", [*TINY, *places]), "mine", callbacks=[count])
    assert count.epochs == 2
    assert best == tmp_path / "ckpt" / "best.ckpt"


def test_without_a_terminal_a_run_is_a_line_an_epoch(tmp_path: Path) -> None:
    overrides = ["data.path=built_in", "data.num_poses=300", "training.max_epochs=3", "logging.logger=csv"]
    command = [sys.executable, str(ROOT / "train.py"), "--config", "gaussian_prior", "--override", *overrides]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    lines = (said.stdout + said.stderr).splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split(",")[0] for line in epochs] == [f"epoch {number} of 3" for number in (1, 2, 3)]
    assert all("validation NLL" in line for line in epochs)
    assert "best.ckpt (least validation NLL" in lines[-1]
    assert len(lines) < 12
    assert all(len(line) <= 200 and "\r" not in line for line in lines)
