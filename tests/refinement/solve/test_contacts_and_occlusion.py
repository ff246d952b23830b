"""Which feet carry, and which joints the camera sees."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from problems import make_problem

from pose_priors.refinement.solve.contacts import contact_joints, detect_contacts
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.occlusion import facing_joints
from pose_priors.refinement.solve.variables import Variables


def test_contacts_are_found_where_feet_stand_and_not_where_they_fly() -> None:
    problem, _ = make_problem(noise=0.0)
    scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
    assert (detect_contacts(scene, problem) > 0.9).all()
    for raised in (scene.joints + scene.normal * 0.3, scene.joints + torch.arange(24)[:, None, None] * 0.03):
        assert (detect_contacts(dataclasses.replace(scene, joints=raised), problem) < 0.1).all()


def test_an_arm_before_the_chest_hides_it() -> None:
    problem, _ = make_problem(people=1, frames=2, noise=0.0)
    scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
    assert (facing_joints(scene, problem)[..., 9] == 1).all()
    moved = scene.camera_joints.clone()
    moved[:, :, 21] = moved[:, :, 9] * 0.9
    facing = facing_joints(dataclasses.replace(scene, camera_joints=moved), problem)
    assert (facing[..., 9] == 0).all()
    assert (facing[..., 21] == 1).all()


@pytest.mark.parametrize("axis", [0, 2])
def test_what_comes_before_a_joint_hides_it_little_by_little(axis: int) -> None:
    """A chest before which an arm comes nearer to the camera, or moves across it, by a millimetre each frame: a search that steps to and
    fro there finds much the same."""
    problem, _ = make_problem(people=1, frames=300, noise=0.0)
    scene = Variables(problem, estimate_noise(problem), 0.05, [])(problem)
    moved = scene.camera_joints[:, :1].expand(-1, 300, -1, -1).clone()
    moved[:, :, [18, 20]] = 5.0
    moved[:, :, 21] = moved[:, :, 9] * (1.0 if axis else 0.9)
    moved[:, :, 21, axis] += 1e-3 * (-torch.arange(300) if axis else torch.arange(300).flip(0))
    moved[:, :, 19] = moved[:, :, 21]
    facing = facing_joints(dataclasses.replace(scene, camera_joints=moved), problem)[0, :, 9]
    assert facing[0] == 1
    assert facing[-1] == 0
    assert -0.1 < facing.diff().min() <= facing.diff().max() <= 0
    assert 10 < (facing > 0.5).sum() < 290


def test_every_carrying_joint_has_a_contact() -> None:
    problem, _ = make_problem()
    assert contact_joints(problem.bodies) == [7, 8, 10, 11]
