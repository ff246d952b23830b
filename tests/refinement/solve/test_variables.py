"""The variables: what they are at zero, and what they leave unchanged."""

from __future__ import annotations

import dataclasses

import roma
import torch
from problems import NUM_JOINTS, make_problem

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import joints_and_arms
from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import MIRROR, PARENTS
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.scene import arm_directions, project
from pose_priors.refinement.solve.variables import Variables


def make(problem: Problem, bound: float = 0.05) -> Variables:
    return Variables(problem, estimate_noise(problem), bound, list(range(1, NUM_JOINTS))).double()


def disturb(variables: Variables, seed: int = 0) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in variables.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))


def test_zero_is_the_start() -> None:
    problem, _ = make_problem()
    scene = make(problem)(problem)
    torch.testing.assert_close(scene.joints, problem.start.joints(problem.bodies))
    torch.testing.assert_close(torch.cat([scene.normal, scene.offset[None]]), problem.start.ground_plane)
    assert scene.alpha.item() == problem.start.alpha0


def test_the_scale_stays_within_its_bound() -> None:
    problem, _ = make_problem()
    variables = make(problem)
    for value in (-1e6, 1e6, 3.0):
        variables.scale.data.fill_(value)
        assert abs(float(variables.delta())) <= 0.05
    torch.testing.assert_close(variables.delta(), 3 * variables.delta() / 3)


def test_images_do_not_see_the_scale() -> None:
    problem, _ = make_problem()
    variables = make(problem)
    before = project(variables(problem).camera_joints, problem.cameras)
    variables.scale.data.fill_(4.0)
    scene = variables(problem)
    assert float(scene.growth) > 1.01
    torch.testing.assert_close(project(scene.camera_joints, problem.cameras), before)
    torch.testing.assert_close(scene.rest_joints, problem.bodies.rest_joints * scene.growth)


def test_without_depth_people_keep_their_size_and_stay_where_the_cameras_see_them() -> None:
    problem, _ = make_problem()
    seen = problem.observations
    blind = dataclasses.replace(seen, joint_depth_confidence=0 * seen.joint_depth_confidence, floor_points=seen.floor_points[:0])
    problem = dataclasses.replace(problem, observations=blind)
    variables = make(problem)
    before = variables(problem)
    variables.scale.data.fill_(4.0)
    after = variables(problem)
    assert float(after.alpha / before.alpha) > 1.01
    torch.testing.assert_close(after.camera_joints, before.camera_joints)
    torch.testing.assert_close(after.rest_joints, before.rest_joints)
    centres = torch.linalg.inv(problem.cameras.w2c)[:, :3, 3]
    assert (centres[-1] - centres[0]).norm() > 0.05
    torch.testing.assert_close(after.joints - before.joints, ((after.alpha - before.alpha) * centres)[:, None].expand_as(after.joints))
    # the floor goes along with them, as far as all move alike
    feet = list(range(NUM_JOINTS))
    lifted = (after.heights(feet) - before.heights(feet)).mean()
    assert abs(float(lifted)) < 1e-9


def test_images_do_not_see_the_scale_where_betas_make_bodies_larger() -> None:
    problem, _ = make_problem()
    rest = problem.bodies.rest_joints
    directions = torch.stack([0.1 * (rest - rest[:, :1]), torch.zeros_like(rest)], -1)
    directions[..., 0, 1] = 0.01
    problem = dataclasses.replace(problem, bodies=dataclasses.replace(problem.bodies, shape_directions=directions))
    variables = make(problem)
    before = project(variables(problem).camera_joints, problem.cameras)
    variables.scale.data.fill_(4.0)
    # log(1 + delta) against delta
    torch.testing.assert_close(project(variables(problem).camera_joints, problem.cameras), before, atol=0.05, rtol=0)


def test_turns_are_those_between_start_and_now() -> None:
    problem, _ = make_problem()
    variables = make(problem)
    disturb(variables)
    scene = variables(problem)
    start = torch.cat([problem.start.global_orient[:, :, None], problem.start.body_pose], 2)
    torch.testing.assert_close(roma.rotvec_to_rotmat(scene.rotvec), roma.rotvec_to_rotmat(roma.rotvec_composition([start, scene.turn])))
    assert (torch.linalg.vector_norm(scene.rotvec, dim=-1) <= torch.pi + 1e-9).all()
    torch.testing.assert_close(torch.linalg.vector_norm(scene.normal), torch.ones((), dtype=torch.float64))


def test_every_motion_can_be_reached() -> None:
    """The filter is invertible: as many independent pelvis tracks as frames, the first and last frame among them."""
    problem, _ = make_problem(people=1, frames=12)
    variables = make(problem)

    def track(values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(variables, {"pelvis": values}, (problem,)).joints[0, :, 0, 0]

    jacobian = torch.autograd.functional.jacobian(track, variables.pelvis.detach())[:, 0, :, 0]
    assert torch.linalg.matrix_rank(jacobian) == 12
    # the ends of the clip do not meet: what moves the first frame hardly moves the last
    assert jacobian[-1, 0].abs() < 0.05 * jacobian[0, 0].abs()


def test_frozen_joints_do_not_turn() -> None:
    problem, _ = make_problem()
    variables = Variables(problem, estimate_noise(problem), 0.05, [1, 2, 4]).double()
    disturb(variables)
    turn = variables(problem).turn
    moved = turn.abs().amax((0, 1, 3)) > 0
    assert moved.nonzero()[:, 0].tolist() == [0, 1, 2, 4]


def test_arms_of_a_mirror_image_are_mirror_images() -> None:
    bodies = dataclasses.replace(make_problem()[0].bodies, parents=PARENTS, smplx_index=tuple(range(55)))
    arm = arm_directions(bodies).double()
    pose = torch.randn(7, 55, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rest = rest_joints().double()
    arms, mirrored = (joints_and_arms(rotvec, rest, arm)[1] for rotvec in (pose, mirror_pose(pose)))
    torch.testing.assert_close(mirrored, (arms * torch.tensor([-1.0, 1.0, 1.0]))[:, list(MIRROR)])


def test_hand_stubs_have_the_arms_of_their_wrists() -> None:
    bodies = make_problem()[0].bodies
    arm = arm_directions(dataclasses.replace(bodies, parents=(*bodies.parents, 20, 21), smplx_index=(*bodies.smplx_index, -1, -1)))
    assert torch.equal(arm[22:], arm[20:22])
    torch.testing.assert_close(torch.linalg.vector_norm(arm, dim=-1), torch.ones(24))
    assert (arm[:, 0].sign() == torch.tensor([0] + [1, -1, 0] * 5 + [1, -1] * 4)).all()
