"""People whom nobody tracked, against what depth maps show of them: which skin a ray meets, and where the refinement puts them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from infill_cases import FRAMES, GAP, scene_of, variables_of, walkers, with_gap, wrong
from motion_cases import NOISE
from torch import Tensor

from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.curvature.arrow import Band
from pose_priors.refinement.solve.curvature.composite import Chain
from pose_priors.refinement.solve.curvature.loads import add_loads
from pose_priors.refinement.solve.curvature.surface import of_surface
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
from pose_priors.refinement.solve.terms.kernels import geman_mcclure_weight
from pose_priors.refinement.solve.terms.untracked import UntrackedSurface

FAT = 0.02
BESIDE = 5
SHOWN = slice(GAP.start - BESIDE, GAP.stop + BESIDE)


def skin_points(joints: Tensor, radius: Tensor, parents: tuple[int, ...]) -> Tensor:
    """(N, 3) where rays at random joints' surroundings meet bodies (J, 3) of capsules first: by marching along, not in closed form."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(1, len(joints), (NUM_SKIN_POINTS,), generator=generator)
    share = torch.rand(NUM_SKIN_POINTS, 1, generator=generator, dtype=torch.float64)
    parent = torch.tensor(parents)[chosen]
    ray = torch.nn.functional.normalize(joints[parent] + share * (joints[chosen] - joints[parent]), dim=-1)
    along = torch.zeros(NUM_SKIN_POINTS, 1, dtype=torch.float64)
    bones = torch.arange(1, len(joints))
    first, last = joints[torch.tensor(parents)[bones]], joints[bones]
    thick, thin = radius[torch.tensor(parents)[bones]], radius[bones]
    for _ in range(300):
        place = (along * ray)[:, None]
        part = ((place - first) * (last - first)).sum(-1) / (last - first).square().sum(-1)
        part = part.clamp(0, 1)[..., None]
        off = (place - first - part * (last - first)).norm(dim=-1) - (thick + part[..., 0] * (thin - thick))
        along = along + 0.7 * off.amin(1, keepdim=True)
    return along * ray


@lru_cache
def shown(aside: float = 0.0) -> Problem:
    """One of two people is lost for a while, in the depth maps all the same: a little thicker than bodies are said to be.

    Args:
        aside: metres from the straight way that the person goes meanwhile.
    """
    truth = walkers()
    share = torch.linspace(0, 1, GAP.stop - GAP.start + 2, dtype=torch.float64)[1:-1]
    pelvis = truth.start.pelvis.clone()
    pelvis[1, GAP, 0] += aside * (4 * share * (1 - share)).square()
    truth = replace(truth, start=replace(truth.start, pelvis=pelvis))
    joints = to_camera(truth.start.joints(truth.bodies), truth.cameras.w2c, truth.start.alpha0)
    points, there = torch.zeros(2, FRAMES, NUM_SKIN_POINTS + 4, 3, dtype=torch.float64), torch.zeros(2, FRAMES, dtype=torch.bool)
    for frame in range(SHOWN.start, SHOWN.stop):
        skin = skin_points(joints[1, frame], truth.bodies.thickness[1] + FAT, truth.bodies.parents)
        points[1, frame] = torch.cat([skin, skin[:4]]) / truth.start.alpha0
        there[1, frame] = True
    return replace(truth, observations=replace(truth.observations, surface=there, surface_points=points))


def lost(problem: Problem) -> Problem:
    return with_gap(problem, GAP)


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


@pytest.mark.parametrize("off", [0.01, 0.08])
def test_the_gradient_of_the_surface_is_that_of_its_value(off: float) -> None:
    """By central differences along random steps of everybody, with what a round holds still found where they stand."""
    problem = lost(shown())
    variables = variables_of(problem).double()
    draw = torch.Generator().manual_seed(1)

    def step(size: float) -> Tensor:
        return size * torch.randn(*problem.alive.shape, 23, 3, generator=draw, dtype=torch.float64)

    variables.add_increments(step(off))
    gaps = ExpectedInGaps(problem, None).double()
    gaps.thicker.copy_(thicker(variables(problem).detached(), problem))
    gaps.hold(variables(problem).detached(), problem)
    term = UntrackedSurface(expected=gaps, sigma_ratio=0.005)
    for _ in range(3):
        way, values, before = step(1.0), [], variables.moved()
        term(variables(problem), problem).backward()
        slopes = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in variables.named_parameters()}
        along = float((variables.by_increments(slopes) * way).sum())
        for sign in (1, -1):
            variables.add_increments(sign * 1e-6 * way)
            values.append(float(term(variables(problem), problem).detach()))
            variables.add_increments(before - variables.moved())
        variables.zero_grad()
        assert abs(along) > 1e-3
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(along, rel=1e-6)


def test_what_rays_meet_is_held_until_it_is_looked_for_anew() -> None:
    problem = lost(shown())
    variables = variables_of(problem).double()
    gaps = ExpectedInGaps(problem, None).double()
    first = variables(problem).detached()
    gaps.hold(first, problem)
    variables.add_increments(0.1 * torch.ones(*problem.alive.shape, 23, 3, dtype=torch.float64))
    there = variables(problem).detached()
    kept, found = gaps.held(there, problem), held(there, problem, gaps.thicker)
    assert torch.equal(kept.met.share, held(first, problem, gaps.thicker).met.share)
    assert not torch.equal(kept.met.share, found.met.share)
    gaps.hold(there, problem)
    assert torch.equal(gaps.held(there, problem).met.share, found.met.share)


@pytest.mark.parametrize("off", [0.01, 0.08])
def test_the_surface_weighs_what_its_points_do_with_those_that_rays_come_nearest_to(off: float) -> None:
    """Along a random step of everybody, against derivatives of what each point is off by, and of what joints stand out."""
    problem = lost(shown())
    variables = variables_of(problem).double()
    draw = torch.Generator().manual_seed(0)
    variables.add_increments(off * torch.randn(*problem.alive.shape, 23, 3, generator=draw, dtype=torch.float64))
    scene, of, body = variables(problem).detached(), untracked(problem), body_joints(problem)
    term = UntrackedSurface(expected=ExpectedInGaps(problem, None), sigma_ratio=0.005)
    term.expected.thicker.copy_(thicker(scene, problem))
    step = torch.randn(*problem.alive.shape, 23, 3, generator=draw, dtype=torch.float64)
    variables.add_increments(1e-7 * step)
    points, joints = skin_of(of, scene)
    moved = 1e7 * (skin_of(of, variables(problem).detached())[1] - joints)

    seen = term.expected.held(scene, problem)

    def off_by(at: Tensor) -> Tensor:
        found, sigma = term.off(points, at, seen.met)
        return found.metres / sigma

    value, change = torch.autograd.functional.jvp(off_by, joints, moved)
    beside, slid = torch.autograd.functional.jvp(lambda at: term.outside(points, at[:, body], seen), joints, moved)
    assert value.abs().max() > 1
    sure = geman_mcclure_weight(value.square(), term.bound**2) * len(body) / NUM_SKIN_POINTS
    out = geman_mcclure_weight(beside.square(), term.bound**2) * seen.tells
    expected = 3 * ((sure * change.square()).sum() + (out * slid.square()).sum())
    chain, weight = Chain(scene, problem.bodies.parents, 1), of_surface(term, 3.0, scene, problem)
    assert not weight[0].any()
    band = Band(FRAMES, 69)
    add_loads(band, chain, [], [], [range(FRAMES)], weight[1])
    block = torch.from_numpy(band.blocks[0]).triu()
    found = torch.einsum("tc,tcd,td->", (along := step[1].flatten(1)), block + block.triu(1).mT, along)
    assert not band.blocks[1].any()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_the_refinement_ends_where_depth_maps_show_people_unless_depth_counts_for_nothing() -> None:
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

    (told, error), (nothing, without) = refined(1.0), refined(0.0)
    assert len(told) == 1
    assert nothing == []
    assert error < 0.6 * without, (error, without)
