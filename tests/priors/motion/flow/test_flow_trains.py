"""The prior of clips through the real `main()`s: trained on built-in motions, loaded, evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import evaluate
import train
from pose_priors.configs.base import UserError
from pose_priors.configs.schema import load_experiment
from pose_priors.priors import MotionFlow, load_prior

SMALL = [
    "model.hidden=24",
    "model.num_blocks=1",
    "model.num_heads=2",
    "model.num_frames=40",
    "model.num_steps=3",
    "model.regression_hidden=32",
    "data.path=built_in",
    "data.num_clips=20",
    "training.max_epochs=1",
    "training.warmup_steps=2",
    "training.batch_size=64",
    "logging.logger=csv",
    "trainer.enable_progress_bar=false",
]


def trained(folder: Path, *overrides: str) -> Path:
    where = [f"logging.log_dir={folder / 'logs'}", f"logging.checkpoint_dir={folder / 'ckpt'}"]
    return train.main(["--config", "motion_flow", "--override", *SMALL, *where, *overrides])


def test_it_is_trained_watched_loaded_and_evaluated(tmp_path: Path) -> None:
    best = trained(tmp_path)
    prior = load_prior(best)
    assert isinstance(prior, MotionFlow)
    assert prior.trained_on == "synthetic data of the built-in source"
    assert prior.sample(1, torch.Generator().manual_seed(0), 50).isfinite().all()
    header = next((tmp_path / "logs").rglob("metrics.csv")).read_text().partition("\n")[0].split(",")
    assert {"val/loss", "val/over_process", "val/denoise_40mm_mm", "val/gap_20_ratio", "val/legs_hidden_mm"} <= set(header)
    metrics = evaluate.main(["--checkpoint", str(best), "--output", str(tmp_path / "out")])[str(best)]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())[str(best)] == metrics
    assert {"energy", "denoise_100mm_mm", "gap_40_ratio", "frames_hidden_mm", "num_clips"} <= set(metrics)
    assert (tmp_path / "out" / "samples_0_ckpt.png").is_file()


def test_both_configs_are_whole() -> None:
    for name in ("motion_flow", "motion_flow_cluster"):
        assert load_experiment(name).model.kind == "motion_flow"
    with pytest.raises(UserError, match="multiple of num_heads"):
        load_experiment("motion_flow", ["model.num_heads=7"])
