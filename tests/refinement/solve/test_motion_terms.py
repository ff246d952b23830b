"""What a motion prior pulls at: the likelihood of how people move, and the scale."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from motion_cases import (
    NOISE,
    clips,
    problem_of,
    scene_of,
    small_prior,
    variables_of,
)
from problems import make_problem
from term_cases import permuted
from torch import Tensor

from pose_priors.priors import Criterion, MotionCVAE, MotionPrior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.summary import summarize
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import ClipMotionPrior, MotionView, camera_movement
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.stages import StageReport, make_stages
from pose_priors.refinement.solve.terms import MotionLikelihood, MotionScale, MultiPersonScale
from pose_priors.refinement.solve.terms.motion import MotionTerm

# --- the likelihood


def by_hand(prior: MotionPrior, view: MotionView, states: Tensor, by: Criterion, problem: Problem, every: int = 2) -> float:
    """Minus each person's mean over one in so many valid transitions, one by one, for all frames of its life."""
    found = prior.transition_plausibility(states, by)
    total = 0.0
    for p in range(len(found)):
        values = [float(found[p, t]) for t in range(0, found.shape[1], every) if view.valid[p, t]]
        total -= float(problem.alive[p].sum()) * sum(values) / len(values)
    return total / float(problem.visible.sum())


def test_the_term_is_the_mean_over_people_and_transitions(prior: MotionCVAE, people: Problem) -> None:
    view = MotionView(people, prior)
    assert view.valid.sum(1).tolist() == [11, 4, 11]
    scene = scene_of(people, 1.0)
    states = view.states(scene)
    for every in (1, 2, 3):
        surrogate, stance, contrast = (by_hand(prior, view, states, by, people, every) for by in ("surrogate", "stance", "contrast"))
        assert min(abs(surrogate - contrast), abs(stance - contrast), abs(stance - surrogate)) > 1e-3
        assert float(MotionLikelihood(prior=prior, view=view, every=every)(scene, people)) == pytest.approx(surrogate, rel=1e-9)
        assert float(MotionScale(prior=prior, view=view, every=every)(scene, people)) == pytest.approx(stance, rel=1e-9)
    assert (MotionLikelihood(prior=prior, view=view).every, MotionScale(prior=prior, view=view).every) == (2, 2)


@pytest.mark.parametrize("kind", [MotionLikelihood, MotionScale])
def test_neither_chunks_nor_the_order_of_people_matter(
    kind: type[MotionLikelihood], prior: MotionCVAE, people: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = variables_of(people, 1.0)
    view = MotionView(people, prior)

    def value(chunk: int) -> tuple[Tensor, Tensor]:
        found = kind(prior=prior, view=view, every=1, chunk=chunk)(variables(people), people)
        return found.detach(), torch.autograd.grad(found, [variables.shape])[0]

    whole = value(10)
    batches: list[int] = []
    call = MotionCVAE.pair_plausibility
    monkeypatch.setattr(MotionCVAE, "pair_plausibility", lambda self, a, b, by: batches.append(len(a)) or call(self, a, b, by))
    monkeypatch.setattr("pose_priors.refinement.solve.terms.motion._BATCH", 8)
    for chunk, expected in ((3, [6, 6, 6, 6, 2]), (8, [8, 8, 8, 2]), (20, [20, 6])):
        batches.clear()
        torch.testing.assert_close(value(chunk), whole, rtol=1e-9, atol=1e-9)
        assert batches == expected
    order = [2, 0, 1]
    swapped = permuted(people, order)
    other = variables_of(swapped)
    with torch.no_grad():
        for (key, mine), (_, theirs) in zip(variables.named_parameters(), other.named_parameters(), strict=True):
            theirs.copy_(mine if key in ("scale", "plane") else mine[order])
    term = kind(prior=prior, view=MotionView(swapped, prior), every=1)
    torch.testing.assert_close(term(other(swapped), swapped), whole[0], rtol=1e-9, atol=0)


def test_its_gradient_reaches_what_moves_and_is_that_of_finite_differences(prior: MotionCVAE, people: Problem) -> None:
    variables = variables_of(people, 0.3)
    term = MotionLikelihood(prior=prior, view=MotionView(people, prior))
    # motions say nothing of depth maps
    names, parameters = zip(*((name, value) for name, value in variables.named_parameters() if name != "depth_bias"), strict=True)
    gradients = torch.autograd.grad(term(variables(people), people), parameters)
    draw = torch.Generator().manual_seed(1)
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        values = []
        with torch.no_grad():
            for step in (1e-5, -1e-5):  # smaller ones drown in the rounding of the states
                parameter.add_(step * direction)
                values.append(float(term(variables(people), people)))
                parameter.sub_(step * direction)
        slope = float((gradient * direction).sum())
        assert slope == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3, abs=1e-5), name
        if name in ("global_orient", "body_pose", "pelvis", "shape", "plane"):
            assert abs(slope) > 1e-3, name


@pytest.mark.parametrize("size", [0.0, 1.0, 100.0])
def test_gradients_are_finite_far_from_the_start(prior: MotionCVAE, size: float) -> None:
    problem = problem_of(clips(2, 8))
    variables = variables_of(problem, size)
    for kind in (MotionLikelihood, MotionScale):
        value = kind(prior=prior, view=MotionView(problem, prior))(variables(problem), problem)
        assert torch.isfinite(value)
        gradients = torch.autograd.grad(value, list(variables.parameters()), allow_unused=True)
        assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


# --- the scale


def static(problem: Problem) -> Problem:
    """With cameras that stay where the world begins."""
    w2c = problem.cameras.w2c.clone()
    w2c[:, :3, 3] = 0
    return dataclasses.replace(problem, cameras=dataclasses.replace(problem.cameras, w2c=w2c))


def test_the_scale_pulls_at_nothing_but_scale_and_sizes(prior: MotionCVAE, people: Problem) -> None:
    variables = variables_of(people, 1.0)
    value = MotionScale(prior=prior, view=MotionView(people, prior))(variables(people), people)
    names, parameters = zip(*variables.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True))
    for name in ("global_orient", "body_pose", "pelvis", "plane"):
        assert gradients[name] is None or not gradients[name].any(), name
    assert gradients["shape"].abs().min() > 1e-3
    assert gradients["scale"] is not None


@pytest.mark.parametrize("leg", [True, False], ids=["of one size", "of all sizes"])
def test_its_slope_in_alpha_is_that_of_people_carried_with_the_cameras(
    prior: MotionCVAE, knows_all_sizes: MotionCVAE, people: Problem, leg: bool
) -> None:
    chosen = prior if leg else knows_all_sizes
    view = MotionView(people, chosen)
    scene = scene_of(people, 0.3)
    centres = torch.linalg.inv(people.cameras.w2c)[:, :3, 3]
    assert centres.norm(dim=-1).max() > 0.3

    def carried(alpha: float) -> float:
        joints = scene.joints + (alpha - float(scene.alpha)) * centres[:, None]
        return by_hand(chosen, view, view.states(dataclasses.replace(scene, joints=joints)), "stance", people)

    step = 1e-6
    slope = (carried(float(scene.alpha) + step) - carried(float(scene.alpha) - step)) / (2 * step)
    assert slope_in_alpha(chosen, people, scene) == pytest.approx(slope, rel=1e-4)
    assert abs(slope) > 0.3


def slope_in_alpha(prior: MotionPrior, problem: Problem, scene: Scene) -> float:
    alpha = scene.alpha.detach().clone().requires_grad_()
    value = MotionScale(prior=prior, view=MotionView(problem, prior))(dataclasses.replace(scene, alpha=alpha), problem)
    return float(torch.autograd.grad(value, [alpha])[0])


def test_a_static_camera_tells_no_scale(prior: MotionCVAE, people: Problem) -> None:
    still = static(people)
    moving = abs(slope_in_alpha(prior, people, scene_of(people, 0.3)))
    assert abs(slope_in_alpha(prior, still, scene_of(still, 0.3))) < 1e-9 * moving


@pytest.mark.parametrize("leg", [True, False], ids=["of one size", "of all sizes"])
def test_sizes_feel_bodies_that_stay_as_they_are_in_the_images(
    prior: MotionCVAE, knows_all_sizes: MotionCVAE, people: Problem, leg: bool
) -> None:
    """A person who is larger and, for the same image, that much farther; cameras, floor and all others stay."""
    chosen = prior if leg else knows_all_sizes
    view, variables = MotionView(people, chosen), variables_of(people, 0.3)
    value = MotionScale(prior=chosen, view=view)(variables(people), people)
    scale_slope, gradient = torch.autograd.grad(value, [variables.scale, variables.shape])
    # all of the world grows with the scale, people too: no one can tell
    assert abs(float(scale_slope)) < 1e-8 * float(gradient.abs().max())
    scene = scene_of(people, 0.3)
    c2w = torch.linalg.inv(people.cameras.w2c)

    def larger(person: int, change: float) -> float:
        factor = torch.ones(3, dtype=torch.float64)
        factor[person] = math.exp(0.003 * change)
        rays = scene.camera_joints * factor[:, None, None, None]
        joints = rays @ c2w[:, :3, :3].transpose(1, 2) + scene.alpha * c2w[:, None, :3, 3]
        moved = dataclasses.replace(scene, joints=joints, rest_joints=scene.rest_joints * factor[:, None, None])
        return by_hand(chosen, view, view.states(moved), "stance", people)

    for person in range(3):
        slope = (larger(person, 1e-3) - larger(person, -1e-3)) / 2e-3
        assert float(gradient[person, 0]) == pytest.approx(slope, rel=1e-3, abs=1e-6 * float(gradient.abs().max()))


def filmed_from(problem: Problem, share: float) -> Problem:
    """Cameras that go sideways by a share of the depth of the scene, and come half the way back."""
    start = problem.start
    depth = float(start.pelvis[..., 2][problem.visible].median())
    frames = len(problem.frame_ids)
    path = torch.cat([torch.linspace(0, 1, frames - frames // 2), torch.linspace(1, 0.5, frames // 2)]).to(torch.float64)
    w2c = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    w2c[:, 0, 3] = -path * share * depth / start.alpha0
    return dataclasses.replace(problem, cameras=dataclasses.replace(problem.cameras, w2c=w2c))


def scale_terms(problem: Problem, prior: MotionPrior | None) -> list[type]:
    motion = None if prior is None else ClipMotionPrior(problem, prior, None)
    return [type(t) for s in make_stages(RefinementConfig(), NOISE, motion=motion) for t, _ in s.terms if t.name == "multi_scale"]


def searched(problem: Problem, prior: MotionPrior | None) -> RefinementModule:
    """As if the sub-stages that move the scale had run."""
    module = RefinementModule(problem, RefinementConfig(), motion_prior=prior)
    module.reports = {stage.name: StageReport({"total": [0.0]}, iterations=1) for stage in module.stages if "scale" in stage.free}
    return module


@pytest.mark.parametrize(("share", "seen"), [(0.0, False), (0.009, False), (0.011, True), (0.2, True)])
def test_cameras_that_hardly_move_switch_the_scale_off_and_say_so(prior: MotionCVAE, share: float, seen: bool) -> None:
    problem = filmed_from(make_problem(frames=10)[0], share)
    assert camera_movement(problem) == pytest.approx(share, rel=1e-6)
    assert scale_terms(problem, prior) == ([MotionScale, MotionScale] if seen else [])
    told = [warning for warning in summarize(searched(problem, small_prior()), 0.0).results["warnings"] if "cameras move" in warning]
    assert len(told) == (0 if seen else 1)
    if told:
        assert f"{100 * share:.1f} %" in told[0]
        assert "\n" not in told[0]
    assert not any("cameras move" in warning for warning in summarize(searched(problem, None), 0.0).results["warnings"])


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_without_a_motion_prior_smoothness_stands_in(prior: MotionCVAE, share: float) -> None:
    problem = filmed_from(make_problem(frames=10)[0], share)
    assert scale_terms(problem, None) == [MultiPersonScale, MultiPersonScale]
    without = {s.name: s for s in make_stages(RefinementConfig(), NOISE)}
    for stage in make_stages(RefinementConfig(), NOISE, motion=ClipMotionPrior(problem, prior, None)):
        plain = without[stage.name]
        assert (plain.free, plain.iterations, plain.find_contacts) == (stage.free, stage.iterations, stage.find_contacts)
        kept = {term.name: weight for term, weight in stage.terms if not isinstance(term, MotionTerm)}
        assert kept == {term.name: weight for term, weight in plain.terms if not isinstance(term, MultiPersonScale)}
        assert any(isinstance(term, MotionLikelihood) for term, _ in stage.terms) == (stage.name not in ("root", "smpl"))


def test_the_weights_of_motion_multiply_and_zero_leaves_out(prior: MotionCVAE) -> None:
    motion = ClipMotionPrior(make_problem(frames=10)[0], prior, None)

    def weights(**fields: float) -> dict[str, float]:
        return {term.name: weight for term, weight in make_stages(RefinementConfig(**fields), NOISE, motion=motion)[-1].terms}

    plain, other = weights(), weights(lambda_cvae=0.3, lambda_multi_scale=0.0)
    assert other["cvae"] == pytest.approx(plain["cvae"] * 0.3 / RefinementConfig().lambda_cvae)
    assert "multi_scale" not in other
    assert {name: w for name, w in other.items() if name != "cvae"} == {
        name: w for name, w in plain.items() if name not in ("cvae", "multi_scale")
    }
    chunks = [
        t.chunk
        for t, _ in make_stages(RefinementConfig(motion_prior_chunk_size=7), NOISE, motion=motion)[-1].terms
        if isinstance(t, MotionTerm)
    ]
    assert chunks == [7, 7]


def test_how_far_cameras_move_does_not_depend_on_units_or_the_unseen(people: Problem) -> None:
    moved = camera_movement(people)
    start, cameras = people.start, people.cameras
    w2c = cameras.w2c.clone()
    w2c[:, :3, 3] /= 3
    other = dataclasses.replace(
        people, cameras=dataclasses.replace(cameras, w2c=w2c), start=dataclasses.replace(start, alpha0=3 * start.alpha0)
    )
    assert camera_movement(other) == pytest.approx(moved)
    nobody = dataclasses.replace(people, alive=people.alive.clone(), visible=people.visible.clone())
    nobody.alive[:, 5:] = nobody.visible[:, 5:] = False
    assert camera_movement(nobody) < 0.6 * moved
