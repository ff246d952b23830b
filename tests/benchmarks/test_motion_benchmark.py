"""The benchmark of motions, on a prior that has learnt nothing beyond its Gaussian process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.benchmarks.motion.__main__ import main
from pose_priors.benchmarks.motion.opponents import process_alone
from pose_priors.body.motion import MotionWindows
from pose_priors.configs.base import UserError
from pose_priors.datamodules.motion_data import load_clips
from pose_priors.datamodules.synthetic import synthetic_motions
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.motion.flow.prior import MotionFlow, MotionFlowConfig

CONFIG = MotionFlowConfig(kind="motion_flow", num_frames=60, hidden=8, num_blocks=1, num_heads=2, num_steps=2)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    long = [motion for motion in synthetic_motions(12, 30.0, 0) if len(motion.pose) >= 60]
    for number, motion in enumerate(long[:3]):
        np.savez(folder / f"{number}.npz", poses=motion.pose[:60].flatten(1), trans=motion.pelvis[:60], fps=30.0)
    return folder


@pytest.fixture(scope="module")
def prior(clips: Path) -> MotionFlow:
    torch.manual_seed(0)
    prior = MotionFlow(CONFIG)
    windows = [clip.as_window() for clip in load_clips(str(clips))]
    prior.fit_statistics(
        MotionWindows(*(torch.cat([getattr(w, name) for w in windows]) for name in ("pose", "pelvis", "rest", "contacts")))
    )
    return prior.eval()


def test_it_writes_errors_with_standard_errors(prior: MotionFlow, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    weights = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    torch.save({"prior": describe(prior, {"model": CONFIG.model_dump(mode="json"), "data": {}}, "0" * 16), "state_dict": weights}, path)
    noise, gaps, hidden = main(["--checkpoint", str(path), "--data", str(clips), "--output", str(tmp_path / "out")])
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())["tables"]) == {"denoising", "gaps", "hidden"}
    assert noise.rows["motion flow"] == noise.rows["Gaussian process"]
    row = noise.rows["motion flow"]
    assert 0 < row["denoise_20mm"] < row["denoise_40mm"] < row["denoise_100mm"] < 100
    assert gaps.rows["slerp + lerp"]["gap_20 ratio"] == 1
    flow, lerp = (gaps.rows[name] for name in ("motion flow", "slerp + lerp"))
    assert flow["gap_20 ratio"] == pytest.approx(flow["gap_20"] / lerp["gap_20"])
    assert flow["gap_20 se"] > 0
    assert set(hidden.rows["motion flow"]) == {"legs_hidden", "legs_hidden se", "frames_hidden", "frames_hidden se"}
    with pytest.raises(UserError, match="no such checkpoint"):
        main(["--checkpoint", str(tmp_path / "none.ckpt"), "--data", str(clips), "--output", str(tmp_path / "out")])


def test_the_process_alone_says_nothing_of_the_network(prior: MotionFlow) -> None:
    with torch.no_grad():
        prior.denoiser.network.last.bias.fill_(0.1)
    alone = process_alone(prior)
    assert not alone.denoiser.network.last.bias.any()
    assert prior.denoiser.network.last.bias.any()
    with torch.no_grad():
        prior.denoiser.network.last.bias.zero_()
