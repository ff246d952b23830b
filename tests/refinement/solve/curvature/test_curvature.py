"""The curvature of a sub-stage: right, whatever is free, and what steps along it are worth."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from problems import NUM_JOINTS, error_mm, make_problem
from term_cases import disturbed
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.curvature.arrow import Blocks, Factor, NotDefiniteError, factored, is_large
from pose_priors.refinement.solve.curvature.composite import Chain
from pose_priors.refinement.solve.curvature.gauss_newton import GaussNewton
from pose_priors.refinement.solve.curvature.residuals import of_frames
from pose_priors.refinement.solve.curvature.white import White, WhiteLBFGS
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.scene import Scene, mean_of_joints
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.terms import MultiPersonScale, Smoothness
from pose_priors.refinement.solve.variables import Variables


def final_objective(problem: Problem, variables: Variables) -> Objective:
    """Of the last sub-stage, with accelerations so wide that their kernel is a square: what Gauss and Newton take it for."""
    widths = {"scale_width": 0.03, "floor_tilt": 0.04}
    stage = make_stages(RefinementConfig(), estimate_noise(problem), fps=problem.fps, **widths)[-1]
    wide = {Smoothness: Smoothness(acceleration=300.0), MultiPersonScale: MultiPersonScale(acceleration=300.0)}
    variables.hold(problem)
    return Objective(variables, [(wide.get(type(term), term), weight) for term, weight in stage.terms], problem)


def start_of(problem: Problem) -> Variables:
    """Near where all residuals are small, with feet on the floor, and half a centimetre above where they would go through it."""
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS))).double()
    variables.contacts.fill_(0.7)
    with torch.no_grad():
        variables.plane[2] = 1.0
    return variables


def dense(frames: int, size: int, seed: int = 0) -> tuple[np.ndarray, Blocks]:
    """A positive matrix with that band, and its blocks."""
    draw = np.random.default_rng(seed)
    root = np.zeros((frames * size, frames * size))
    for t in range(frames):
        for apart in range(min(3, frames - t)):
            here, there = slice(t * size, (t + 1) * size), slice((t + apart) * size, (t + apart + 1) * size)
            root[there, here] = draw.normal(size=(size, size)) + (8 * np.eye(size) if not apart else 0)
    matrix = root @ root.T
    padded = np.pad(matrix, (0, 2 * size)).reshape(frames + 2, size, frames + 2, size)
    return matrix, Blocks(*(np.stack([padded[t, :, t + apart] for t in range(frames)]) for apart in range(3)))


def pieces(blocks: Blocks, at: int) -> list[Blocks]:
    """Copies of a part in two pieces."""
    return [Blocks(*(each[span].copy() for each in (blocks.same, blocks.following, blocks.after))) for span in (slice(at), slice(at, None))]


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize(("frames", "size"), [(1, 3), (2, 2), (3, 4), (9, 5)])
def test_the_factor_of_a_band_is_that_of_the_dense_matrix(frames: int, size: int, halves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where LAPACK looks for it, and with the border and what that leaves of the shared coordinates."""
    if halves:
        monkeypatch.setattr("pose_priors.refinement.solve.curvature.arrow._BY_HALVES", 0)
    matrix, blocks = dense(frames, size)
    border = np.random.default_rng(1).normal(size=(frames * size, 2))
    part = factored(lambda: pieces(blocks, frames // 2), border.reshape(frames, size, 2))
    root = np.linalg.cholesky(matrix)
    assert part.band.columns.dtype == (np.float32 if halves else np.float64)
    rounding = 1e-5 if halves else 1e-9
    for below in range(3 * size):
        for column in range(frames * size - below):
            assert part.band.columns[below, column] == pytest.approx(root[column + below, column], abs=rounding)
    np.testing.assert_allclose(part.border, np.linalg.solve(root, border), atol=1e-9)
    np.testing.assert_allclose(part.corner, border.T @ np.linalg.solve(matrix, border), atol=1e-9)
    for transposed, of in ((False, root), (True, root.T)):
        np.testing.assert_allclose(part.band.solved(border[:, 0], transposed=transposed), np.linalg.solve(of, border[:, 0]), atol=rounding)


def test_the_factor_of_an_arrow_whitens_it() -> None:
    """Against the dense matrix of two people with a border each, one column of which they share."""
    draw = np.random.default_rng(1)
    parts = [dense(6, 4, seed) for seed in (2, 3)]
    borders = [draw.normal(size=(24, 2)) for _ in parts]
    places = [np.array([0, 2]), np.array([1, 2])]
    shared = 40 * np.eye(3)
    whole = np.zeros((51, 51))
    for p, ((matrix, _), border, place) in enumerate(zip(parts, borders, places, strict=True)):
        rows = np.arange(24 * p, 24 * (p + 1))
        whole[np.ix_(rows, rows)] = matrix
        whole[np.ix_(rows, 48 + place)], whole[np.ix_(48 + place, rows)] = border, border.T
    whole[48:, 48:] = shared
    people = [factored(partial(pieces, part, 2), border.reshape(6, 4, 2)) for (_, part), border in zip(parts, borders, strict=True)]
    factor = Factor(people, places, shared)
    gradient = draw.normal(size=51)
    white, common = factor.white_gradient([gradient[:24], gradient[24:48]], gradient[48:])
    step = np.concatenate([np.concatenate(each) if isinstance(each, list) else each for each in factor.step(white, common)])
    np.testing.assert_allclose(step, np.linalg.solve(whole, gradient), atol=1e-9)
    # the two are each other's transpose, so that slopes along directions are what they are in the variables
    direction = draw.normal(size=51)
    moved = factor.step([direction[:24], direction[24:48]], direction[48:])
    both = np.concatenate([*white, common])
    assert float(both @ direction) == pytest.approx(float(gradient @ np.concatenate([*moved[0], moved[1]])))


def test_what_has_no_factor_is_refused() -> None:
    _, blocks = dense(4, 3)
    blocks.same[2] *= -1
    with pytest.raises(NotDefiniteError):
        factored(lambda: pieces(blocks, 2), np.zeros((4, 3, 1)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_has_no_factor(value: float) -> None:
    _, blocks = dense(3, 4)
    blocks.same[1, 2, 2] = value
    with pytest.raises(NotDefiniteError):
        factored(lambda: [Blocks(blocks.same.copy(), blocks.following, blocks.after)], np.zeros((3, 4, 1)))


def test_a_little_is_added_where_nothing_tells_anything() -> None:
    nothing = Blocks(*(np.zeros((2, 3, 3)) for _ in range(3)))
    np.testing.assert_allclose(np.diag(factored(lambda: [nothing], np.zeros((2, 3, 0))).band.rows[1]), 1e-6)


def test_a_long_clip_is_not_factored() -> None:
    assert not is_large(3000, 75)
    assert is_large(9000, 75)


def test_joints_move_as_the_jacobian_says() -> None:
    problem, _ = make_problem(frames=4)
    variables = disturbed(problem)
    scene = variables(problem)
    draw = torch.Generator().manual_seed(0)
    moved = 1e-6 * torch.randn(2, 4, 1 + NUM_JOINTS, 3, generator=draw, dtype=torch.float64)
    variables.add_increments(moved)
    after = variables(problem)
    for p in range(2):
        chain = Chain(scene, problem.bodies.parents, p)
        twists = (chain.twists @ moved[p, ..., None])[..., 0]
        of_joints = (chain.carries.T @ twists)[..., None]
        change = after.joints[p] - scene.joints[p]
        torch.testing.assert_close((chain.moved(scene.joints[p]) @ of_joints)[..., 0], change, rtol=1e-4, atol=1e-11)


def test_residuals_change_as_their_slopes_say() -> None:
    problem, _ = make_problem(frames=4)
    variables = disturbed(problem, size=0.3)
    scene = variables(problem)
    moved = torch.zeros(2, 4, 1 + NUM_JOINTS, 3, dtype=torch.float64)
    moved[:, :, 0] = 1e-6 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variables.add_increments(moved)
    after, seen = variables(problem), 0
    for term, _ in make_stages(RefinementConfig(), estimate_noise(problem))[-1].terms:
        before, now = of_frames(term, scene, problem), of_frames(term, after, problem)
        if before is None or now is None:
            continue
        shift = mean_of_joints(after.joints - scene.joints, before.groups)
        counts = (before.weight > 0) & (before.residual != 0)  # a sole above the floor is no residual
        assert counts.any()
        slope, change = (before.slope * shift).sum(-1), now.residual - before.residual
        torch.testing.assert_close(slope[counts], change[counts], rtol=1e-3, atol=1e-8)
        seen += 1
    assert seen == 5


@pytest.mark.parametrize(("fps", "hidden"), [(24.0, None), (60.0, slice(2, 4))])
def test_it_is_the_curvature_of_the_objective_where_residuals_are_small(fps: float, hidden: slice | None) -> None:
    """Differences of the true gradient along directions at random, in the coordinates in which it is to be one."""
    problem = dataclasses.replace(make_problem(frames=7, noise=0.0, hidden=hidden)[0], fps=fps)
    variables = start_of(problem)
    objective = final_objective(problem, variables)
    white = White(variables, GaussNewton(variables, objective.terms, problem).factor())
    objective()
    size = len(white.gradient())
    draw = torch.Generator().manual_seed(0)
    directions = [torch.randn(size, generator=draw, dtype=torch.float64)]
    directions += [torch.eye(size, dtype=torch.float64)[-k] for k in range(1, 8)]
    for direction in directions:
        direction = direction / direction.norm()
        step = 1e-3
        white.move(step, direction)
        objective()
        more = white.gradient()
        white.move(-2 * step, direction)
        objective()
        less = white.gradient()
        white.move(step, direction)
        bent = (more - less) / (2 * step)
        if bent.norm() < 1e-9:  # a bias of depths that is not free
            continue
        # accelerations are so wide here that on frames on which nobody is seen only the pose prior is left, which is no square
        assert float((bent - direction).norm()) < (0.3 if hidden is None else 0.7)


def test_a_slope_in_white_coordinates_is_the_slope_of_the_objective() -> None:
    problem, _ = make_problem(frames=6)
    variables = disturbed(problem, size=0.3)
    objective = final_objective(problem, variables)
    white = White(variables, GaussNewton(variables, objective.terms, problem).factor())
    objective()
    gradient = white.gradient()
    direction = torch.randn(len(gradient), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step, values = 1e-5, []
    for times in (1, -2):
        white.move(times * step, direction)
        values.append(float(objective()))
    assert float(gradient @ direction) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(("pull", "whole"), [(1e8, False), (1e-3, True)])
def test_no_step_is_tried_farther_than_slopes_hold(pull: float, whole: bool) -> None:
    """A term that the curvature knows nothing of, as a trained prior, pulls at one frame."""
    problem, _ = make_problem(frames=6)
    variables = start_of(problem)
    for name in ("shape", "depth_bias", "scale", "plane"):
        getattr(variables, name).requires_grad_(False)
    before = variables(problem)
    optimizer = WhiteLBFGS(variables.parameters(), max_iter=1, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe")
    white = White(variables, GaussNewton(variables, final_objective(problem, variables).terms, problem).factor())
    optimizer.white, tried = white, list[Scene]()

    def closure() -> Tensor:
        optimizer.zero_grad()
        tried.append(variables(problem))
        loss: Tensor = pull * tried[-1].joints[0, 3, 0].sum()
        loss.backward()
        return loss

    closure()
    gradient = white.gradient()
    newton = white.reach(gradient)
    optimizer.step(closure)
    first = next(scene for scene in tried if not torch.equal(scene.joints, before.joints))
    moved = torch.cat([(first.joints - before.joints)[:, :, 0], (first.turn - before.turn).flatten(2)], -1).abs().max()
    assert float(moved.detach()) == pytest.approx(newton if whole else 0.5, rel=0.05)  # turns are not added but composed
    assert (newton < 0.5) is whole


def test_the_result_hardly_depends_on_rounding() -> None:
    """Keypoints that are a hundred-thousandth of a pixel off move joints by no more than a tenth of a millimetre."""
    problem, truth = make_problem(frames=16)
    refiner = Stage5Refiner(trainer={"enable_progress_bar": False})
    found = refiner.refine(RefinementInput(problem))
    seen = problem.observations
    nudge = 1e-5 * torch.randn(seen.keypoints.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nudged = dataclasses.replace(problem, observations=dataclasses.replace(seen, keypoints=seen.keypoints + nudge))
    other = refiner.refine(RefinementInput(nudged))
    assert 1000 * float((found.joints - other.joints).norm(dim=-1).mean()) < 0.1
    assert found.results["convergence_achieved"]
    assert error_mm(found.joints, truth, problem.visible) < 0.5 * error_mm(problem.start.joints(problem.bodies), truth, problem.visible)
