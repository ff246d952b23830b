"""Compiled layers against themselves."""

from __future__ import annotations

import logging
import shutil
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from prior_cases import make_poses
from torch import Tensor, nn
from torch._inductor import config as compiler
from torch._inductor.utils import fresh_cache

from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.networks.compiled import compilable, compiled


class Doubled(nn.Module):
    """A layer that counts how often its own code runs."""

    calls = 0

    @compilable
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 2 * x.sin()


def test_without_a_compiler_it_is_said_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    layer, x = Doubled(), torch.randn(5)
    with fresh_cache(), compiler.patch({"cpp.cxx": (None, "no-such-compiler")}), compiled(), caplog.at_level(logging.WARNING):
        for _ in range(3):
            torch.testing.assert_close(layer(x), 2 * x.sin())
    assert layer.calls >= 3
    (message,) = [record.getMessage() for record in caplog.records if "training.compile" in record.getMessage()]
    assert "\n" not in message


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
def test_a_step_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Dropout too, whose masks are drawn in the same order; and nothing of it stays at the layers."""
    poses = make_poses(12).requires_grad_()
    config = JointFlowConfig(kind="joint_flow", hidden=8, K=1, num_blocks=2, dropout=0.3)
    prior = config.build([1, 16])
    prior.fit_statistics(poses.detach())
    names = list(prior.state_dict())

    def step(mode: AbstractContextManager[None]) -> list[Tensor]:
        torch.manual_seed(0)
        with mode:
            loss = prior.train().loss(poses)["loss"]
        return [loss.detach(), *torch.autograd.grad(loss, [poses, *prior.parameters()])]

    usual = step(nullcontext())
    for expected, found in zip(usual, step(compiled()), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not [record for record in caplog.records if "training.compile" in record.getMessage()]  # it was compiled
    assert list(prior.state_dict()) == names
    assert all(torch.equal(*pair) for pair in zip(step(nullcontext()), usual, strict=True))
