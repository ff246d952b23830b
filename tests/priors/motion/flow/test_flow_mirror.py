"""Motions in a mirror: as features, and what the regression makes of them."""

from __future__ import annotations

import torch
from flow_cases import CONFIG, FRAMES
from motion_windows import smooth_windows, synthetic_windows

from pose_priors.body.skeleton import MIRROR
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.regression.asked import regression_share
from pose_priors.priors.motion.flow.regression.mirror import mirrored_features, mirrored_reference
from pose_priors.priors.motion.flow.regression.model import noisy_joints
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import Motion, Noise, exact, find_reference, motion_of_windows, to_features

WINDOWS = smooth_windows(4, FRAMES)
_SIDES = list(MIRROR[:22])


def _image(motion: Motion) -> Motion:
    """Seen in a mirror across x, without contacts."""
    across = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    turned = motion.rotations[..., _SIDES, :, :] * across[:, None] * across
    return Motion(turned, motion.joints[..., _SIDES, :] * across)


def test_features_of_mirror_images_are_mirrored_features() -> None:
    motion, image = (motion_of_windows(windows) for windows in (WINDOWS, WINDOWS.mirrored()))
    reference, of_image = (find_reference(of, exact(of)) for of in (motion, image))
    found = mirrored_reference(reference)
    torch.testing.assert_close((found.turn, found.origin), (of_image.turn, of_image.origin))
    torch.testing.assert_close(mirrored_features(to_features(motion, reference)), to_features(image, of_image))
    assert not torch.allclose(to_features(motion, reference), to_features(image, of_image), atol=0.05)


def test_the_regression_does_not_tell_left_from_right() -> None:
    """Though its weights do: what is expected of a mirror image is the mirror image of what is expected, and between both answers."""
    torch.manual_seed(0)
    prior = MotionFlow(CONFIG.model_copy(update={"regression_hidden": 32}))
    prior.fit_statistics(synthetic_windows(16, FRAMES))
    with torch.no_grad():
        for parameter in prior.denoiser.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    prior = prior.double().eval().requires_grad_(False)
    seen, noise = noisy_joints(motion_of_windows(WINDOWS), torch.Generator().manual_seed(1))
    noise.rotations[2] = 0.1  # of which the flow is asked, which tells left from right
    asked = regression_share(noise) > 0
    assert asked.any()
    assert not asked[2]
    image, of_image = _image(seen), Noise(noise.rotations[..., _SIDES], noise.joints[..., _SIDES], noise.contacts, noise.path)
    one = prior.restore(seen, noise, bones_of_rest(WINDOWS.rest))
    other = prior.restore(image, of_image, bones_of_rest(WINDOWS.mirrored().rest))
    apart = (_image(one.motion).joints - other.motion.joints).abs().flatten(1).amax(1)
    assert apart[asked].max() < 1e-7
    assert apart[2] > 1e-3
    torch.testing.assert_close(one.joint_std[asked][..., _SIDES], other.joint_std[asked])
