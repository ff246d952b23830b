"""The critic tells real transitions from negatives, in that order, and what it says is called what it is."""

from __future__ import annotations

import math

import pytest
import torch
from cvae_cases import CONFIG, WINDOWS, started, states_of_people

from pose_priors.priors.motion.cvae import MotionCVAE
from pose_priors.priors.motion.negatives import central, negative_motions
from pose_priors.priors.motion.transition import Transition


def _states(prior: MotionCVAE) -> tuple[torch.Tensor, torch.Tensor]:
    num_frames = prior.config.window + 2
    return central(WINDOWS, num_frames).states(), negative_motions(WINDOWS, num_frames, torch.Generator().manual_seed(0)).states()


def _pairs(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1)


def test_real_is_the_class_of_high_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = started(CONFIG)
    real, negative = _states(prior)
    found = prior.transition(*_pairs(real))

    def loss_if(of_real: float, of_negative: float) -> float:
        def ratio(self: MotionCVAE, of: Transition, parts: torch.Tensor) -> torch.Tensor:
            return torch.full_like(parts[:, 0], of_real if of is found else of_negative)

        monkeypatch.setattr(MotionCVAE, "_ratio", ratio)
        return float(prior._critic_loss(found, negative))

    softplus = [math.log1p(math.exp(value)) for value in (-3.0, -2.0)]
    assert loss_if(3.0, -2.0) == pytest.approx(sum(softplus) / 2, rel=1e-5)
    assert loss_if(-3.0, 2.0) > 2


def test_a_trained_critic_prefers_what_is_real() -> None:
    prior = started(CONFIG).train()
    real, negative = _states(prior)
    optimizer = torch.optim.Adam(prior.critic.parameters(), 3e-3)
    with torch.no_grad():
        found = prior.transition(*_pairs(real))
    for _ in range(60):
        optimizer.zero_grad()
        prior._critic_loss(found, negative).backward()
        optimizer.step()
    prior.eval()
    with torch.no_grad():
        gap = prior.transition_plausibility(real).mean() - prior.transition_plausibility(negative).mean()
    assert float(gap) > 1


def test_the_old_name_is_forwarded_and_says_so() -> None:
    prior, states = started(CONFIG), states_of_people()
    with pytest.warns(FutureWarning, match="no log-density"):
        old = prior.transition_log_prob(states, by="stance")
    assert torch.equal(old, prior.transition_plausibility(states, by="stance"))


@pytest.mark.parametrize("by", ["evidence", ""])
def test_an_unknown_criterion_is_refused_in_one_line(by: str) -> None:
    with pytest.raises(ValueError, match="contrast, surrogate, stance") as caught:
        started(CONFIG).transition_plausibility(states_of_people(), by=by)
    assert "\n" not in str(caught.value)
