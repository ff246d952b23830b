"""The floor's tilt where a tool says what is level, and no point of the scene tells."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from problems import NUM_JOINTS, make_problem
from scipy.spatial.transform import Rotation
from upstream_truth import make_truth
from upstream_writers import write_gvhmr

from pose_priors.refinement.given.load import load_sequence
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.terms import LevelFloor
from pose_priors.refinement.solve.variables import Variables


@pytest.mark.parametrize("hidden", [None, slice(1, 3)])
def test_it_is_what_a_normal_of_the_tilt_costs_a_life_long(hidden: slice | None) -> None:
    problem, _ = make_problem(frames=5, hidden=hidden)
    variables = Variables(problem, estimate_noise(problem), None, list(range(1, NUM_JOINTS))).requires_grad_(False)
    variables.plane.copy_(torch.tensor([3.0, -4.0, 7.0]))
    scene = variables(problem)
    start, now = (plane.double().numpy() for plane in (problem.start.ground_plane[:3], scene.normal))
    turn, _ = Rotation.align_vectors(now[None], start[None])
    assert turn.magnitude() > 0.02
    expected = 0.5 * (math.sin(turn.magnitude()) / 0.05) ** 2 * int(problem.alive.sum())
    assert float(LevelFloor(sigma=0.05)(scene, problem) * problem.visible.sum()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("width", "count"), [(math.inf, 0), (0.03, 1)])
def test_it_is_there_where_people_are_held_to_a_floor(width: float, count: int) -> None:
    for stage in make_stages(RefinementConfig(), estimate_noise(make_problem()[0]), floor_tilt=width):
        found = [term.sigma for term, _ in stage.terms if isinstance(term, LevelFloor)]
        assert found == [width] * (count if stage.name in ("environmental", "scale", "final") else 0)


@pytest.mark.parametrize(("method", "width"), [("ransac", 0.04), ("median", 0.04), ("fixed", math.inf)])
def test_a_tool_that_knows_up_and_shows_no_floor_says_what_is_level(tmp_path: Path, method: str, width: float) -> None:
    """Not where the floor is laid by the first camera."""
    problem = load_sequence(write_gvhmr(tmp_path / "clip", make_truth()), LoadOptions(ground_plane_init=method))
    assert problem.floor_tilt == width
    if method != "fixed":
        torch.testing.assert_close(problem.start.ground_plane[:3], problem.start.ground_plane.new_tensor([0.0, 1.0, 0.0]))
