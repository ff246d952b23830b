"""What is worked out of a kernel mixture and kept is of the mixture as it is."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from prior_cases import make_poses
from torch import Tensor, nn
from torch.func import functional_call

from pose_priors.priors.mixture import Mixture, MixtureConfig


@cache
def _prior() -> Mixture:
    config = MixtureConfig(kind="mixture", num_components=[3, 2], widths=[0.6, 1.0], covariance_floors=[1e-3])
    prior = config.build((16, 18, 20))
    prior.fit_statistics(make_poses(400))
    return prior.double().eval().requires_grad_(False)


class _Density(nn.Module):
    def __init__(self, prior: Mixture) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, pose: Tensor) -> Tensor:
        return self.prior.log_prob(pose)


def _swapped(prior: Mixture, buffers: dict[str, Tensor]) -> None:
    for name, buffer in buffers.items():
        setattr(prior.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], buffer)


@pytest.mark.parametrize("change", ["written to", "replaced", "replaced without versions", "loaded", "for one call"])
def test_what_was_worked_out_is_of_the_mixture_as_it_is(change: str) -> None:
    """Factors are kept from call to call, and forgotten where the mixture is another one."""
    prior, other, poses = copy.deepcopy(_prior()), copy.deepcopy(_prior()), make_poses(5, seed=3).double()
    other.kernels.mean.add_(0.1)
    other.kernels.centres.add_(0.1)
    other.kernels.group.copy_(other.kernels.group.flip(1))
    _swapped(prior, {name: buffer.clone() for name, buffer in prior.named_buffers()})  # of the same version as what takes their place
    wanted, before, buffers = other.log_prob(poses), prior.log_prob(poses), dict(other.named_buffers())
    assert (wanted - before).abs().min() > 1e-3
    if change == "written to":
        for name, buffer in prior.named_buffers():
            buffer.copy_(buffers[name])
    elif change == "replaced":
        _swapped(prior, {name: buffer.clone() for name, buffer in buffers.items()})
    elif change == "replaced without versions":
        with torch.inference_mode():
            torch.testing.assert_close(prior.log_prob(poses), before)
            _swapped(prior, {name: buffer.clone() for name, buffer in buffers.items()})
    elif change == "loaded":
        prior.load_state_dict(other.state_dict())
    else:
        of_call = {f"prior.{name}": buffer for name, buffer in buffers.items()}
        torch.testing.assert_close(functional_call(_Density(prior), of_call, (poses,)), wanted)
        wanted = before
    torch.testing.assert_close(prior.log_prob(poses), wanted)
