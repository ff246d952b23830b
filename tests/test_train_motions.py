"""The motion prior through the real `main()`s: trained on built-in motions and on files, loaded, evaluated, and watched."""

from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import run

import evaluate
from pose_priors.configs.base import UserError
from pose_priors.datamodules.synthetic.motions import synthetic_motions
from pose_priors.priors import MotionCVAE, load_prior
from pose_priors.priors.motion.humor import CONFIG as HUMOR
from pose_priors.priors.motion.scores import NEGATIVES


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on built-in motions."""
    folder = tmp_path_factory.mktemp("built_in")
    best = run("motion_prior", folder, "training.max_epochs=2", "training.warmup_steps=2", "training.learning_rate=3e-3")
    assert best == folder / "ckpt" / "best.ckpt"
    return folder


def amass_folder(folder: Path) -> Path:
    """Motions at 120 fps, y up, in AMASS's layout and both spellings of its frame rate; the last is shorter than a second."""
    folder.mkdir()
    for number, motion in enumerate(synthetic_motions(10, 120.0, 3)):
        num_frames = 110 if number == 9 else len(motion.pose)
        poses = np.zeros((num_frames, 156))
        poses[:, :66] = motion.pose[:num_frames].flatten(1)
        rate = {("mocap_framerate", "mocap_frame_rate")[number % 2]: 120.0}
        np.savez(folder / f"clip_{number}.npz", poses=poses, trans=motion.pelvis[:num_frames].numpy(), betas=np.zeros(16), **rate)
    return folder


def logged(folder: Path) -> dict[str, list[float]]:
    """What was logged, by name."""
    rows = list(csv.DictReader(next((folder / "logs").rglob("metrics.csv")).open()))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


def test_a_checkpoint_comes_back_frozen_and_goes_on(trained: Path) -> None:
    prior = load_prior(trained / "ckpt" / "best.ckpt")
    assert isinstance(prior, MotionCVAE)
    assert not prior.training
    assert not any(parameter.requires_grad for parameter in prior.parameters())
    states = prior.sample(3, torch.Generator().manual_seed(0), num_frames=10)
    assert states.shape == (3, 10, 339)
    assert torch.isfinite(prior.transition_plausibility(states)).all()


def test_training_is_watched(trained: Path) -> None:
    values = logged(trained)
    assert {"train/loss", "val/loss", "val/energy", "val/one_step_ratio", "val/contact_f1", "lr-AdamW"} <= set(values)
    assert values["val/loss"][-1] < values["val/loss"][0]
    assert values["val/one_step_ratio"][-1] == pytest.approx(
        values["val/one_step_mm"][-1] / values["val/one_step_constant_velocity_mm"][-1]
    )
    assert list((trained / "logs").rglob("samples_*.png"))


def test_evaluation_writes_all_scores_of_the_test_clips(trained: Path, tmp_path: Path) -> None:
    path = str(trained / "ckpt" / "best.ckpt")
    metrics = evaluate.main(["--checkpoint", path, "--output", str(tmp_path / "out")])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    scores = metrics[path]
    assert {"plausibility", "one_step_ratio", "rollout_ratio", "contact_f1", "scale_within_5_percent"} <= set(scores)
    assert all(0 <= scores[f"auroc_{name}_{kind}"] <= 1 for name in NEGATIVES for kind in ("second", "clip"))
    assert scores["num_clips"] == len(scores["scales"]) >= 1
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"scale_0_ckpt.png", "samples_0_ckpt.png"}


def test_files_are_trained_on_resumed_and_evaluated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = amass_folder(tmp_path / "amass")
    options = [f"data.path={data}", "data.val_fraction=0.2", "data.test_fraction=0.2", "training.batch_size=128"]
    with caplog.at_level(logging.INFO):
        best = run("motion_prior", tmp_path, *options, "training.max_epochs=1")
    assert "files 10" in caplog.text
    assert "dropped shorter than a second 1" in caplog.text
    last = tmp_path / "ckpt" / "last.ckpt"
    steps = torch.load(last, weights_only=True)["global_step"]
    run("motion_prior", tmp_path, *options, "training.max_epochs=2", resume=last)
    assert torch.load(last, weights_only=True)["global_step"] == 2 * steps
    by_split = evaluate.main(["--checkpoint", str(best), "--output", str(tmp_path / "out")])[str(best)]
    of_all = evaluate.main(["--checkpoint", str(best), "--data", str(data), "--output", str(tmp_path / "all")])[str(best)]
    assert of_all["num_clips"] == 9
    shared = {name.split(" ", 1)[1]: scale for name, scale in of_all["scales"].items()}
    assert all(shared[name.split(" ", 1)[1]] == scale for name, scale in by_split["scales"].items())
    assert math.isfinite(by_split["plausibility"])
    with pytest.raises(UserError, match="its data differs"):
        run("motion_prior", tmp_path, *options, "data.stature=1.8", resume=last)
    (data / "clip_0.npz").unlink()
    with pytest.raises(UserError, match="trained on other data"):
        evaluate.main(["--checkpoint", str(best), "--output", str(tmp_path / "out")])


def test_priors_of_poses_and_of_motions_are_not_compared(trained: Path, tmp_path: Path) -> None:
    poses = run("gaussian_prior", tmp_path, "training.max_epochs=1")
    with pytest.raises(UserError, match=r"prior of motions.*one of poses") as caught:
        evaluate.main(["--checkpoint", str(poses), str(trained / "ckpt" / "best.ckpt"), "--output", str(tmp_path / "out")])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_published_prior_is_evaluated_on_data_that_are_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = MotionCVAE(HUMOR).state_dict()
    networks = {name: value for name, value in weights.items() if name.startswith(("encoder", "prior_net", "decoder"))}
    path = tmp_path / "best_model.pth"
    torch.save({"model": networks}, path)
    with pytest.raises(UserError, match="--data"):
        evaluate.main(["--checkpoint", str(path), "--output", str(tmp_path / "out")])
    clip = synthetic_motions(1, 30.0, 0)[0]
    np.savez(tmp_path / "clip.npz", poses=clip.pose[:45].flatten(1), trans=clip.pelvis[:45], fps=30.0)
    metrics = evaluate.main(["--checkpoint", str(path), "--data", str(tmp_path / "clip.npz"), "--output", str(tmp_path / "out")])
    assert metrics[str(path)]["num_clips"] == 1
    assert [file.name for file in (tmp_path / "out").glob("*.png")] == [f"scale_0_{tmp_path.name}.png"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions(precision: str, tmp_path: Path) -> None:
    prior = load_prior(run("motion_prior", tmp_path, f"trainer.precision={precision}", "training.max_epochs=1", "training.ema_decay=0.9"))
    assert torch.isfinite(prior.transition_plausibility(prior.sample(2, torch.Generator().manual_seed(0), num_frames=5))).all()
