"""Constants of buffers, worked out once: they follow whatever happens to the buffer."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import Tensor

from pose_priors.priors.networks.derived import Derived
from pose_priors.priors.standardize import Whitening

_CALLS = []


def _doubled(buffer: Tensor) -> tuple[Tensor, ...]:
    _CALLS.append(buffer)
    return (2 * buffer,)


def test_it_is_worked_out_once_for_a_content() -> None:
    _CALLS.clear()
    derived, buffer = Derived(_doubled), torch.ones(3)
    for _ in range(3):
        torch.testing.assert_close(derived.of(buffer)[0], torch.full((3,), 2.0, dtype=torch.float64))
    assert len(_CALLS) == 1
    buffer.copy_(torch.full((3,), 5.0))
    torch.testing.assert_close(derived.of(buffer)[0], torch.full((3,), 10.0, dtype=torch.float64))
    derived.of(buffer.clone())
    assert len(_CALLS) == 3


def test_what_is_kept_from_inference_serves_in_training() -> None:
    derived, buffer, weight = Derived(_doubled), torch.ones(3), torch.ones(3, dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        derived.of(buffer)
    (weight * derived.of(buffer)[0]).sum().backward()
    with torch.inference_mode():
        torch.testing.assert_close(derived.of(torch.ones(2))[0], torch.full((2,), 2.0, dtype=torch.float64))


def test_whitening_follows_fits_loads_copies_and_casts() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (scale * torch.randn(500, 2, 3, generator=generator) for scale in (1.0, 0.1))
    whitening, other = Whitening(2), Whitening(2)
    whitening.fit(first)
    one = whitening(first)
    other.fit(second)
    other(second)
    other.load_state_dict(whitening.state_dict())
    for same in (other, copy.deepcopy(whitening), pickle.loads(pickle.dumps(whitening))):
        torch.testing.assert_close(same(first), one, rtol=0, atol=0)
    whitening.fit(second)
    white, log_det = whitening(second)
    torch.testing.assert_close(white.std(0), torch.ones(2, 3), rtol=0, atol=1e-2)
    torch.testing.assert_close(log_det, -torch.linalg.slogdet(whitening.factor).logabsdet)
    double = copy.deepcopy(whitening).double()
    torch.testing.assert_close(double.inverse(double(second.double())[0]), second.double(), rtol=0, atol=1e-12)
