"""Whose size is wrong, by depth, floor and the usual statures: the fewest slips that explain what is seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from problems import make_problem

from pose_priors.refinement.given.sizes.statures import Witnesses, resized, size_errors
from pose_priors.refinement.given.start import PosedPeople
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import ShapePrior
from pose_priors.refinement.solve.variables import Variables

UNIT = 1.3
NOBODY = np.full(2, np.nan)


def seen(size: list[float], bias: list[float] | None = None, raised: list[float] | None = None, true: float = 1.7) -> Witnesses:
    """Of people whose stage 3 is so many times too large, whose depths are too far by `bias`, who stand `raised` times nearer the camera's
    height, and who are all as tall as `true`."""
    size, bias, raised = (np.array(value or [1.0] * len(size)) for value in (size, bias, raised))
    return Witnesses(UNIT * size / bias, UNIT * size * raised, true * size)


def test_nobody_is_resized_where_all_agree() -> None:
    for people in (1, 2, 5):
        np.testing.assert_array_equal(size_errors(seen([1.0] * people)), 0)
    np.testing.assert_array_equal(size_errors(seen([1.02, 0.98])), 0)


@pytest.mark.parametrize("slip", [1.1, 0.88])
def test_one_of_two_who_is_too_large_or_small_is_told_by_statures(slip: float) -> None:
    for order in ([0, 1], [1, 0]):
        found = size_errors(seen([[slip, 1.0][k] for k in order]))
        wrong = order.index(0)
        assert found[wrong] == pytest.approx(np.log(slip), abs=0.03)
        assert found[1 - wrong] == 0


def test_a_child_with_an_adults_body_is_a_child() -> None:
    found = size_errors(Witnesses(UNIT * np.array([1.0, 1 / 0.65]), UNIT * np.array([1.0, 1 / 0.65]), np.array([1.72, 1.7])))
    assert found[0] == 0
    assert np.exp(-found[1]) == pytest.approx(0.65, abs=0.02)


def test_a_child_in_its_own_size_and_a_tall_man_stay_as_they_are() -> None:
    np.testing.assert_array_equal(size_errors(Witnesses(np.full(2, UNIT), np.full(2, UNIT), np.array([1.1, 1.95]))), 0)


def test_depths_that_the_floor_contradicts_are_no_sizes() -> None:
    np.testing.assert_array_equal(size_errors(seen([1.0, 1.0], bias=[1.08, 0.92])), 0)
    np.testing.assert_array_equal(size_errors(seen([1.0, 1.0], bias=[1.08, 1.08])), 0)


def test_who_stands_on_a_stage_is_no_other_size() -> None:
    np.testing.assert_array_equal(size_errors(seen([1.0, 1.0], raised=[1.0, 0.6])), 0)


def test_without_a_floor_small_contradictions_are_shared_and_nothing_tells_nothing() -> None:
    np.testing.assert_array_equal(size_errors(Witnesses(UNIT * np.array([1.03, 0.97]), NOBODY, np.full(2, 1.7))), 0)
    np.testing.assert_array_equal(size_errors(Witnesses(NOBODY, NOBODY, np.full(2, 1.7))), 0)


def people_of(bodies_size: int) -> PosedPeople:
    draw = np.random.default_rng(0)
    return PosedPeople(draw.normal(0, 0.3, (2, 3, bodies_size, 3)), draw.normal([0, 0, 5], 0.3, (2, 3, 3)), np.ones((2, 3), bool))


def test_a_body_of_another_size_looks_the_same_in_the_image() -> None:
    bodies = make_problem()[0].bodies
    people, told = people_of(22), list[str]()
    grown, moved, factor = resized(bodies, people, np.array([0.1, 0.0]), ["person 1", "person 2"], told)
    assert factor.tolist() == [np.exp(-0.1), 1.0]
    before, after = people.joints(bodies), moved.joints(grown)
    np.testing.assert_allclose(after[..., :2] / after[..., 2:], before[..., :2] / before[..., 2:], atol=1e-12)
    np.testing.assert_allclose(after[0], before[0] * np.exp(-0.1))
    torch.testing.assert_close(grown.height[0], bodies.height[0] * np.exp(-0.1), equal_nan=True)
    assert len(told) == 1
    assert "person 1" in told[0]
    assert "0.90 times" in told[0]


def test_a_size_that_was_found_so_is_held_less_tightly() -> None:
    problem, _ = make_problem()
    grown, _, _ = resized(problem.bodies, people_of(22), np.array([0.1, 0.0]), ["1", "2"], [])
    pulls = []
    for bodies in (problem.bodies, grown):
        variables = Variables(problem, estimate_noise(problem), 0.05, [])
        with torch.no_grad():
            variables.shape.fill_(1.0)
        scene = variables(problem)
        changed = dataclasses.replace(problem, bodies=bodies)
        pulls.append(torch.autograd.grad(ShapePrior()(scene, changed), [variables.shape])[0][:, 0])
    assert float(pulls[1][0] / pulls[0][0]) == pytest.approx(1 / 26)
    assert float(pulls[1][1]) == pytest.approx(float(pulls[0][1]))


def test_a_body_model_grows_by_betas_and_not_beyond_what_they_are_meant_for() -> None:
    bodies = make_problem()[0].bodies
    bones = bodies.rest_joints - bodies.rest_joints[:, :1]
    modelled = type(bodies)(
        **{**bodies.__dict__, "shape_directions": 0.03 * bones[..., None], "root_shape_directions": torch.zeros(2, 3, 1).double()}
    )
    told: list[str] = []
    grown, _, factor = resized(modelled, people_of(22), np.array([0.1, 0.5]), ["1", "2"], told)
    change = (grown.betas - modelled.betas)[:, 0].numpy()
    np.testing.assert_allclose(change, [-0.1 / 0.03, 0], atol=1e-9)
    np.testing.assert_allclose(grown.rest_joints - grown.rest_joints[:, :1], bones * torch.tensor([1 - 0.1, 1.0])[:, None, None])
    assert factor[1] == 1
    assert "no betas" in told[1]
