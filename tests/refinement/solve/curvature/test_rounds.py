"""Steps along the curvature: what it is made of, whom they move, and how long they go on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from problems import NUM_JOINTS, make_problem
from term_cases import disturbed
from torch import Tensor

from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.curvature.composite import Chain
from pose_priors.refinement.solve.curvature.gauss_newton import GaussNewton, _of_rows
from pose_priors.refinement.solve.curvature.loads import Load, Rows, Single, blocks_of, border_of, runs_of
from pose_priors.refinement.solve.curvature.residuals import OfFrames
from pose_priors.refinement.solve.curvature.rounds import Round
from pose_priors.refinement.solve.curvature.white import White, WhiteLBFGS
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.variables import Variables


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix_of(
    chain: Chain, single: Single, loads: Sequence[Load], rows: Sequence[Rows], runs: Sequence[range], turns: Tensor | None = None
) -> np.ndarray:
    """The whole of what a person's frames weigh; turns (2, T, F) weigh by themselves, and against the next frame's."""
    frames, size = chain.frames, chain.twists.shape[1] * 3
    turns = torch.zeros(2, frames, size // 3 - 1, dtype=torch.float64) if turns is None else turns
    blocks, count = list(blocks_of(chain, single, loads, rows, (turns[0], turns[1, :-1]), runs)), sum(len(run) for run in runs)
    whole = np.zeros((count + 2, size, count + 2, size))
    for apart, parts in enumerate(([each.same for each in blocks], [each.following for each in blocks], [each.after for each in blocks])):
        for t, block in enumerate(np.concatenate(parts)):
            whole[t, :, t + apart] = block if apart else np.triu(block)
    assert not whole[:, :, count:].any()
    whole = whole[:count, :, :count].reshape(count * size, -1)
    return whole + np.triu(whole, 1).T


def test_a_mean_of_joints_moves_as_its_slopes_say() -> None:
    problem, _ = make_problem(frames=4)
    variables = disturbed(problem)
    scene, groups, slope = variables(problem), [(0,), (1, 5), (3, 4, 7)], drawn(4, 3, 3)
    moved = 1e-6 * drawn(2, 4, 1 + NUM_JOINTS, 3, seed=1)
    variables.add_increments(moved)
    change = torch.stack([(variables(problem).joints[0] - scene.joints[0])[:, list(group)].mean(1) for group in groups], 1)
    found = Chain(scene, problem.bodies.parents, 0).slopes(scene.joints[0], groups, slope) @ moved[0].flatten(1)[..., None]
    torch.testing.assert_close(found[..., 0], (slope * change).sum(-1), rtol=1e-4, atol=1e-11)


def no_single(frames: int, shared: int) -> Single:
    return Single(*(torch.zeros(frames, NUM_JOINTS, 6, size, dtype=torch.float64) for size in (6, shared)))


def test_single_joints_weigh_the_same_as_means_of_one() -> None:
    problem, _ = make_problem(frames=5)
    scene = disturbed(problem)(problem).detached()
    chain, joints, at = Chain(scene, problem.bodies.parents, 1), scene.joints[1], ((0,), (3,), (3,), (6,))
    slope, share, weight = drawn(2, 5, 4, 3), drawn(2, 5, 4, 2, seed=2), drawn(2, 5, 4, seed=3).square()
    single, several = _of_rows(chain, joints, [(3.0, OfFrames(at, share[..., 0], slope, weight), share)], 1, 2)
    assert several == []
    root = (3 * weight[1, ..., None]).sqrt()
    rows, nothing = Rows(chain.slopes(joints, at, root * slope[1]), root * share[1]), no_single(5, 2)
    one, other = matrix_of(chain, single, [], [], [range(5)]), matrix_of(chain, nothing, [], [rows], [range(5)])
    assert np.abs(one).max() > 0.1
    np.testing.assert_allclose(one, other, atol=1e-10)
    torch.testing.assert_close(border_of(chain, single, [], []), border_of(chain, nothing, [], [rows]))


@pytest.mark.parametrize("steps", [(-1, 1), (1, -2, 1)])
def test_differences_over_time_weigh_as_their_jacobian_says(steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """On runs of frames with others between, which do not move: against J^T W J, by columns of frames that do."""
    monkeypatch.setattr("pose_priors.refinement.solve.curvature.loads._CHUNK", 2)
    problem, _ = make_problem(frames=14)
    scene = disturbed(problem)(problem).detached()
    chain, frames, size = Chain(scene, problem.bodies.parents, 0), 14, 3 + 3 * NUM_JOINTS
    weight, at = drawn(frames - len(steps) + 1, 2).square(), [2, 7]
    pull = drawn(*weight.shape, 3, 2, seed=4)
    moving = np.ones(frames, dtype=bool)
    moving[[3, 9, 10, 11]] = False
    runs = runs_of(moving)
    assert [(run.start, run.stop) for run in runs] == [(0, 3), (4, 9), (12, 14)]
    load = Load(steps, torch.tensor(at), chain.places(scene.joints[0][:, at]), weight, weight[..., None, None] * pull)
    turns = drawn(2, frames, NUM_JOINTS, seed=5).square()
    found = matrix_of(chain, no_single(frames, 2), [load], [], runs, turns)
    slopes = torch.stack([chain.slopes(scene.joints[0], [(joint,)] * 3, torch.eye(3).double().expand(frames, 3, 3)) for joint in at], 1)
    jacobian = torch.zeros(*weight.shape, 3, frames, size, dtype=torch.float64)
    for first in range(len(weight)):
        for after, step in enumerate(steps):
            jacobian[first, :, :, first + after] = step * slopes[first + after]
    root = weight[..., None, None].sqrt()
    rows = (root[..., None] * jacobian).flatten(0, 2).flatten(1)
    change = torch.eye(frames, dtype=torch.float64).diff(dim=0)
    of_turns = [torch.diag(place) + change.T @ torch.diag(by[:-1]) @ change for place, by in turns.mT.unbind(1)]
    whole = (rows.T @ rows).numpy().reshape(frames, size, frames, size)
    for axis in range(3, size):
        whole[:, axis, :, axis] += of_turns[axis // 3 - 1].numpy()
    run = np.cumsum(np.r_[True, np.diff(np.flatnonzero(moving)) > 1])
    expected = whole[moving][:, :, moving] * (run[:, None] == run)[:, None, :, None]
    np.testing.assert_allclose(found, expected.reshape(len(found), -1), atol=1e-9)
    border = rows.T @ (root * pull).flatten(0, 2)
    torch.testing.assert_close(border_of(chain, no_single(frames, 2), [load], []), border.unflatten(0, (frames, size)))


def objective_of(frames: int = 8) -> Objective:
    problem, _ = make_problem(frames=frames)
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS))).double()
    variables.hold(problem)
    return Objective(variables, make_stages(RefinementConfig(), estimate_noise(problem))[-1].terms, problem)


def test_frames_that_do_not_move_stay_and_the_others_go_down() -> None:
    objective = objective_of()
    variables, problem = objective.variables, objective.problem
    for name in ("shape", "depth_bias", "scale", "plane"):
        getattr(variables, name).requires_grad_(False)
    moving = torch.zeros_like(problem.visible)
    moving[0, 2:5] = True
    before, curvature = variables(problem), GaussNewton(variables, objective.terms, problem, moving)
    white = White(variables, curvature.factor(), moving)
    loss = float(objective())
    gradient = white.gradient()
    assert len(gradient) == 3 * (3 + 3 * NUM_JOINTS)
    white.move(1.0, -gradient)
    moved = (variables(problem).joints - before.joints).detach().norm(dim=-1)
    assert float(moved[~moving].max()) < 1e-9 < 1e-4 < float(moved[moving].max())
    assert float(objective()) < loss


def optimizer_of(objective: Objective) -> WhiteLBFGS:
    return WhiteLBFGS(
        objective.variables.parameters(), max_iter=1, max_eval=26, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )


def test_a_few_steps_reach_the_minimum_and_share_factors_once_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that is held still."""
    monkeypatch.setattr("pose_priors.refinement.solve.curvature.rounds._LAST", 1)
    factors, factor = list[int](), GaussNewton.factor
    monkeypatch.setattr(GaussNewton, "factor", lambda curvature: (factors.append(len(steps)), factor(curvature))[1])
    objective, steps, lengths = objective_of(), list[float](), list[float]()
    optimizer = optimizer_of(objective)
    only, joints, converged = (
        Round(optimizer, objective, objective.problem.alive),
        objective.variables(objective.problem).joints.detach(),
        False,
    )
    while not converged:
        only.prepare()
        assert (factors[-1] == len(steps)) is (not optimizer.state)  # what was seen in other coordinates is no use
        objective.begin_step()
        converged = only.ended(1e-4, float(optimizer.step(objective)) / objective.weight)
        steps.append(float((objective.joints - joints)[objective.problem.alive].norm(dim=-1).mean()))
        joints = objective.joints
        white = optimizer.white
        assert white is not None
        lengths.append(float(white.gradient().norm()))
    assert len(steps) < 14
    assert lengths[-1] < 0.02 * lengths[0]
    long = [number + 1 for number, step in enumerate(steps) if step > 1e-3]
    assert factors[: len(long) + 1] == [0, *long]
    assert all(later - earlier == 6 for earlier, later in pairwise(factors[len(long) :]))


def test_it_knows_whether_it_knows_all_terms() -> None:
    objective = objective_of()
    assert GaussNewton(objective.variables, objective.terms, objective.problem).complete

    class Unknown(type(objective.terms[0][0])):  # type: ignore[misc]
        """One of somebody else's."""

    more = [*objective.terms, (Unknown(sigma_px=3.0), 1.0)]
    assert not GaussNewton(objective.variables, more, objective.problem).complete


def test_the_last_round_goes_on_to_the_end_with_what_it_found() -> None:
    """What is found anew moves everybody at the begin of each round, for ever."""
    objective = objective_of()
    optimizer, moving = optimizer_of(objective), objective.problem.alive
    draw, rounds, converged = torch.Generator().manual_seed(0), list[int](), False
    before: Round | None = None
    while not converged:
        with torch.no_grad():
            objective.variables.pelvis.add_(torch.randn(objective.variables.pelvis.shape, generator=draw))
        objective.forget()
        before, steps = Round(optimizer, objective, moving, before), 0
        while not (before.over or converged):
            before.prepare()
            objective.begin_step()
            loss = float(optimizer.step(objective)) / objective.weight
            converged, steps = before.ended(3e-7, loss), steps + 1
        rounds.append(steps)
    assert len(rounds) == 5
    assert max(rounds[:-1]) <= 9 < rounds[-1]
    assert not before.over


def test_a_round_ends_once_what_is_left_to_gain_is_little() -> None:
    objective = objective_of()
    optimizer = optimizer_of(objective)
    first, decreases = Round(optimizer, objective, objective.problem.alive), list[float]()
    while not first.over:
        first.prepare()
        objective.begin_step()
        loss = float(optimizer.step(objective))
        assert not first.ended(1e-12, loss / objective.weight)
        decreases.append(loss - float(objective()))
    assert len(decreases) < 9
    assert decreases[-1] < 0.1 * max(decreases) <= 0.1 * min(decreases[:-1]) / 0.1
