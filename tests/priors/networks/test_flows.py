"""The flows' building blocks against autograd, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from prior_cases import HINGES, make_poses
from torch import Tensor, nn

from pose_priors.priors.networks.flows import (
    ConditionerMLP,
    CouplingKind,
    TailCompression,
    actnorm,
    compose,
    coupling,
    mixing,
    standard_normal_log_prob,
)
from pose_priors.priors.standardize import MIN_STD, Whitening


def _log_det_by_autograd(function, inputs: Tensor) -> Tensor:
    """log |det| of d function / d input, row by row."""
    rows = [torch.autograd.functional.jacobian(lambda x: function(x[None])[0], row) for row in inputs]
    return torch.linalg.slogdet(torch.stack(rows)).logabsdet


def _net(num_inputs: int, num_outputs: int) -> nn.Module:
    net = ConditionerMLP(num_inputs, num_outputs, 8, nn.Linear, 1, 0.0)

    class WithoutContext(nn.Module):
        hidden_features = 8

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, inputs: Tensor, context: object) -> Tensor:
            return self.net(inputs)

    return WithoutContext()


def _randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


MASK = [1, 0, 1, 0]
LAYERS = {
    "compression": TailCompression,
    "affine": lambda: coupling("affine", MASK, _net),
    "spline": lambda: coupling("spline", MASK, _net),
    "mixing": lambda: mixing(4),
    "actnorm": lambda: actnorm(4),
    "composed": lambda: compose([TailCompression(), actnorm(4), mixing(4), coupling("affine", MASK, _net), coupling("spline", MASK, _net)]),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_log_determinant_and_inverse(layer: str, scale: float) -> None:
    torch.manual_seed(0)
    transform = _randomised(LAYERS[layer]())
    inputs = scale * torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    outputs, log_det = transform(inputs)
    torch.testing.assert_close(log_det, _log_det_by_autograd(lambda x: transform(x)[0], inputs))
    back, inverse_log_det = transform.inverse(outputs)
    torch.testing.assert_close(back, inputs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_coupling_moves_what_the_mask_names_and_looks_at_the_rest(kind: CouplingKind) -> None:
    layer = _randomised(coupling(kind, MASK, _net))
    inputs = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs, _ = layer(inputs)
    assert torch.equal(outputs[:, 1::2], inputs[:, 1::2])
    assert (outputs[:, ::2] != inputs[:, ::2]).all()
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0][0], inputs[0])
    assert jacobian[0, 2] == jacobian[2, 0] == 0
    assert (jacobian[::2, 1::2] != 0).all()


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_coupling_can_stretch_as_well_as_shrink(kind: CouplingKind) -> None:
    """A conditional that is ten times as sharp as the marginal needs a slope of ten somewhere."""
    torch.manual_seed(0)
    layer = coupling(kind, [1, 0], _net)
    optimizer = torch.optim.Adam(layer.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        given = torch.randn(256, 1, generator=generator)
        inputs = torch.cat([given + 0.1 * torch.randn(256, 1, generator=generator), given], 1)
        noise, log_det = layer(inputs)
        loss = -(standard_normal_log_prob(noise) + log_det).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # the truth: the entropy of the standard normal, plus that of a normal of 0.1
    truth = 2 * 1.41894 - 2.30259
    assert loss.item() < truth + 0.7


def test_spline_is_the_identity_beyond_its_bound_and_compression_bends_only_far_out() -> None:
    layer = _randomised(coupling("spline", MASK, _net))
    far = torch.tensor([[7.0, 0.1, -9.0, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(layer(far)[0], far)
    small, large = torch.full((1, 1), 0.01, dtype=torch.float64), torch.full((1, 1), 1e3, dtype=torch.float64)
    torch.testing.assert_close(TailCompression()(small)[0], small, rtol=1e-4, atol=0)
    assert float(TailCompression()(large)[0]) < 20


def test_compression_undoes_what_a_whitened_rotation_can_reach_and_no_draw_overflows() -> None:
    reach = torch.tensor([[2 * 3.15 / MIN_STD, -2 * 3.15 / MIN_STD]], dtype=torch.float64)
    compressed, _ = TailCompression()(reach)
    torch.testing.assert_close(TailCompression().inverse(compressed)[0], reach)
    outputs, log_det = TailCompression().inverse(torch.tensor([[1e6, -1e30]]))
    assert torch.isfinite(outputs).all()
    assert torch.isfinite(log_det).all()


def test_actnorm_normalises_its_first_batch_once_and_a_reloaded_one_does_not_start_again() -> None:
    batch = 3 + 2 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    layer = actnorm(4)
    outputs, _ = layer.train()(batch)
    torch.testing.assert_close(outputs.mean(0), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(outputs.std(0), torch.ones(4), rtol=0, atol=1e-4)
    state = copy.deepcopy(layer.state_dict())
    layer(10 * batch)
    again = actnorm(4)
    again.load_state_dict(state)
    again.train()(10 * batch)
    for key, value in state.items():
        assert torch.equal(layer.state_dict()[key], value), key
        assert torch.equal(again.state_dict()[key], value), key
    untouched = actnorm(4).eval()
    torch.testing.assert_close(untouched(batch)[0], batch)


def test_actnorm_leaves_features_that_do_not_move_alone() -> None:
    batch = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    batch[:, 1] = 0
    outputs, log_det = actnorm(2).train()(batch)
    assert torch.isfinite(outputs).all()
    assert torch.equal(outputs[:, 1], batch[:, 1])
    assert torch.isfinite(log_det).all()


def test_standard_normal() -> None:
    noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1)
    torch.testing.assert_close(standard_normal_log_prob(noise), expected)


def test_whitening_gives_zero_mean_unit_covariance_and_its_log_determinant() -> None:
    rotvec = make_poses(3000)[:, [1, 16, 20]].double()
    whitening = Whitening(3).double()
    whitening.fit(rotvec)
    white, log_det = whitening(rotvec)
    for j in range(3):
        torch.testing.assert_close(white[:, j].mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
        torch.testing.assert_close(torch.cov(white[:, j].T), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)
        expected = _log_det_by_autograd(lambda x, j=j: whitening(x.expand(3, 3)[None])[0][0, j][None], rotvec[:2, j])
        torch.testing.assert_close(log_det[j].expand(2), expected)
    torch.testing.assert_close(whitening.inverse(white), rotvec)
    some = torch.tensor([2, 0])
    torch.testing.assert_close(whitening.inverse(white[:, some], some), rotvec[:, some])


def test_whitening_of_a_hinge_and_of_a_constant_joint_is_bounded() -> None:
    rotvec = make_poses(300)[:, [HINGES[0], 22]].double()
    whitening = Whitening(2).double()
    whitening.fit(rotvec)
    white, log_det = whitening(rotvec + MIN_STD)
    assert torch.isfinite(log_det).all()
    torch.testing.assert_close(white[:, 0, 1:], torch.ones(300, 2, dtype=torch.float64))
    torch.testing.assert_close(white[:, 1], torch.ones(300, 3, dtype=torch.float64))
