"""What loggers are told of a refinement, read back from their files; callbacks of the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml
from problems import make_problem
from scenes import Clip
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_files import contents

from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from refine import main

NAMES = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
SHORT = [*(f"refinement.{name}_iterations=2" for name in NAMES), "trainer.enable_progress_bar=false", "refinement.lambda_depth=2.0"]


def run(logger: str, clip: Path, folder: Path) -> None:
    places = [f"input.path={clip}", f"output.path={folder / 'out'}", f"logging.log_dir={folder / 'logs'}"]
    main(["--config", "refinement", "--override", *places, f"logging.logger={logger}", "logging.offline=true", *SHORT])


def test_tensorboard(clip: Callable[[str], Clip], tmp_path: Path) -> None:
    folder = clip("released").folder
    run("tensorboard", folder, tmp_path)
    (events,) = (tmp_path / "logs" / folder.name).iterdir()
    assert events.name.startswith("version_0-")
    assert "lambda_depth=2.0" in events.name
    assert yaml.safe_load((events / "hparams.yaml").read_text())["refinement.lambda_depth"] == 2.0
    read = EventAccumulator(str(events)).Reload()
    described = read.SummaryMetadata("terms/keypoints").summary_description
    assert described.startswith("KeypointReprojection, unweighted, nats per person and frame. Keypoints against")
    assert "hparams" in read.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name


def test_weights_and_biases(clip: Callable[[str], Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = clip("released").folder
    run("wandb", folder, tmp_path)
    (path,) = (tmp_path / "logs").rglob("*.wandb")
    name, config, values = contents(path)
    assert name.startswith(f"{folder.name} ")
    assert "lambda_depth=2.0" in name
    assert config["refinement.lambda_depth"] == 2.0
    assert {"loss", "terms/keypoints", "terms/skate"} <= set(values)


def test_callbacks_of_the_callers_own() -> None:
    names = []

    class Stages(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert isinstance(pl_module, RefinementModule)
            names.append(pl_module.stage.name)

    config = RefinementConfig(**{f"{name}_iterations": 1 for name in NAMES})
    problem, _ = make_problem(frames=8)
    Stage5Refiner(config, trainer={"enable_progress_bar": False}, callbacks=[Stages()]).refine(RefinementInput(problem))
    assert names == ["root", "smpl", "motion", "environmental", "scale", "final"]


def test_the_built_in_people_have_hands_where_a_prior_is_to_judge_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def write(folder: Path, seed: int, *, hands: bool) -> tuple[Path, Path]:
        asked.append(hands)
        raise KeyboardInterrupt

    monkeypatch.setattr("pose_priors.datamodules.synthetic.scenes.builtin.write_builtin_scene", write)
    for override in ("prior.hands=null", "prior.hands=hand_vae.ckpt"):
        with pytest.raises(KeyboardInterrupt):
            main(["--config", "refinement", "--override", override])
    assert asked == [False, True]
