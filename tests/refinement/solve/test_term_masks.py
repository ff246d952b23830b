"""What each term must not depend on: the order of people, hidden frames, the length of a clip, fingers that cannot move."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from problems import NUM_JOINTS, make_problem, with_hands
from term_cases import ALL, TERMS, disturbed, first_frames, permuted, still
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import (
    MultiPersonScale,
    PosePrior,
    Smoothness,
    StayNearPose,
    Term,
)
from pose_priors.refinement.solve.variables import Variables


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


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("beta", "near_pose", "near_root", "scene_floor")])
def test_twice_the_clip_is_the_same_mean(name: str) -> None:
    """Of a clip of still people; terms over transitions differ by the one that a clip lacks."""
    long, _ = make_problem(people=1, frames=40, noise=0.0)
    short = first_frames(long, 20)
    values = [ALL[name](variables(problem), problem) for problem in (long, short) for variables in [still(problem)]]
    assert float(values[0]) == pytest.approx(float(values[1]), rel=0.3, abs=5e-3)


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


def with_confidence(problem: Problem, confidence: Tensor) -> Problem:
    return dataclasses.replace(problem, observations=dataclasses.replace(problem.observations, keypoint_confidence=confidence))


def test_a_slow_error_counts_in_full_where_no_keypoint_tells_the_turn() -> None:
    problem = with_hands(make_problem(frames=60)[0], 0.1)
    confidence = torch.zeros_like(problem.observations.keypoint_confidence)
    at = {joints: k for k, joints in enumerate(problem.observations.keypoint_joints)}
    left_hip, left_knee, left_wrist = at[1,], at[4,], at[20,]
    confidence[0, 20, [left_hip, left_knee]] = 0.9
    confidence[0, 45, left_knee] = 0.9  # alone it may be where it is by the turn of the hip or of the whole body
    confidence[0, :, left_wrist] = 0.9  # by the turn of any joint from the spine on
    confidence[1, :, [left_hip, left_knee]] = 0.2  # too faint to be believed
    problem = with_confidence(problem, confidence)
    count = StayNearPose(noise_rad=0.01, hand_noise_rad=0.1, bias_rad=0.08, anew=0.25).counts(problem)
    expected = torch.ones_like(count)
    expected[0, 20 - 8 : 20 + 9, 1] = 0.25  # the left hip's bone alone has two ends, and a quarter of a second are 7.5 frames
    assert torch.equal(count, expected)
    assert torch.equal(
        StayNearPose(noise_rad=0.01, hand_noise_rad=0.1, bias_rad=0.08).counts(problem),
        problem.visible[..., None].expand_as(count).to(count),
    )


def test_a_slow_error_counts_once_at_least_of_people_who_are_seen_briefly() -> None:
    problem, _ = make_problem(frames=60)
    visible = torch.zeros_like(problem.visible)
    visible[0, 30], visible[1, 30:33] = True, True
    count = StayNearPose(noise_rad=0.01, hand_noise_rad=0.1, bias_rad=0.08, anew=0.2).counts(dataclasses.replace(problem, visible=visible))
    torch.testing.assert_close(count.sum(1)[:, 1:6], torch.ones(2, 5, dtype=count.dtype))
    assert not count[~visible].any()


@pytest.mark.parametrize("term", [Smoothness(), MultiPersonScale()])
def test_fingers_that_cannot_move_do_not_count_in_motion(term: Term) -> None:
    bare, _ = make_problem()
    problem = with_hands(bare, 0.1)
    body, all_joints = range(1, NUM_JOINTS), range(1, len(problem.bodies.parents))
    noise = estimate_noise(bare)
    expected = term(Variables(bare, noise, 0.05, body)(bare), bare)
    assert float(term(Variables(problem, noise, 0.05, body)(problem), problem)) == pytest.approx(float(expected))
    assert float(term(Variables(problem, noise, 0.05, all_joints)(problem), problem)) > 1.1 * float(expected)
