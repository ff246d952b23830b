"""Every YAML through the real `main()`, and runs that are killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import evaluate
import train
from pose_priors.configs.base import UserError
from pose_priors.configs.load import CONFIG_DIR
from pose_priors.configs.schema import ExperimentConfig
from pose_priors.configs.validation import kinds_allowed
from pose_priors.priors import load_prior
from pose_priors.priors.gaussian import Gaussian
from pose_priors.priors.module import PriorModule

SMALL = ["training.batch_size=64", "training.max_epochs=2", "logging.logger=csv", "trainer.enable_progress_bar=false"]
TINY = {
    "gaussian_prior": [],
    "joint_flow": ["model.hidden=8", "model.K=2"],
    "joint_flow_517k": ["model.hidden=8", "model.K=2"],
    "joint_flow_document": ["model.hidden=8", "model.K=1"],
    "global_flow": ["model.hidden=16", "model.K=2"],
    "global_flow_document": ["model.hidden=8", "model.K=1"],
    "ensemble": ["model.num_members=2", "model.member.hidden=16", "model.member.K=2"],
    "mixed_ensemble": [
        "model.members=[{kind: mixture, num_components: [2], widths: [1.0]}, {kind: global_flow, hidden: 16, K: 2}]",
        "training.smoothed_share=0",
        "trainer.check_val_every_n_epoch=1",
    ],
    "flow_matching": ["model.hidden=16", "model.num_blocks=1", "model.num_steps=2"],
    "denoiser": [
        "model.hidden=16",
        "model.num_blocks=1",
        "model.num_steps=2",
        "model.denoiser.hidden=16",
        "model.denoiser.mixture={kind: mixture, num_components: [2], covariance_floors: [1e-4]}",
        "trainer.check_val_every_n_epoch=1",
    ],
    "mixture": ["model.num_components=[2,3]", "model.covariance_floors=[1e-4]", "model.max_centres=200"],
    "hand_mixture": ["model.num_components=[2,3]", "model.widths=[0.3,1.0]", "model.covariance_floors=[1e-4]"],
    "hand_vae": ["model.hidden=16", "model.n_layers=1", "model.z_dim=4"],
    "motion_prior": ["model.hidden=64", "model.num_layers=1", "model.latent_dim=4", "model.critic_hidden=16", "training.batch_size=256"],
}


def run(name: str, folder: Path, *overrides: str, resume: Path | None = None) -> Path:
    num_data = "data.num_clips=24" if name == "motion_prior" else "data.num_poses=400"
    small = [
        *SMALL,
        "data.path=built_in",
        num_data,
        *TINY[name],
        f"logging.log_dir={folder / 'logs'}",
        f"logging.checkpoint_dir={folder / 'ckpt'}",
        *overrides,
    ]
    return train.main(["--config", name, "--override", *small, *(["--resume", str(resume)] if resume else [])])


def priors_among_configs() -> list[str]:
    """The configs of pose priors."""
    trees = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIG_DIR.glob("*.yaml")}
    kinds = kinds_allowed(ExperimentConfig, "model")
    return sorted(name for name, tree in trees.items() if tree.get("model", {}).get("kind") in kinds)


@pytest.mark.parametrize("name", priors_among_configs())
def test_every_config_trains_evaluates_and_loads(name: str, tmp_path: Path) -> None:
    best = run(name, tmp_path)
    assert best == tmp_path / "ckpt" / "best.ckpt"
    assert (tmp_path / "ckpt" / "last.ckpt").is_file()
    prior = load_prior(best)
    assert prior.sample(3).shape == (3, 55, 3)
    metrics = evaluate.main(["--checkpoint", str(best), "--output", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == metrics
    scores = written[str(best)]
    assert {"nll", "nll_median", "bits_per_dof", "joints", "num_poses"} <= set(scores)
    assert scores["num_poses"] == 40
    assert scores["joints"] == list(prior.joints)
    assert (scores["nll"] is not None) == hasattr(prior, "log_prob")
    logged = next((tmp_path / "logs").rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"val/loss", "val/round_trip_deg", "train/loss"} <= set(logged)
    assert list((tmp_path / "logs").rglob("samples_*.png"))
    for figure in ("figure_samples", "figure_joint_nll", "figure_real_corrupted"):
        check_picture(tmp_path / "out" / f"{figure}.png")


def check_picture(path: Path) -> None:
    """A PNG at 200 dpi, no wider than a page, in greys, with something on it."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.info["dpi"][0] == pytest.approx(200, abs=1)
        assert 600 < picture.width <= 1385
        assert 100 < picture.height < 2400
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.std() > 8
    assert np.ptp(pixels, axis=-1).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["global_flow", "hand_vae", "motion_prior"])
def test_a_killed_run_resumes_bit_for_bit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["training.max_epochs=3", "training.ema_decay=0.9", "training.warmup_steps=3"]
    run(name, tmp_path / "whole", *options)
    step = PriorModule.training_step

    def killed(self: PriorModule, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 2 and batch_idx == 1:
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PriorModule, "training_step", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run(name, tmp_path / "parts", *options)
    monkeypatch.setattr(PriorModule, "training_step", step)
    last = tmp_path / "parts" / "ckpt" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 1
    run(name, tmp_path / "parts", *options, resume=last)
    whole, parts = (torch.load(tmp_path / folder / "ckpt" / "last.ckpt", weights_only=True) for folder in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"]
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, parts[key][name]) for name, value in whole[key].items())


def test_a_run_of_another_model_is_not_resumed(tmp_path: Path) -> None:
    run("joint_flow", tmp_path, "training.max_epochs=1")
    with pytest.raises(UserError, match="its model differs"):
        run("joint_flow", tmp_path, "model.hidden=16", resume=tmp_path / "ckpt" / "last.ckpt")


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    options = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", f"logging.checkpoint_dir={tmp_path / 'ckpt'}"]
    options += [
        *SMALL,
        "data.path=built_in",
        "data.num_poses=400",
        *TINY["global_flow"],
        f"logging.log_dir={tmp_path / 'logs'}",
        "training.max_epochs=2",
    ]
    command = [sys.executable, "train.py", "--config", "global_flow", "--override", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=Path(train.__file__).parent, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    content = torch.load(tmp_path / "ckpt" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 2 * (320 // (2 * 64))
    assert torch.isfinite(load_prior(tmp_path / "ckpt" / "best.ckpt").log_prob(torch.zeros(55, 3)))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("name", ["joint_flow", "hand_vae"])
def test_precisions(name: str, precision: str, tmp_path: Path) -> None:
    best = run(name, tmp_path, f"trainer.precision={precision}", "training.max_epochs=1", "training.ema_decay=0.9")
    prior = load_prior(best)
    assert torch.isfinite(prior.energy(prior.sample(4))).all()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gaussian, "loss", lambda self, pose: {"loss": self.shift.sum() * float("nan")})
    with pytest.raises(UserError, match="step 0"):
        run("gaussian_prior", tmp_path)


def test_validation_and_checkpoints_use_the_averaged_weights(tmp_path: Path) -> None:
    run("joint_flow", tmp_path, "training.ema_decay=0.99")
    content = torch.load(tmp_path / "ckpt" / "last.ckpt", weights_only=True)
    averaged, current = content["state_dict"], content["current_model_state"]
    floats = [name for name in averaged if name.endswith("weight")]
    assert any(not torch.equal(averaged[name], current[name]) for name in floats)
    assert torch.equal(averaged["prior.context"], current["prior.context"])


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_loggers(logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run("gaussian_prior", tmp_path, f"logging.logger={logger}", "logging.offline=true", "training.max_epochs=1")
    assert any(p.is_file() for p in (tmp_path / "logs").rglob("events*" if logger == "tensorboard" else "*.wandb"))


@pytest.mark.slow
def test_the_built_in_source_has_structure(tmp_path: Path) -> None:
    """Held out, the whole-pose flow beats the joint flow, which beats the Gaussian."""
    common = ["data.num_poses=2500", "training.batch_size=64", "training.max_epochs=6", "training.ema_decay=0.99"]
    nll = {}
    for name, size in (("gaussian_prior", []), ("joint_flow", ["model.hidden=32"]), ("global_flow", ["model.hidden=128", "model.K=4"])):
        best = run(name, tmp_path / name, *common, *size)
        nll[name] = evaluate.main(["--checkpoint", str(best), "--output", str(tmp_path / name / "out")])[str(best)]["nll"]
    assert nll["global_flow"] < nll["joint_flow"] - 2 < nll["gaussian_prior"] - 12


def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    root = Path(train.__file__).parent
    command = [sys.executable, "train.py", "--config", "joint_flow", "--override", "training.learnig_rate=1"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().count("\n") == 0
    assert "training.learnig_rate" in result.stderr
    assert "learning_rate" in result.stderr.split("did you mean")[1]


def test_no_pose_files_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="npz"):
        run("gaussian_prior", tmp_path, f"data.path={tmp_path}")


def test_evaluation_refuses_checkpoints_of_other_data_without_data(tmp_path: Path) -> None:
    first = run("gaussian_prior", tmp_path / "a", "training.max_epochs=1")
    second = run("gaussian_prior", tmp_path / "b", "training.max_epochs=1", "seed=5")
    with pytest.raises(UserError, match="--data"):
        evaluate.main(["--checkpoint", str(first), str(second), "--output", str(tmp_path / "out")])


def test_checkpoints_go_to_a_folder_of_the_configs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "my_gaussian.yaml"
    mine.write_text((CONFIG_DIR / "gaussian_prior.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    best = train.main(["--config", str(mine), "--override", *SMALL, "data.path=built_in", "data.num_poses=400", "training.max_epochs=1"])
    assert best.resolve() == tmp_path / "checkpoints" / "my_gaussian" / "best.ckpt"


def test_poses_that_do_not_move_the_scored_joints_are_refused(tmp_path: Path) -> None:
    best = run("gaussian_prior", tmp_path, "training.max_epochs=1")
    body_only = tmp_path / "body.npy"
    np.save(body_only, np.random.default_rng(0).normal(size=(20, 63)).astype(np.float32))
    with pytest.raises(UserError, match="33 joints that never move"):
        evaluate.main(["--checkpoint", str(best), "--data", str(body_only), "--output", str(tmp_path / "out")])


@pytest.mark.parametrize("override", ["trainer.devises=1", "logging.checkpoint_dir=/proc/nowhere", "logging.log_dir=/proc/nowhere"])
def test_a_trainer_or_folder_that_cannot_be_is_refused_before_training(override: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=override.partition(".devises")[0].partition("=")[0].replace(".", r"\.")):
        run("gaussian_prior", tmp_path, override)
    if "log_dir" in override:
        assert not (tmp_path / "ckpt").exists()


def test_a_batch_of_everything_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run("gaussian_prior", tmp_path, "training.batch_size=8192", "training.max_epochs=1")
    assert "one step an epoch" in caplog.text
