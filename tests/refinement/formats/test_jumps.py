"""Rows that jump are left out; people who run, turn fast or are measured badly are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from upstream_truth import make_truth
from upstream_writers import write_gvhmr

from pose_priors.refinement.formats.jumps import jumping
from pose_priors.refinement.given.load import load_sequence
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner

FPS = 30.0
FRAMES = np.arange(60)


def ranges(speed: float, noise: float = 0.0, start: float = 3.0) -> np.ndarray:
    at = FRAMES / FPS
    return (start + speed * at + noise * np.random.default_rng(0).normal(size=60))[:, None]


@pytest.mark.parametrize("at", [[0], [1], [30], [30, 31], [20, 40], [59]])
@pytest.mark.parametrize("times", [0.5, 1.5, 2.0])
def test_single_rows_and_short_runs_are_seen(at: list[int], times: float) -> None:
    values = ranges(1.2, 0.02)
    values[at] *= times
    assert np.flatnonzero(jumping(values, FRAMES, FPS, 0.45, 12.5)).tolist() == at


@pytest.mark.parametrize("speed", [0.0, 3.0, 9.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_movement_and_noise_are_none(speed: float, noise: float) -> None:
    assert not jumping(ranges(speed, noise), FRAMES, FPS, 0.45, 12.5).any()


def test_a_step_that_stays_and_a_gap_are_none() -> None:
    values = ranges(0.0)
    values[30:] += 5
    assert not jumping(values, FRAMES, FPS, 0.45, 12.5)[2:58].any()
    values = ranges(9.0)
    keep = (FRAMES < 10) | (FRAMES > 40)
    assert not jumping(values[keep], FRAMES[keep], FPS, 0.45, 12.5).any()
    assert not jumping(values[:4] * [[1], [9], [1], [1]], FRAMES[:4], FPS, 0.45, 12.5).any()


def test_a_bad_frame_of_depth_costs_that_frame_alone(tmp_path: Path) -> None:
    """What GVHMR's readings do now and then: one frame's distance is doubled, and with it a camera that is read off it."""
    truth = make_truth(still=True)
    refined = {}
    for name, times in (("whole", 1.0), ("spoiled", 2.0)):
        path = write_gvhmr(tmp_path / name, truth, lambda content, times=times: content["smpl_params_incam"]["transl"][8].mul_(times))
        problem = load_sequence(path)
        assert bool(problem.visible[0, 8]) is (name == "whole")
        assert sum("another distance" in line for line in problem.warnings) == (name == "spoiled")
        refined[name] = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(problem)).joints.numpy()
    steps = {name: np.linalg.norm(np.diff(joints[0, :, 0], axis=0), axis=-1) * FPS for name, joints in refined.items()}
    assert steps["spoiled"].max() < 1.3 * steps["whole"].max()
    assert np.linalg.norm(refined["spoiled"] - refined["whole"], axis=-1).max() < 0.07  # an ankle of that frame, which smoothness fills
