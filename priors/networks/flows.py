"""Normalizing flows from nflows' transforms, for both flow priors. The one module that imports nflows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from nflows.transforms import ActNorm, CompositeTransform, LULinear, Transform
from nflows.transforms.coupling import AffineCouplingTransform, PiecewiseRationalQuadraticCouplingTransform
from torch import Tensor, nn

from pose_priors.priors.networks.compiled import compilable
from pose_priors.priors.networks.dropout import Dropout
from pose_priors.priors.networks.precision import within_range, without_autocast
from pose_priors.priors.networks.splines import inverse_rational_quadratic_spline, rational_quadratic_spline

CouplingKind = Literal["affine", "spline"]

# Rotation vectors are no longer than pi, so what a spread of `s` can standardise them to is bounded too, and its compression more so: six
# covers it for every joint that moves by more than a degree. Beyond the bound nflows' splines are the identity.
TAIL_BOUND = 6.0
NUM_BINS = 8
_COMPRESSION = 2.0
_MAX_LOG_SCALE = 3.0
# No rotation compresses to more than this (a turn of pi in a direction that does not move stays just below); a net that extrapolates while
# sampling may ask for more, which sinh would take to infinity.
_MAX_COMPRESSED = 15.0
# Whitened features have unit spread; one with less than this does not move in the data, and scaling it to one would only blow up what the
# untrained networks add to it, or divide by zero.
_MIN_SPREAD = 0.1


def compress(inputs: Tensor) -> Tensor:
    """Element by element `y = s asinh(x / s)`: the identity near 0, logarithmic far out."""
    return _COMPRESSION * torch.asinh(inputs / _COMPRESSION)


class TailCompression(Transform):  # type: ignore[misc]  # nflows has no types
    """`compress` as a transform.

    A Gaussian in y is log-normal in the tails of x, so a pose at fifty standard deviations costs tens of nats instead of thousands, and
    what the networks see stays small for any rotation.
    """

    def forward(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        return compress(inputs), -0.5 * torch.log1p((inputs / _COMPRESSION).square()).sum(-1)

    def inverse(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        """(N, D) -> the inputs of `forward`, and the log-determinants of this map (N,)."""
        scaled = inputs.clamp(-_MAX_COMPRESSED, _MAX_COMPRESSED) / _COMPRESSION
        outputs = _COMPRESSION * torch.sinh(scaled)
        return outputs, torch.log(torch.cosh(scaled)).sum(-1)


class ConditionerMLP(nn.Module):
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
        self.first = linear(num_inputs, hidden)
        blocks = [nn.ModuleList([linear(hidden, hidden), linear(hidden, hidden)]) for _ in range(num_blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.last = linear(hidden, num_outputs)
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            for layer in [self.last, *(block[1] for block in blocks)]:
                for parameter in layer.parameters():
                    parameter.mul_(0.01)

    def forward(self, inputs: Tensor, *extra: object) -> Tensor:
        hidden = self.first(inputs, *extra)
        masks = self.dropout.drawn(len(self.blocks), hidden)
        for (inner, outer), kept in zip((cast(nn.ModuleList, block) for block in self.blocks), masks, strict=True):
            step = inner(nn.functional.silu(hidden), *extra)
            hidden = hidden + outer(self.dropout(nn.functional.silu(step), kept), *extra)
        outputs: Tensor = self.last(nn.functional.silu(hidden), *extra)
        return outputs.to(inputs.dtype)  # wide again, whatever autocast does inside


class _AffineCoupling(AffineCouplingTransform):  # type: ignore[misc]
    """nflows' affine coupling, but its scale goes both ways, not only down: a sharp conditional has to be stretched. It writes into nothing
    that was there before, so that its gradient can be traced."""

    def forward(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        given, moved, log_scale, shift = self._parts(inputs, context)
        return self._joined(given, moved * log_scale.exp() + shift), log_scale.sum(1)

    def inverse(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        """(N, D) -> the inputs of `forward`, and the log-determinants of this map (N,)."""
        given, moved, log_scale, shift = self._parts(inputs, context)
        return self._joined(given, (moved - shift) / log_scale.exp()), -log_scale.sum(1)

    def _parts(self, inputs: Tensor, context: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        given = inputs.index_select(1, self.identity_features)
        shift, raw = self.transform_net(given, context).chunk(2, 1)
        return given, inputs.index_select(1, self.transform_features), _MAX_LOG_SCALE * torch.tanh(raw / _MAX_LOG_SCALE), shift

    def _joined(self, given: Tensor, moved: Tensor) -> Tensor:
        order = torch.cat([self.identity_features, self.transform_features]).argsort()
        return torch.cat([given, moved], 1).index_select(1, order)


class _SplineCoupling(PiecewiseRationalQuadraticCouplingTransform):  # type: ignore[misc]
    """nflows' spline coupling with our splines, with features first and rows last in memory: (D, N), seen as (N, D)."""

    @compilable
    def forward(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        return self._transformed(rational_quadratic_spline, inputs, context)

    def inverse(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        """(N, D) -> the inputs of `forward`, and the log-determinants of this map (N,)."""
        return self._transformed(inverse_rational_quadratic_spline, inputs, context)

    def _transformed(self, spline: Callable[..., tuple[Tensor, Tensor]], inputs: Tensor, context: object) -> tuple[Tensor, Tensor]:
        columns = inputs.t()
        given = columns.index_select(0, self.identity_features)
        parameters = self.transform_net(given.t(), context).t().contiguous().unflatten(0, (self.num_transform_features, -1))
        scale = 1 / math.sqrt(self.transform_net.hidden_features)
        moved, log_slopes = spline(columns.index_select(0, self.transform_features), parameters, NUM_BINS, TAIL_BOUND, scale)
        order = torch.cat([self.identity_features, self.transform_features]).argsort()
        return torch.cat([given, moved]).index_select(0, order).t(), log_slopes.sum(0)


def coupling(kind: CouplingKind, mask: Sequence[int], make_net: Callable[[int, int], nn.Module]) -> Transform:
    """A coupling layer (Dinh et al., ICLR 2017, or Durkan et al., "Neural Spline Flows", NeurIPS 2019).

    Args:
        mask: 1 for the features to transform, 0 for those that condition.
        make_net: (number of inputs, number of outputs) -> the conditioner, called with (inputs, context).
    """
    mask_tensor = torch.tensor(list(mask))
    if kind == "affine":
        return _AffineCoupling(mask_tensor, make_net)
    return _SplineCoupling(mask_tensor, make_net, num_bins=NUM_BINS, tails="linear", tail_bound=TAIL_BOUND)


class _ActNorm(ActNorm):  # type: ignore[misc]
    """nflows' activation normalisation, but features that do not move, such as a hinge's other two axes, keep their scale."""

    @torch.no_grad()
    def _initialize(self, inputs: Tensor) -> None:
        std = inputs.std(0)
        std = torch.where(std < _MIN_SPREAD, torch.ones_like(std), std)
        self.log_scale.copy_(-std.log())
        self.shift.copy_(-(inputs / std).mean(0))
        self.initialized.fill_(True)


class _Mixing(LULinear):  # type: ignore[misc]
    """nflows' linear map, in its own precision whatever autocast asks for: it moves features, and weighs nothing."""

    def forward(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        with without_autocast(inputs):
            moved: tuple[Tensor, Tensor] = super().forward(inputs, context)
            return moved

    def inverse(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        """(N, D) -> the inputs of `forward`, and the log-determinants of this map (N,)."""
        with without_autocast(inputs):
            moved: tuple[Tensor, Tensor] = super().inverse(inputs, context)
            return moved


class _Flow(CompositeTransform):  # type: ignore[misc]
    """nflows' composition; out of training it leaves float16, see `within_range`."""

    @within_range
    def forward(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        passed: tuple[Tensor, Tensor] = super().forward(inputs, context)
        return passed

    @within_range
    def inverse(self, inputs: Tensor, context: object = None) -> tuple[Tensor, Tensor]:
        """(N, D) -> the inputs of `forward`, and the log-determinants of this map (N,)."""
        passed: tuple[Tensor, Tensor] = super().inverse(inputs, context)
        return passed


def actnorm(num_features: int) -> Transform:
    """Activation normalisation (Kingma and Dhariwal, NeurIPS 2018); initialised by the first batch that it sees in training mode."""
    return _ActNorm(num_features)


def mixing(num_features: int) -> Transform:
    """A learnt invertible linear map in LU form, the identity at first."""
    return _Mixing(num_features, identity_init=True)


def compose(transforms: Sequence[Transform]) -> Transform:
    """The transforms one after another, from data to noise."""
    return _Flow(list(transforms))


def standard_normal_log_prob(noise: Tensor) -> Tensor:
    """(..., D) -> (...)"""
    return (-0.5 * noise.square() - 0.5 * math.log(2 * math.pi)).sum(-1)
