"""Monotone rational-quadratic splines with a gradient of their own (Durkan et al., "Neural Spline Flows", NeurIPS 2019)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pose_priors.priors.networks.derived import is_traced

# Smallest share of a bin's width and height, and smallest slope at a knot: those of the reference implementation.
_MIN_SHARE = 1e-3
_MIN_SLOPE = 1e-3
# What softplus takes to a slope of one, less the smallest: the slope of the tails.
_TAIL_LOGIT = math.log(math.expm1(1 - _MIN_SLOPE))


class _Bin(NamedTuple):
    """The bin of each input, (D, N) each: its left lower corner, width and height, and the logits of the slopes at both ends."""

    left: Tensor
    bottom: Tensor
    width: Tensor
    height: Tensor
    slope_logits: Tensor  # (D, 2, N)


def num_parameters(num_bins: int) -> int:
    """How many parameters a spline has: widths, heights, and the slopes between bins."""
    return 3 * num_bins - 1


def rational_quadratic_spline(inputs: Tensor, parameters: Tensor, num_bins: int, bound: float, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """A monotone map of each input with knots of its own, the identity beyond the bound. Its first gradient is in closed form.

    Args:
        inputs: (D, N).
        parameters: (D, `num_parameters`, N): logits of the bins' widths, of their heights, and of the slopes between bins.
        bound: the bins cover [-bound, bound] on both axes.
        scale: what the logits of widths and heights are multiplied with.
    Returns:
        (D, N) and the logarithms of the slopes, (D, N).
    """
    if is_traced():
        outputs, log_slope, *_ = _evaluate(inputs, parameters, num_bins, bound, scale)
        return outputs, log_slope
    outputs, log_slope, *_ = _Spline.apply(inputs, parameters, num_bins, bound, scale)  # type: ignore[no-untyped-call]
    return outputs, log_slope


def inverse_rational_quadratic_spline(
    outputs: Tensor, parameters: Tensor, num_bins: int, bound: float, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The inputs of `rational_quadratic_spline`, and the logarithms of the slopes of this map; differentiable."""
    table, _ = _table(parameters, num_bins, bound, scale)
    index = (outputs.unsqueeze(1) >= table[:, 1, 1:num_bins]).sum(1)
    left, bottom, width, height, slope_logits = _look_up(table, index)
    first, second = (functional.softplus(slope_logits) + _MIN_SLOPE).unbind(1)
    inside = outputs.abs() <= bound
    above = torch.where(inside, outputs - bottom, 0)
    slope = height / width
    bend = first + second - 2 * slope
    b = height * first - above * bend
    discriminant = b.square() - 4 * (above * bend + height * (slope - first)) * (-slope * above)
    share = 2 * slope * above / (b + discriminant.clamp_min(0).sqrt())
    mixed = share * (1 - share)
    numerator = second * share.square() + 2 * slope * mixed + first * (1 - share).square()
    log_slope = 2 * (slope / (slope + bend * mixed)).log() + numerator.log()
    return torch.where(inside, share * width + left, outputs), torch.where(inside, -log_slope, 0)


def _table(parameters: Tensor, num_bins: int, bound: float, scale: float) -> tuple[Tensor, Tensor]:
    """What holds at each knot, (D, 3, num_bins + 1, N): abscissa, ordinate, logit of the slope; and the shares (D, 2, num_bins, N)."""
    logits, slopes = parameters.split([2 * num_bins, num_bins - 1], 1)
    shares = torch.softmax(scale * logits.unflatten(1, (2, num_bins)), 2)
    steps = torch.arange(1, num_bins, dtype=parameters.dtype, device=parameters.device)
    offsets = (2 * bound * _MIN_SHARE * steps - bound).view(-1, 1)
    knots = torch.cumsum(shares[:, :, :-1], 2) * (2 * bound * (1 - _MIN_SHARE * num_bins)) + offsets
    inner = torch.cat([knots, slopes.unsqueeze(1)], 1)
    first, last = (
        parameters.new_tensor([end, end, _TAIL_LOGIT]).view(3, 1, 1).expand(len(parameters), 3, 1, parameters.shape[-1])
        for end in (-bound, bound)
    )
    return torch.cat([first, inner, last], 2), shares


def _look_up(table: Tensor, index: Tensor) -> _Bin:
    """(D, 3, K + 1, N) and the bins (D, N)."""
    both = torch.stack([index, index + 1], 1).unsqueeze(1).expand(-1, 3, -1, -1)
    abscissas, ordinates, slope_logits = table.gather(2, both).unbind(1)
    (left, right), (bottom, top) = abscissas.unbind(1), ordinates.unbind(1)
    return _Bin(left, bottom, right - left, top - bottom, slope_logits)


def _evaluate(inputs: Tensor, parameters: Tensor, num_bins: int, bound: float, scale: float) -> tuple[Tensor, ...]:
    """`rational_quadratic_spline`'s two results, and what its gradient is made of."""
    table, shares = _table(parameters, num_bins, bound, scale)
    passed = (inputs.unsqueeze(1) >= table[:, 0, 1:num_bins]).to(inputs.dtype)  # the bins to the left of the input's own
    index = passed.sum(1).long()
    found = _look_up(table, index)
    inside = inputs.abs() <= bound
    slopes = functional.softplus(found.slope_logits) + _MIN_SLOPE
    share = (inputs - found.left) / found.width * inside  # zero outside: what follows stays finite, and is not used
    first, second = slopes.unbind(1)
    slope = found.height / found.width
    mixed = share * (1 - share)
    denominator = slope + (first + second - 2 * slope) * mixed
    risen = slope * share.square() + first * mixed
    numerator = second * share.square() + 2 * slope * mixed + first * (1 - share).square()
    outputs = torch.where(inside, found.bottom + found.height * risen / denominator, inputs)
    log_slope = torch.log((slope / denominator).square() * numerator) * inside
    return outputs, log_slope, shares, passed, index, inside, slopes, share, *found, slope, mixed, denominator, risen, numerator


class _Spline(torch.autograd.Function):
    """Forward and, by the chain rule through the one bin that each input is in, backward; what the latter needs comes out beside."""

    @staticmethod
    def forward(inputs: Tensor, parameters: Tensor, num_bins: int, bound: float, scale: float) -> tuple[Tensor, ...]:
        return _evaluate(inputs, parameters, num_bins, bound, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.shape = inputs[2:]
        parts = output[2:]
        ctx.num_parts = len(parts)
        ctx.mark_non_differentiable(*parts)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2], *parts)
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Rows are independent, so those of all members of a batch stand side by side."""
        size = info.batch_size
        rows = [
            (value.unsqueeze(-1).expand(*value.shape, size) if dim is None else value.movedim(dim, -1)).flatten(-2)
            for value, dim in zip(args[:2], in_dims[:2], strict=True)
        ]
        outputs = [value.unflatten(-1, (-1, size)) for value in _Spline.apply(*rows, *args[2:])]  # type: ignore[no-untyped-call]
        return tuple(outputs), tuple(value.dim() - 1 for value in outputs)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, parameters = ctx.saved_tensors[:2]
        given = tuple(
            torch.zeros_like(value) if tangent is None else tangent
            for value, tangent in zip((inputs, parameters), tangents[:2], strict=True)
        )
        moved = torch.func.jvp(lambda *values: _evaluate(*values, *ctx.shape)[:2], (inputs, parameters), given)[1]
        return *moved, *[None] * ctx.num_parts

    @staticmethod
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_log_slope: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        inputs, parameters, shares, passed, index, inside, slopes, share, *rest = ctx.saved_tensors
        grad_outputs, grad_log_slope = (torch.zeros_like(inputs) if grad is None else grad for grad in (grad_outputs, grad_log_slope))
        num_bins, bound, scale = ctx.shape
        if torch.is_grad_enabled():  # the gradient may be differentiated again, or is that of a transformed function
            pull = torch.func.vjp(lambda *values: _evaluate(*values, *ctx.shape)[:2], inputs, parameters)[1]
            return *pull((grad_outputs, grad_log_slope)), None, None, None
        left, bottom, width, height, slope_logits, slope, mixed, denominator, risen, numerator = rest
        first, second = slopes.unbind(1)
        by_output, by_log = grad_outputs * inside, grad_log_slope * inside
        # the derivatives of the output, h A / d, and of its log-slope, 2 log s + log q - 2 log d, by what they are made of
        by_numerator = by_log / numerator
        by_risen = by_output * height / denominator
        by_denominator = -(by_risen * risen + 2 * by_log) / denominator
        remaining = 1 - share
        by_slope = by_risen * share.square() + by_denominator * (1 - 2 * mixed) + 2 * by_numerator * mixed + 2 * by_log / slope
        by_ends = by_denominator * mixed
        by_first = by_ends + by_risen * mixed + by_numerator * remaining.square()
        by_second = by_ends + by_numerator * share.square()
        bend = first + second - 2 * slope
        by_mixed = by_denominator * bend + by_risen * first + 2 * slope * by_numerator
        by_share = (
            by_mixed * (1 - 2 * share) + 2 * (by_risen * slope + by_numerator * second) * share - 2 * by_numerator * first * remaining
        )
        by_input = by_share / width
        by_width = -by_input * share - by_slope * slope / width
        by_height = by_output * risen / denominator + by_slope / width
        # a bin's share moves the knot to its right and all after it: first those of the bins passed, then of the bin itself
        by_start = torch.stack([-by_input, by_output], 1)
        by_size = torch.stack([by_width, by_height], 1)
        size = torch.stack([width, height], 1)
        start = torch.stack([left, bottom], 1)
        unit = 2 * bound * _MIN_SHARE
        mean = by_start * (start + bound - unit * index.to(left.dtype).unsqueeze(1)) + by_size * (size - unit)
        whole = 2 * bound * (1 - _MIN_SHARE * num_bins)
        grad = torch.empty(len(left), num_parameters(num_bins), left.shape[-1], dtype=left.dtype, device=left.device)
        of_logits = grad[:, : 2 * num_bins].unflatten(1, (2, num_bins))
        torch.mul(passed.unsqueeze(1), (whole * scale * by_start).unsqueeze(2), out=of_logits[:, :, :-1])
        of_logits[:, :, -1] = 0
        bins = index.unsqueeze(1).unsqueeze(1).expand(-1, 2, -1, -1)
        of_logits.scatter_(2, bins, (whole * scale * by_size).unsqueeze(2)).sub_(scale * mean.unsqueeze(2)).mul_(shares)
        by_logits = torch.stack([by_first, by_second], 1) * torch.sigmoid(slope_logits)
        of_slopes = left.new_zeros(len(left), num_bins + 1, left.shape[-1])
        of_slopes.scatter_(1, torch.stack([index, index + 1], 1), by_logits)
        grad[:, 2 * num_bins :] = of_slopes[:, 1:-1]
        return torch.where(inside, by_input, grad_outputs), grad, None, None, None
