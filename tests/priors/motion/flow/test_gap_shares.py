"""How far networks are believed of gaps, beside the Gaussian process."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states

from pose_priors.body.motion_state import joints_of
from pose_priors.priors.motion.flow import restoring
from pose_priors.priors.motion.flow.denoiser import Expected
from pose_priors.priors.motion.flow.regression.asked import network_share
from pose_priors.priors.motion.flow.restoring import believed
from pose_priors.priors.motion.flow.view import CONTACTS, NUM_FEATURES, NUM_GROUPS, Noise


def test_short_gaps_are_the_process_s_by_half_and_long_ones_the_network_s() -> None:
    std = torch.zeros(6, FRAMES, 22, dtype=torch.float64)
    std[1, 6:9] = std[2, 6:18] = std[3, 1:] = torch.inf
    std[4, 6:9, 4:] = torch.inf  # no whole frame
    std[5, 6:9], std[5, 0, 3] = torch.inf, 0.05  # something with noise
    wanted = [1, 0.5 + 0.75 * 3 / FRAMES, 0.5 + 0.75 * 12 / FRAMES, 1, 1, 1]
    assert network_share(Noise.of(std, std)).tolist() == pytest.approx(wanted)


def test_bodies_lie_between_both_and_contacts_are_the_network_s() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, smooth = (torch.randn(3, FRAMES, NUM_FEATURES, generator=generator) for _ in range(2))
    smooth[2] = torch.nan  # which nobody asks
    std = torch.ones(3, FRAMES, NUM_GROUPS)
    found = believed(Expected(mean, std, smooth, std), torch.tensor([0.0, 0.75, 1.0])).mean
    torch.testing.assert_close(found[0, :, : CONTACTS.start], smooth[0, :, : CONTACTS.start])
    torch.testing.assert_close(found[1, :, : CONTACTS.start], (0.75 * mean + 0.25 * smooth)[1, :, : CONTACTS.start])
    torch.testing.assert_close(found[2], mean[2])
    torch.testing.assert_close(found[..., CONTACTS], mean[..., CONTACTS])


def test_gaps_are_asked_of_the_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, states = small_prior(), some_states()
    given = torch.ones(3, FRAMES, dtype=torch.bool)
    given[:, 8:14] = False
    found = joints_of(prior.complete(states, given))
    monkeypatch.setattr(restoring, "network_share", lambda noise: noise.joints.new_ones(len(noise.joints)))
    network = joints_of(prior.complete(states, given))
    assert (found - network)[:, 8:14].abs().flatten(1).amax(1).min() > 1e-4
    torch.testing.assert_close(found[given], network[given], rtol=0, atol=0)
