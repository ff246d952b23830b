"""What the prior of clips takes in other types, and refuses in a line."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states

from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import Motion, Noise, motion_of_states


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    return small_prior()


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
@pytest.mark.parametrize("asked", [torch.float16, torch.float32, torch.float64])
def test_motions_of_another_precision_are_restored_in_the_priors(own: torch.dtype, asked: torch.dtype) -> None:
    prior = small_prior().to(own)
    motion = motion_of_states(some_states(2))
    contacts = torch.zeros(2, FRAMES, 9, dtype=asked)
    std = torch.full(motion.joints.shape[:-1], 0.02, dtype=asked)
    for bones in (None, bones_of_rest(prior.rest).expand(2, -1, -1)):
        found = prior.restore(
            Motion(motion.rotations.to(asked), motion.joints.to(asked), contacts),
            Noise.of(std, std),
            None if bones is None else bones.to(asked),
        )
        known = prior.restore(Motion(motion.rotations.to(own), motion.joints.to(own)), Noise.of(std.to(own), std.to(own)), bones)
        assert {value.dtype for value in (found.motion.rotations, found.motion.joints, found.rotation_std, found.joint_std)} == {own}
        torch.testing.assert_close(found.motion.joints, known.motion.joints, rtol=0, atol=1e-4 if asked != torch.float16 else 0.01)


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_bones_that_are_none_are_refused(prior: MotionFlow, value: float) -> None:
    bones = bones_of_rest(prior.rest).repeat(2, 1, 1)
    bones[1] = value
    with pytest.raises(ValueError, match=r"^bones of 1 bodies are not finite, or those of their legs have no length"):
        prior.denoise(some_states(2), 0.02, bones=bones)


def test_what_is_given_is_what_is_not_zero(prior: MotionFlow) -> None:
    states, given = some_states(2), torch.ones(2, FRAMES, 22, dtype=torch.bool)
    given[0, 5:9] = given[1, :, 4] = False
    for mask in (given, given.any(-1), given[0]):
        for dtype in (torch.int64, torch.uint8, torch.float32):
            torch.testing.assert_close(prior.complete(states, mask.to(dtype)), prior.complete(states, mask), rtol=0, atol=0)


def test_what_is_given_of_another_shape_is_refused(prior: MotionFlow) -> None:
    with pytest.raises(ValueError, match=rf"^given is \(2, {FRAMES}, 21\): \(2, {FRAMES}, 22\) of joints, or \(2, {FRAMES}\) of frames"):
        prior.complete(some_states(2), torch.ones(2, FRAMES, 21, dtype=torch.bool))
