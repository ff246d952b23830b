"""What is worked out of a kernel mixture and kept is of the mixture as it is."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from functools import cache
from threading import Event, Thread

import pytest
import torch
from prior_cases import make_poses
from torch import Tensor, nn
from torch.func import functional_call

from pose_priors.priors.gaussians.keeping import Kept
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


CHANGES = ["written to", "replaced", "replaced without versions", "loaded", "loaded without versions", "for one call"]


@pytest.mark.parametrize("change", CHANGES)
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
    elif change == "loaded without versions":
        with torch.inference_mode():
            prior = copy.deepcopy(prior)  # of tensors whose changes nobody counts
            torch.testing.assert_close(prior.log_prob(poses), before)
            prior.load_state_dict(other.state_dict())
    elif change == "loaded":
        prior.load_state_dict(other.state_dict())
    else:
        of_call = {f"prior.{name}": buffer for name, buffer in buffers.items()}
        torch.testing.assert_close(functional_call(_Density(prior), of_call, (poses,)), wanted)
        wanted = before
    torch.testing.assert_close(prior.log_prob(poses), wanted)


def test_copies_work_out_their_own() -> None:
    prior = _prior()
    prior.log_prob(make_poses(2).double())
    for copied in (copy.deepcopy(prior), pickle.loads(pickle.dumps(prior))):
        assert prior.kernels._kept._known
        assert not copied.kernels._kept._known
        assert not copied.kernels._rows_kept._known


def test_the_latest_few_are_kept() -> None:
    made, kept, tensor = list[int](), Kept(2), torch.zeros(1)

    def get(key: int) -> int:
        return kept.get(key, (tensor,), lambda: made.append(key) or key, lambda _: tensor)

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]  # the second went, as the first was asked for since
    tensor.add_(1)
    get(1)
    assert made == [1, 2, 3, 2, 1]
    kept.get(1, (tensor, tensor), lambda: made.append(9), lambda _: tensor)
    assert made[-1] == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="of systems that fork alone")
def test_a_process_that_was_forked_waits_for_no_thread_that_it_has_not() -> None:
    inside, done = Event(), Event()

    def long() -> None:
        inside.set()
        done.wait(20)

    other = Thread(target=lambda: Kept(1).get(1, (), long, lambda _: torch.zeros(1)))
    other.start()
    inside.wait(20)
    if not (child := os.fork()):
        signal.alarm(10)
        Kept(1).get(1, (), lambda: 1, lambda _: torch.zeros(1))
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    done.set()
    other.join()
    assert ended == 0
