"""Each term: its gradient, its direction, its masks, and what it must not depend on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from problems import NUM_JOINTS, make_problem, with_hands
from torch import Tensor

from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import NUM_JOINTS as SMPLX_JOINTS
from pose_priors.body.skeleton import PARTS
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import carrying_joints, detect_contacts
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.occlusion import facing_joints
from pose_priors.refinement.solve.terms import (
    NAMED,
    ContactHeight,
    DepthConsistency,
    FootSkating,
    HandPrior,
    KeypointReprojection,
    MultiPersonScale,
    Penetration,
    PosePrior,
    SceneFloor,
    ShapePrior,
    Smoothness,
    StayNearPose,
    StayNearRoot,
    Term,
)
from pose_priors.refinement.solve.variables import Variables


def gaussian() -> torch.nn.Module:
    prior = GaussianConfig(kind="gaussian").build(range(1, 22))
    prior.start(0.1 * torch.randn(200, SMPLX_JOINTS, 3, generator=torch.Generator().manual_seed(0)))
    return prior.double().requires_grad_(False)


TERMS: dict[str, Term] = {
    term.name: term
    for term in (
        KeypointReprojection(sigma_px=3.0),
        StayNearPose(noise_rad=0.01, hand_noise_rad=0.02, bias_rad=0.08),
        StayNearRoot(depth=0.03, lateral=0.01),
        DepthConsistency(sigma_ratio=0.005),
        ShapePrior(),
        PosePrior(),
        Smoothness(),
        MultiPersonScale(),
        FootSkating(),
        ContactHeight(),
        Penetration(),
        SceneFloor(),
    )
}
# one that was added since, and needs nothing said, is checked by what holds for all
TERMS |= {name: term() for name, term in NAMED.items() if name not in TERMS}
PRIOR_TERMS = {"pose_prior": PosePrior(prior=gaussian()), "hands": HandPrior(prior=gaussian())}
ALL = TERMS | PRIOR_TERMS


def disturbed(problem: Problem, seed: int = 0, size: float = 1.0) -> Variables:
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS)))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in variables.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        variables.contacts.copy_(torch.rand(variables.contacts.shape, generator=draw, dtype=torch.float64))
    return variables


@pytest.mark.parametrize("name", [name for name in ALL if name != "multi_scale"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    problem, _ = make_problem(frames=6, hidden=slice(2, 3))
    variables = disturbed(problem)
    term = ALL[name]
    parameters = list(variables.parameters())
    draw = torch.Generator().manual_seed(1)
    for index, parameter in enumerate(parameters):
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(term(variables(problem), problem), [parameters[index]], allow_unused=True)
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        step = 1e-5
        with torch.no_grad():
            parameter.add_(step * direction)
            above = term(variables(problem), problem)
            parameter.sub_(2 * step * direction)
            below = term(variables(problem), problem)
            parameter.add_(step * direction)
        assert slope == pytest.approx(float(above - below) / (2 * step), rel=1e-4, abs=1e-6)


def test_the_scale_likelihood_has_the_gradient_of_bodies_held_still_before_their_cameras() -> None:
    problem, _ = make_problem()
    variables = disturbed(problem)
    term = MultiPersonScale()
    (gradient,) = torch.autograd.grad(term(variables(problem), problem), [variables.shape])

    def value(size: Tensor) -> Tensor:
        """Of a world in which people are that much nearer or farther, as their size says, and nothing else has changed."""
        scene = variables(problem)
        factor = torch.exp((size - variables.shape) * 0.003)[:, None, None]
        world = (scene.camera_joints * factor - scene.alpha * problem.cameras.w2c[:, None, :3, 3]) @ problem.cameras.w2c[:, :3, :3]
        return term.of(world / scene.growth, problem)

    step = 1e-4
    with torch.no_grad():
        for p in range(2):
            change = torch.zeros_like(variables.shape)
            change[p] = step
            slope = float(value(variables.shape + change) - value(variables.shape - change)) / (2 * step)
            assert float(gradient[p]) == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_at_the_start_and_far_from_it(name: str) -> None:
    problem, _ = make_problem(frames=6)
    for size in (0.0, 1.0, 100.0):
        variables = disturbed(problem, size=size)
        value = ALL[name](variables(problem), problem)
        gradients = torch.autograd.grad(value, list(variables.parameters()), allow_unused=True)
        assert torch.isfinite(value)
        assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_people_does_not_matter(name: str) -> None:
    problem, _ = make_problem(people=3, frames=6, hidden=slice(2, 4))
    variables = disturbed(problem)
    order = [2, 0, 1]
    swapped = permuted(problem, order)
    other = disturbed(swapped)
    with torch.no_grad():
        for (key, mine), (_, theirs) in zip(variables.named_parameters(), other.named_parameters(), strict=True):
            theirs.copy_(mine if key in ("scale", "plane") else mine[order])
        other.contacts.copy_(variables.contacts[order])
    torch.testing.assert_close(ALL[name](other(swapped), swapped), ALL[name](variables(problem), problem))


@pytest.mark.parametrize("name", ["keypoints", "near_pose", "near_root", "depth"])
def test_hidden_frames_do_not_enter_the_data(name: str) -> None:
    problem, _ = make_problem(hidden=slice(5, 10))
    variables = disturbed(problem)
    value = TERMS[name](variables(problem), problem)
    with torch.no_grad():
        scene = variables(problem)
        # whatever is estimated or written on frames on which the person was not seen
        scene.camera_joints[-1, 5:10] += 1.0
        scene.turn[-1, 5:10] += 1.0
        seen = problem.observations
        keypoints, depth = seen.keypoints.clone(), seen.joint_depth.clone()
        keypoints[-1, 5:10] = float("nan")
        depth[-1, 5:10] = float("nan")
        spoilt = dataclasses.replace(problem, observations=dataclasses.replace(seen, keypoints=keypoints, joint_depth=depth))
    torch.testing.assert_close(TERMS[name](scene, spoilt), value)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("keypoints", lambda v: v.pelvis.data.add_(5.0)),
        ("near_pose", lambda v: v.body_pose.data.add_(3.0)),
        ("near_root", lambda v: v.pelvis.data.add_(20.0)),
        ("depth", lambda v: v.pelvis.data.add_(5.0)),
        ("beta", lambda v: v.shape.data.add_(3.0)),
        ("pose", lambda v: v.body_pose.data.add_(3.0)),
        ("smooth", lambda v: v.pelvis.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))),
        ("skate", lambda v: v.pelvis.data.normal_(0, 3.0, generator=torch.Generator().manual_seed(0))),
        ("contact", lambda v: v.plane.data.add_(3.0)),
        ("penetration", lambda v: v.plane.data.sub_(5.0)),
        ("scene_floor", lambda v: v.plane.data.add_(3.0)),
    ],
)
def test_a_step_downhill_undoes_what_was_spoilt(name: str, spoil: Callable[[Variables], object]) -> None:
    problem, _ = make_problem(noise=0.0)
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS)))
    variables.contacts.fill_(1.0)
    spoil(variables)
    before = [parameter.detach().clone() for parameter in variables.parameters()]
    term = TERMS[name]
    value = term(variables(problem), problem)
    optimizer = torch.optim.LBFGS(variables.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = 100 * term(variables(problem), problem)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert term(variables(problem), problem) < 0.7 * value
    assert any(not torch.equal(a, b) for a, b in zip(before, variables.parameters(), strict=True))


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("beta", "near_pose", "near_root", "scene_floor")])
def test_twice_the_clip_is_the_same_mean(name: str) -> None:
    """Of a clip of still people; terms over transitions differ by the one that a clip lacks."""
    long, _ = make_problem(people=1, frames=40, noise=0.0)
    short = first_frames(long, 20)
    values = [ALL[name](variables(problem), problem) for problem in (long, short) for variables in [still(problem)]]
    assert float(values[0]) == pytest.approx(float(values[1]), rel=0.3, abs=5e-3)


def test_contacts_are_found_where_feet_stand_and_not_where_they_fly() -> None:
    problem, _ = make_problem(noise=0.0)
    scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
    assert (detect_contacts(scene, problem) > 0.9).all()
    for raised in (scene.joints + scene.normal * 0.3, scene.joints + torch.arange(24)[:, None, None] * 0.03):
        assert (detect_contacts(dataclasses.replace(scene, joints=raised), problem) < 0.1).all()


def test_an_arm_before_the_chest_hides_it() -> None:
    problem, _ = make_problem(people=1, frames=2, noise=0.0)
    scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
    assert facing_joints(scene, problem)[..., 9].all()
    moved = scene.camera_joints.clone()
    moved[:, :, 21] = moved[:, :, 9] - torch.tensor([0.0, 0.0, 0.4])
    facing = facing_joints(dataclasses.replace(scene, camera_joints=moved), problem)
    assert not facing[..., 9].any()
    assert facing[..., 21].all()


def still(problem: Problem) -> Variables:
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS)))
    variables.contacts.fill_(1.0)
    with torch.no_grad():
        variables.shape.fill_(1.0)
        variables.plane.fill_(2.0)
    return variables


def permuted(problem: Problem, order: list[int]) -> Problem:
    def pick(value: object, names: list[str]) -> object:
        return dataclasses.replace(value, **{name: getattr(value, name)[order] for name in names})

    return dataclasses.replace(
        problem,
        alive=problem.alive[order],
        visible=problem.visible[order],
        bodies=pick(problem.bodies, ["rest_joints", "shape_directions", "betas", "height", "thickness"]),
        observations=pick(problem.observations, ["keypoints", "keypoint_confidence", "joint_depth", "joint_depth_confidence"]),
        start=pick(problem.start, ["global_orient", "body_pose", "pelvis"]),
    )


def first_frames(problem: Problem, count: int) -> Problem:
    def cut(value: object, names: list[str], of_people: bool = True) -> object:
        rows = {name: getattr(value, name)[:, :count] if of_people else getattr(value, name)[:count] for name in names}
        return dataclasses.replace(value, **rows)

    return dataclasses.replace(
        problem,
        frame_ids=problem.frame_ids[:count],
        alive=problem.alive[:, :count],
        visible=problem.visible[:, :count],
        cameras=cut(problem.cameras, ["w2c", "intrinsics", "confidence"], of_people=False),
        observations=cut(problem.observations, ["keypoints", "keypoint_confidence", "joint_depth", "joint_depth_confidence"]),
        start=cut(problem.start, ["global_orient", "body_pose", "pelvis"]),
    )


def test_every_carrying_joint_has_a_contact() -> None:
    problem, _ = make_problem()
    assert carrying_joints(problem.bodies) == [7, 8, 10, 11]


def test_a_prior_scores_a_few_poses_a_second_and_short_lives_whole() -> None:
    class Counting(torch.nn.Module):
        def energy(self, pose: Tensor) -> Tensor:
            counts.append(len(pose))
            return pose.square().sum((-1, -2))

    counts: list[int] = []
    for frames, expected in ((60, 2 * 6), (4, 2 * 4)):
        problem, _ = make_problem(frames=frames)
        term = PosePrior.model_construct(prior=Counting(), rate=3.0)
        scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
        assert torch.isfinite(term(scene, problem))
        assert counts[-1] == expected


def test_fingers_that_change_cost_by_their_own_noise() -> None:
    problem = with_hands(make_problem()[0], 0.1)
    scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
    term = StayNearPose(noise_rad=0.01, hand_noise_rad=0.1, bias_rad=0.08, drift=0.0)
    turns = [torch.zeros_like(scene.turn) for _ in range(2)]
    turns[0][0, 5, 3, 0] = turns[1][0, 5, NUM_JOINTS, 0] = 0.2
    place = 0.5 * (0.2 / 0.08) ** 2
    for turn, noise in zip(turns, (0.01, 0.1), strict=True):
        expected = (place + 2 * 0.5 * 0.2**2 / (2 * noise**2)) / problem.visible.sum()
        assert float(term(dataclasses.replace(scene, turn=turn), problem)) == pytest.approx(float(expected))


@pytest.mark.parametrize("term", [Smoothness(), MultiPersonScale()])
def test_fingers_that_cannot_move_do_not_count_in_motion(term: Term) -> None:
    bare, _ = make_problem()
    problem = with_hands(bare, 0.1)
    body, all_joints = range(1, NUM_JOINTS), range(1, len(problem.bodies.parents))
    noise = estimate_noise(bare)
    expected = term(Variables(bare, noise, 0.05, body)(bare), bare)
    assert float(term(Variables(problem, noise, 0.05, body)(problem), problem)) == pytest.approx(float(expected))
    assert float(term(Variables(problem, noise, 0.05, all_joints)(problem), problem)) > 1.1 * float(expected)


def right_hand_prior() -> torch.nn.Module:
    prior = GaussianConfig(kind="gaussian").build(PARTS["right_hand"])
    draw = torch.Generator().manual_seed(0)
    bent = torch.tensor([0.0, 0.1, 0.4])
    prior.start(bent + 0.1 * torch.randn(300, SMPLX_JOINTS, 3, generator=draw))
    return prior.double().requires_grad_(False)


def hands_of(problem: Problem, pose: Tensor) -> Problem:
    """Everybody's fingers as in a pose (55, 3)."""
    body = problem.start.body_pose.clone()
    fingers = pose[[*PARTS["left_hand"], *PARTS["right_hand"]]]
    body[:, :, NUM_JOINTS - 1 :] = fingers.to(body)
    return dataclasses.replace(problem, start=dataclasses.replace(problem.start, body_pose=body))


def test_a_prior_of_one_hand_scores_the_other_in_the_mirror() -> None:
    problem, prior = with_hands(make_problem(frames=4)[0], 0.0), right_hand_prior()
    term = HandPrior(prior=prior)
    pose = torch.zeros(SMPLX_JOINTS, 3, dtype=torch.float64)
    pose[list(PARTS["right_hand"])] = prior.sample(1, torch.Generator().manual_seed(1))[0, list(PARTS["right_hand"])].double()
    values = []
    for given in (pose, mirror_pose(pose)):
        there = hands_of(problem, given)
        values.append(float(term(Variables(there, estimate_noise(there), 0.05, [])(there), there)))
    assert values[0] == pytest.approx(values[1])
    excess = (torch.stack([prior.energy(pose), prior.energy(torch.zeros_like(pose))]) - term.typical) / 15
    assert values[0] == pytest.approx(float(15 * (1 + excess.exp()).log().sum()))


def test_plausible_hands_are_left_alone_and_others_pulled_towards_them() -> None:
    prior, bare = right_hand_prior(), with_hands(make_problem(people=1, frames=4)[0], 0.0)
    term = HandPrior(prior=prior)
    right = list(PARTS["right_hand"])
    both = torch.zeros(SMPLX_JOINTS, 3, dtype=torch.float64)
    both[right] = prior.sample(256, torch.Generator().manual_seed(2))[:, right].double().mean(0)
    both = both + mirror_pose(both)
    steep = []
    for given in (both, -both):
        problem = hands_of(bare, given)
        variables = Variables(problem, estimate_noise(problem), 0.05, problem.bodies.hand_joints)
        value = term(variables(problem), problem)
        (gradient,) = torch.autograd.grad(value, variables.body_pose)
        steep.append(float(gradient.norm()))
        with torch.no_grad():
            variables.body_pose -= 1e-3 * gradient / gradient.norm()
        assert term(variables(problem), problem) < value
        assert (gradient.abs().sum((0, 1, 3)) > 0).all()  # each finger of both hands
    assert steep[0] < 0.05 * steep[1]
