"""People whom nobody tracked, against what depth maps show of them: which skin a ray meets, and where the refinement puts them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from infill_cases import FRAMES, GAP, scene_of, variables_of, walkers, wrong
from lost_cases import FAT, lost, shown
from motion_cases import NOISE
from torch import Tensor

from pose_priors.refinement.given.problem import NUM_SKIN_POINTS
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.surface import (
    beside_points,
    body_joints,
    distance,
    held,
    met_by_rays,
    off_skin,
    skin_of,
    steady,
    surface_shift,
    thicker,
    untracked,
    untracked_frames,
)
from pose_priors.refinement.solve.terms.untracked import UntrackedSurface


def test_rays_meet_the_skin_that_marching_finds() -> None:
    problem = lost(replace(shown(), start=walkers().start))
    problem = replace(problem, start=walkers().start)
    scene, extra = scene_of(problem), torch.full_like(problem.bodies.rest_joints[..., 0], FAT)
    of = untracked(problem)
    assert of.frames.tolist() == list(range(GAP.start, GAP.stop))
    points, joints = skin_of(of, scene)
    skin = points[:, :NUM_SKIN_POINTS]

    def off(by: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
        there = joints + torch.tensor(by)
        met = met_by_rays(skin, there, of, problem, extra)
        return off_skin(skin, there, met).metres, met.meets

    found, meets = off((0, 0, 0))
    assert found.abs().median() < 0.002
    assert float((found.abs() < 0.01).double().mean()) > 0.95
    assert float(meets.double().mean()) > 0.99
    farther, _ = off((0, 0, 0.05))
    assert float(farther.median()) == pytest.approx(-0.05, abs=0.01)
    away, meets = off((3.0, 0, 0))
    assert not meets.any()
    nearest = joints[..., 0].amin(1) + 3.0 - skin[..., 0].amax(1)
    assert (away.amin(1) > nearest - 0.5).all()
    seen = held(scene, problem, extra)
    body = joints[:, body_joints(problem)]
    beside = beside_points(body, points, seen.nearest, seen.depth)
    assert float(beside.median()) < 0.05
    at_depth = points[:, None] * (body[..., 2:] / points[:, None, :, 2])[..., None]  # (F, B, N, 3), all where that joint is
    torch.testing.assert_close(beside, (at_depth - body[:, :, None]).norm(dim=-1).amin(-1), atol=2e-4, rtol=1e-6)


def test_how_thick_somebody_is_shows_on_the_frames_beside() -> None:
    extra = thicker(scene_of(lost(shown())), lost(shown()))
    bones = extra[1][extra[1] != 0]
    assert len(bones) > 15
    assert float(bones.median()) == pytest.approx(FAT, abs=0.004)
    assert not extra[0].any()


def test_who_was_lost_starts_where_depth_maps_show_them_and_who_stands_there_stays() -> None:
    problem = lost(shown())
    variables, expected = variables_of(problem), ExpectedInGaps(problem, None)
    before = variables(problem).joints.detach()
    filling = expected.begin(variables, problem)
    with torch.no_grad():
        scene = variables(problem)
    assert wrong(before, walkers()) > 0.15
    assert wrong(scene.joints, walkers()) < 0.5 * wrong(before, walkers())
    torch.testing.assert_close(scene.joints[problem.visible], before[problem.visible], atol=1e-9, rtol=0)
    assert not filling.frames.any()
    assert expected.told == (f"person {problem.person_ids[1]}: 15 frames on which nobody tracked them, but depth maps show them",)
    right = replace(problem, start=walkers().start)
    variables = variables_of(right)
    ExpectedInGaps(right, None).begin(variables, right)
    assert wrong(variables(right).joints.detach(), walkers()) < 0.01


def test_people_are_moved_steadily_though_medians_of_points_jump() -> None:
    problem = lost(shown())
    of = untracked_frames(problem)[..., None]
    same = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64).expand(2, FRAMES, 3)
    torch.testing.assert_close(steady(same * of, problem), same * of)
    noise = 0.05 * torch.randn(2, FRAMES, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * of
    found = steady(noise, problem)
    assert float(found.norm()) < 0.5 * float(noise.norm())
    inside = found[1, GAP].diff(dim=0)
    assert float(inside.norm()) < 0.15 * float(noise[1, GAP].diff(dim=0).norm())
    twice = replace(problem, fps=2 * problem.fps)
    assert float(steady(noise, twice)[1, GAP].diff(dim=0).norm()) < float(inside.norm())


def test_people_are_carried_by_the_scale_and_their_depth() -> None:
    """A scene that is larger by a factor has what depth maps show larger by it."""
    problem = replace(lost(shown()), start=walkers().start)
    extra = thicker(scene_of(problem), problem)
    assert distance(scene_of(problem), problem, extra)[1] < 0.006
    assert distance(scene_of(problem), problem, extra)[0] == 0
    assert surface_shift(scene_of(problem), problem).norm(dim=-1)[1, GAP].max() < 0.1
    variables = variables_of(problem)
    with torch.no_grad():
        variables.scale.fill_(5.0)
        scene = variables(problem)
    if variables.grows:
        grown = replace(scene, growth=scene.alpha / problem.start.alpha0)
        assert distance(grown, problem, extra)[1] < 0.01


def test_the_surface_has_a_say_in_the_last_sub_stage_alone_and_with_the_weight_of_depth() -> None:
    problem = lost(shown())
    gaps = ExpectedInGaps(problem, None)
    *others, last = make_stages(RefinementConfig(), NOISE, gaps=gaps)
    assert others == make_stages(RefinementConfig(), NOISE)
    assert (last.name, last.iterations) == ("gaps", RefinementConfig().final_iterations)
    assert any(isinstance(term, UntrackedSurface) for term, _ in last.terms)
    hidden = replace(problem, observations=replace(problem.observations, surface=torch.zeros(1, 1, dtype=torch.bool)))
    assert not ExpectedInGaps(hidden, None).follows
    assert untracked_frames(problem).sum() == 15


def test_the_term_pulls_people_onto_what_is_shown() -> None:
    problem = replace(lost(shown()), start=walkers().start)
    gaps = ExpectedInGaps(problem, None)
    gaps.begin(variables_of(problem), problem)
    term = UntrackedSurface(expected=gaps, sigma_ratio=0.005)
    right = float(term(scene_of(problem), problem))
    for way in ((0.1, 0.0, 0.0), (0.0, 0.0, 0.1)):
        scene = scene_of(problem)
        by = torch.tensor(way, dtype=torch.float64)
        moved = replace(scene, camera_joints=(scene.camera_joints + by).requires_grad_())
        value = term(moved, problem)
        assert float(value.detach()) > right + 1
        (gradient,) = torch.autograd.grad(value, moved.camera_joints)
        assert float(gradient[1, GAP].sum((0, 1)) @ by) > 0
        assert not gradient[0].any()
        assert not gradient[1, : GAP.start].any()


def test_the_refinement_ends_where_depth_maps_show_people_unless_depth_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = shown(0.3)  # a way that nobody guesses from before and after
    problem = lost(truth)
    camera = replace(problem.observations, keypoint_confidence=torch.zeros_like(problem.observations.keypoint_confidence))
    dark = replace(camera, joint_depth_confidence=torch.zeros_like(camera.joint_depth_confidence))
    problem = replace(problem, observations=dark)
    short = {f"{name}_iterations": 5 for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental")}

    def refined(lambda_depth: float) -> tuple[list[str], float]:
        config = RefinementConfig(**short, final_iterations=20, enable_scale_optimization=False, lambda_depth=lambda_depth)
        found = Stage5Refiner(config, trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
        return found.results["told"], wrong(found.joints.double(), truth)

    holds, hold = list[int](), ExpectedInGaps.hold
    monkeypatch.setattr(ExpectedInGaps, "hold", lambda *given: (holds.append(1), hold(*given))[1])
    told, error = refined(1.0)
    assert len(holds) > 2  # what rays meet is looked for at the begin of the sub-stage and of each of its rounds
    nothing, without = refined(0.0)
    assert len(told) == 1
    assert nothing == []
    assert error < 0.6 * without, (error, without)
