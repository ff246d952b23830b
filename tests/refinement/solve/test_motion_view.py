"""What a motion prior sees of a scene, what of it counts, and the contacts that it tells."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from motion_cases import (
    PLACED,
    alive_from,
    clips,
    legs,
    problem_of,
    scene_of,
    sized,
    small_prior,
    swaying,
    variables_of,
)
from problems import make_problem
from scipy.spatial.transform import Rotation
from term_cases import first_frames
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS, STATE, make_states
from pose_priors.priors import MotionCVAE
from pose_priors.refinement.result.summary import likelihoods
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.contacts import detect_contacts
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import ClipMotionPrior, MotionView, camera_movement
from pose_priors.refinement.solve.padding import padded
from pose_priors.refinement.solve.terms import MotionLikelihood, MotionScale

FEET = [7, 8, 10, 11]


# --- what it sees


def test_states_are_those_of_a_level_world_in_the_sizes_of_the_prior(prior: MotionCVAE) -> None:
    windows = clips(3, 20)
    problem = problem_of(windows)
    assert abs(float(problem.start.ground_plane[2])) > 0.1  # not level
    assert float(problem.start.ground_plane[1]) < -0.8  # y down
    found = MotionView(problem, prior).states(scene_of(problem))
    assert found.shape == (3, 18, 339)
    ratio = float(prior.leg) / legs(windows.rest)
    assert (ratio - 1).abs().max() > 0.02
    turn, shift = PLACED.level
    by_hand = []
    for p, size in enumerate(ratio):
        alone = MotionWindows(windows.pose[p : p + 1], windows.pelvis[p : p + 1], windows.rest[p : p + 1], windows.contacts[p : p + 1])
        joints = alone.states()[0, :, STATE["joints"]].unflatten(-1, (22, 3)).numpy()  # frames 1 to T - 2
        root = Rotation.from_matrix(turn) * Rotation.from_rotvec(alone.pose[0, :, 0].numpy())
        pose = torch.cat([torch.from_numpy(root.as_rotvec())[:, None], alone.pose[0, :, 1:]], 1)[1:-1]
        by_hand.append(make_states(pose, torch.from_numpy(joints @ turn.T + shift) * size))
    # velocities of the ends are one-sided by hand, central in the view
    torch.testing.assert_close(found[:, 1:-1], torch.stack(by_hand)[:, 1:-1], rtol=1e-9, atol=1e-9)


def test_a_prior_sees_of_a_scene_what_it_sees_of_the_windows(prior: MotionCVAE) -> None:
    windows = clips(3, 20)
    problem = problem_of(windows)
    own = sized(windows, float(prior.leg) / legs(windows.rest)).states()
    found = prior.transition_plausibility(MotionView(problem, prior).states(scene_of(problem)))
    torch.testing.assert_close(found, prior.transition_plausibility(own), rtol=1e-7, atol=1e-6)


def test_joints_in_another_order_are_found(prior: MotionCVAE) -> None:
    problem = problem_of(clips(2, 8))
    scene = scene_of(problem, 1.0)
    order = [0, *range(21, 0, -1)]
    view = MotionView(dataclasses.replace(problem, bodies=dataclasses.replace(problem.bodies, smplx_index=tuple(order))), prior)
    other = dataclasses.replace(
        scene, rotvec=scene.rotvec[:, :, order], joints=scene.joints[:, :, order], rest_joints=scene.rest_joints[:, order]
    )
    torch.testing.assert_close(view.states(other), MotionView(problem, prior).states(scene))


@pytest.mark.parametrize("leg", [True, False], ids=["of one size", "of all sizes"])
def test_the_size_of_the_whole_scene_is_not_seen(prior: MotionCVAE, knows_all_sizes: MotionCVAE, leg: bool) -> None:
    problem = problem_of(clips(2, 10))
    view = MotionView(problem, prior if leg else knows_all_sizes)
    scene = scene_of(problem, 1.0)
    larger = dataclasses.replace(
        scene, joints=1.2 * scene.joints, rest_joints=1.2 * scene.rest_joints, offset=1.2 * scene.offset, growth=1.2 * scene.growth
    )
    torch.testing.assert_close(view.states(larger), view.states(scene), rtol=1e-10, atol=1e-10)
    # nor by the variable
    variables = variables_of(problem, 1.0)
    with torch.no_grad():
        variables.plane.zero_()
        variables.pelvis.zero_()
        before = view.states(variables(problem))
        variables.scale += 8.0
        assert float(variables.delta()) > 0.02
        torch.testing.assert_close(view.states(variables(problem)), before, rtol=1e-9, atol=1e-9)


def test_a_prior_of_all_sizes_gets_lengths_as_they_are(knows_all_sizes: MotionCVAE) -> None:
    windows = clips(3, 12)
    problem = problem_of(windows)
    scene = scene_of(problem)
    view = MotionView(problem, knows_all_sizes)
    own = windows.states()
    found = view.states(scene)
    for part in ("joints", "trans"):
        torch.testing.assert_close(found[..., STATE[part]][..., 2::3], own[..., STATE[part]][..., 2::3], rtol=1e-9, atol=1e-9)
    grown = view.states(dataclasses.replace(scene, growth=torch.tensor(1.25, dtype=torch.float64)))
    torch.testing.assert_close(grown[..., STATE["joints"]], found[..., STATE["joints"]] / 1.25)
    torch.testing.assert_close(grown[..., STATE["joints_vel"]], found[..., STATE["joints_vel"]] / 1.25)


@pytest.mark.parametrize(
    ("fps", "metres", "per_second"),
    [(60.0, 1e-9, 1e-8), (120.0, 1e-9, 1e-8), (25.0, 0.002, 0.03), (29.97, 2e-4, 1e-3), (15.0, 0.005, 0.05)],
)
def test_other_frame_rates_give_nearly_the_same_states(prior: MotionCVAE, fps: float, metres: float, per_second: float) -> None:
    expected = MotionView(problem_of(swaying(30.0)), prior).states(scene_of(problem_of(swaying(30.0))))
    problem = problem_of(swaying(fps), fps)
    view = MotionView(problem, prior)
    found = view.states(scene_of(problem))
    assert view.alive.all()
    # of the last frame's velocity a rate that does not divide 30 knows only a part
    error = (found - expected).abs()[:, : -1 if 30 % fps and fps % 30 else None]
    for name, where in STATE.items():
        assert error[..., where].max() < (per_second if name.endswith("vel") else metres), name
    moved = torch.diff(expected[..., STATE["joints"]], dim=1).abs().mean()
    assert moved > 3 * metres


def test_rotations_are_resampled_by_slerp(prior: MotionCVAE) -> None:
    """At 15 frames a second every other state is half way between two frames."""
    windows = swaying(15.0)
    problem = problem_of(windows, 15.0)
    found = MotionView(problem, prior).states(scene_of(problem))
    frame, joint = 3, 5
    ends = Rotation.from_rotvec(windows.pose[1, frame : frame + 2, joint].numpy())
    half = ends[0] * Rotation.from_rotvec((ends[0].inv() * ends[1]).as_rotvec() / 2)
    state = found[1, 2 * frame + 1 - 1, STATE["pose_body"]].view(21, 3, 3)[joint - 1]
    torch.testing.assert_close(state, torch.from_numpy(half.as_matrix()), rtol=1e-9, atol=1e-9)


# --- what counts


@pytest.mark.parametrize("fps", [30.0, 60.0, 25.0])
def test_a_transition_counts_where_all_that_it_rests_on_is_alive(prior: MotionCVAE, fps: float) -> None:
    problem = alive_from(problem_of(swaying(fps), fps), 1, slice(7, 17))
    view = MotionView(problem, prior)
    seconds = torch.arange(view.num_frames, dtype=torch.float64) / 30
    living = (seconds * fps > 7 - 1e-6) & (seconds * fps < 16 + 1e-6)
    expected = [bool(living[t : t + 4].all()) for t in range(view.num_frames - 3)]
    assert view.valid[1].tolist() == expected
    assert any(expected)
    assert view.valid[0].all()
    before = view.states(scene_of(problem))
    start, dead = problem.start, ~problem.alive
    spoilt = dataclasses.replace(
        problem,
        start=dataclasses.replace(
            start,
            pelvis=torch.where(dead[..., None], 50.0, start.pelvis),
            body_pose=torch.where(dead[..., None, None], 1.0, start.body_pose),
        ),
    )
    after = MotionView(spoilt, prior).states(scene_of(spoilt))
    assert not torch.allclose(before, after)
    terms = [MotionLikelihood(prior=prior, view=view), MotionScale(prior=prior, view=view)]
    for term in terms:
        torch.testing.assert_close(term(scene_of(spoilt), spoilt), term(scene_of(problem), problem), rtol=1e-9, atol=0)
    variables = variables_of(spoilt)
    joints = variables(spoilt).joints.detach().requires_grad_()
    scene = dataclasses.replace(variables(spoilt), joints=joints)
    (gradient,) = torch.autograd.grad(terms[0](scene, spoilt), [joints])
    assert torch.isfinite(gradient).all()
    assert not gradient[dead].any()
    assert gradient[0].any()


def test_the_horizon_cuts(prior: MotionCVAE) -> None:
    problem = problem_of(clips(2, 20))
    scene = scene_of(problem, 1.0)
    cut = MotionView(problem, prior, horizon=9)
    assert cut.valid.sum(1).tolist() == [6, 6]
    short = first_frames(problem, 9)
    joints, rotvec = scene.joints[:, :9], scene.rotvec[:, :9]
    whole = MotionLikelihood(prior=prior, view=MotionView(short, prior))(dataclasses.replace(scene, joints=joints, rotvec=rotvec), short)
    torch.testing.assert_close(MotionLikelihood(prior=prior, view=cut)(scene, problem), whole)
    faster = problem_of(swaying(60.0), 60.0)
    assert MotionView(faster, prior, horizon=20).alive.sum(1).tolist() == [10, 10]


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("kind", [MotionLikelihood, MotionScale])
def test_clips_too_short_for_a_transition_say_nothing(prior: MotionCVAE, kind: type[MotionLikelihood], frames: int) -> None:
    problem = first_frames(problem_of(clips(2, 8)), frames)
    variables = variables_of(problem, 1.0)
    value = kind(prior=prior, view=MotionView(problem, prior))(variables(problem), problem)
    assert float(value.detach()) == 0
    for gradient in torch.autograd.grad(value, list(variables.parameters()), allow_unused=True):
        assert gradient is None or not gradient.any()  # nan is true
    motion = ClipMotionPrior(problem, prior, None)
    assert set(likelihoods(scene_of(problem), problem, None, motion).values()) == {0.0}
    torch.testing.assert_close(detect_contacts(scene_of(problem), problem, motion), detect_contacts(scene_of(problem), problem))


@pytest.mark.parametrize("fps", [30.0, 25.0])
def test_a_padded_clip_is_the_same(prior: MotionCVAE, fps: float) -> None:
    problem = dataclasses.replace(make_problem(frames=11)[0], fps=fps)
    found = []
    for multiple in (None, 8, 40):
        clip = padded(problem, multiple)
        motion = ClipMotionPrior(clip, prior, None)
        variables = variables_of(clip)
        with torch.no_grad():
            variables.pelvis[:, 11:] = 7.0
        scene = variables(clip)
        value = MotionLikelihood(prior=prior, view=motion.view)(scene, clip)
        (gradient,) = torch.autograd.grad(value, [variables.pelvis])
        assert not gradient[:, 11:].any()
        scene = scene_of(clip)
        found.append(
            (
                value.detach(),
                gradient[:, :11],
                detect_contacts(scene, clip, motion)[:, :11],
                MotionScale(prior=prior, view=motion.view)(scene, clip),
                torch.tensor(list(likelihoods(scene, clip, None, motion).values())),
                torch.tensor(camera_movement(clip)),
            )
        )
        assert not detect_contacts(scene, clip, motion)[:, 11:].any()
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-6, atol=1e-9)


def test_what_the_prior_sees_goes_to_the_device_of_the_module(prior: MotionCVAE) -> None:
    problem, _ = make_problem(frames=8)
    module = RefinementModule(problem, RefinementConfig(), motion_prior=small_prior()).to("meta")
    terms = [term for stage in module.stages for term, _ in stage.terms if isinstance(term, MotionLikelihood)]
    assert terms
    for term in terms:
        held = [value for value in vars(term.view).values() if isinstance(value, Tensor)]
        held += [*term.view.buffers(), *term.prior.parameters()]
        assert len(held) > 10
        assert {value.device.type for value in held} == {"meta"}


# --- contacts


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_contacts_are_the_priors_where_it_sees_someone(prior: MotionCVAE, fps: float) -> None:
    every = int(fps / 30)
    problem = alive_from(problem_of(swaying(fps), fps), 1, slice(6 * every, 20 * every + 1))
    problem = alive_from(problem, 0, slice(0, 2 * every + 1))
    motion, scene = ClipMotionPrior(problem, prior, 17 * every), scene_of(problem)
    plain, found = detect_contacts(scene, problem), detect_contacts(scene, problem, motion)
    columns = [CONTACT_JOINTS.index(joint) for joint in FEET]
    expected = prior.contact_probabilities(motion.view.states(scene))[..., columns]
    assert expected.std() > 0
    assert not found[~problem.alive].any()
    # three frames are too few to see anything of the first; the second is seen from frame 6 to the horizon
    torch.testing.assert_close(found[0], plain[0], rtol=0, atol=0)
    for frame in range(6, 17):
        # transition t ends at frame t + 2; the first two frames and the last have the nearest
        ends = min(max(frame, 8), 15) - 2
        torch.testing.assert_close(found[1, frame * every], expected[1, ends], rtol=0, atol=0)
    torch.testing.assert_close(found[1, 17 * every :], plain[1, 17 * every :], rtol=0, atol=0)


def test_with_nobody_to_see_contacts_come_from_height_and_speed(prior: MotionCVAE) -> None:
    problem = problem_of(clips(2, 10))
    motion = ClipMotionPrior(problem, prior, 3)
    scene = scene_of(problem)
    assert torch.equal(detect_contacts(scene, problem, motion), detect_contacts(scene, problem))
    everything = ClipMotionPrior(problem, prior, None)
    by_motion, by_feet = detect_contacts(scene, problem, everything), detect_contacts(scene, problem)
    assert (by_motion >= by_feet).all()
    in_the_air = dataclasses.replace(scene, joints=scene.joints + scene.normal)
    assert detect_contacts(in_the_air, problem).max() < 1e-6 < 0.05 < detect_contacts(in_the_air, problem, everything).min()
