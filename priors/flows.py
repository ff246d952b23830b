"""Normalizing flows from nflows' transforms, for both flow priors. The one module that imports nflows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from nflows.transforms import ActNorm, CompositeTransform, LULinear, Transform
from nflows.transforms.coupling import AffineCouplingTransform, PiecewiseRationalQuadraticCouplingTransform
from torch import Tensor, nn

CouplingKind = Literal["affine", "spline"]

# Rotation vectors are no longer than pi, so what a spread of `s` can standardise them to is bounded too, and its compression more so: six
# covers it for every joint that moves by more than a degree. Beyond the bound nflows' splines are the identity.
_TAIL_BOUND = 6.0
_NUM_BINS = 8
_COMPRESSION = 2.0


class TailCompression(Transform):
    """Element by element `y = s asinh(x / s)`: the identity near 0, logarithmic far out.

    A Gaussian in y is log-normal in the tails of x, so a pose at fifty standard deviations costs tens of nats instead of thousands, and
    what the networks see stays small for any rotation.
    """

    def forward(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        scaled = inputs / _COMPRESSION
        return _COMPRESSION * torch.asinh(scaled), -0.5 * torch.log1p(scaled.square()).sum(-1)

    def inverse(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        scaled = inputs / _COMPRESSION
        outputs = _COMPRESSION * torch.sinh(scaled)
        return outputs, torch.log(torch.cosh(scaled)).sum(-1)


class ResidualMLP(nn.Module):
    """The conditioner of a coupling layer: pre-activation residual blocks, the context joined to the input.

    Args:
        num_inputs, num_outputs, hidden: widths.
        linear: makes a linear layer from two widths; a grouped one makes a grouped network.
        num_blocks: residual blocks of two layers each.
        dropout: share of hidden units dropped inside each block in training.
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, hidden: int, linear: Callable[[int, int], nn.Module], num_blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.hidden_features = hidden  # nflows scales a spline's logits by it
        self.first = linear(num_inputs, hidden)
        self.blocks = nn.ModuleList(nn.ModuleList([linear(hidden, hidden), linear(hidden, hidden)]) for _ in range(num_blocks))
        self.last = linear(hidden, num_outputs)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for layer in [self.last, *(block[1] for block in self.blocks)]:
                layer.weight.mul_(0.01)
                layer.bias.mul_(0.01)

    def forward(self, inputs: Tensor, *extra: object) -> Tensor:
        hidden = self.first(inputs, *extra)
        for inner, outer in self.blocks:
            step = inner(nn.functional.silu(hidden), *extra)
            hidden = hidden + outer(self.dropout(nn.functional.silu(step)), *extra)
        return self.last(nn.functional.silu(hidden), *extra)


def coupling(kind: CouplingKind, mask: Sequence[int], make_net: Callable[[int, int], nn.Module]) -> Transform:
    """A coupling layer (Dinh et al., ICLR 2017, or Durkan et al., "Neural Spline Flows", NeurIPS 2019).

    Args:
        mask: 1 for the features to transform, 0 for those that condition.
        make_net: (number of inputs, number of outputs) -> the conditioner, called with (inputs, context).
    """
    mask_tensor = torch.tensor(list(mask))
    if kind == "affine":
        return AffineCouplingTransform(mask_tensor, make_net)
    return PiecewiseRationalQuadraticCouplingTransform(mask_tensor, make_net, num_bins=_NUM_BINS, tails="linear", tail_bound=_TAIL_BOUND)


def actnorm(num_features: int) -> Transform:
    """Activation normalisation (Kingma and Dhariwal, "Glow", NeurIPS 2018); initialised by the first batch that it sees in training mode."""
    return ActNorm(num_features)


def mixing(num_features: int) -> Transform:
    """A learnt invertible linear map in LU form, the identity at first."""
    return LULinear(num_features, identity_init=True)


def compose(transforms: Sequence[Transform]) -> Transform:
    return CompositeTransform(list(transforms))


def standard_normal_log_prob(noise: Tensor) -> Tensor:
    """(..., D) -> (...)"""
    return (-0.5 * noise.square() - 0.5 * math.log(2 * math.pi)).sum(-1)
