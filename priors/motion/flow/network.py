"""The temporal network of the prior of clips: a token for each frame, attention and convolution over time."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pose_priors.priors.networks.precision import within_range

_EXPANSION = 3
FAR = 8.0
"""Standard deviations at which what networks of clips see saturates."""
LEAST_LOG_STD = 7.0
"""Minus the least logarithm of a standard deviation, in those of the data, that they see."""
LOG_RATIO = (-3.0, 2.0)
"""Logarithms between which the ratio lies of a standard deviation that they say to that of a Gaussian process."""


def news(seen: Tensor, expected: Tensor, noise: Tensor, left: Tensor) -> Tensor:
    """By how many standard deviations values are seen off what is expected of them; 0 where nothing is seen.

    Args:
        seen, expected: of one shape.
        noise, left: that broadcast to it, standard deviations of what is seen, infinite where nothing is, and of what is expected.
    """
    return torch.where(noise.isfinite(), (seen - expected) / torch.hypot(noise, left), 0.0)


class TemporalNetwork(nn.Module):
    """A residual network over the frames of windows; at first its output is zero.

    Args:
        num_inputs, num_outputs: features of a frame.
        num_frames: T, of a window.
        hidden: width, a multiple of `num_heads`.
        num_blocks: each of attention over all frames (Vaswani et al., "Attention is all you need", NIPS 2017), with a bias for how far
            apart two frames are, and of a convolution over `kernel` frames before a layer of each frame by itself.
        kernel: odd.
        dropout: share of hidden units that training drops.
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, num_frames: int, hidden: int, num_blocks: int, num_heads: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.first = nn.Linear(num_inputs, hidden)
        self.place = nn.Parameter(torch.zeros(num_frames, hidden))
        self.blocks = nn.ModuleList(_Block(num_frames, hidden, num_heads, kernel, dropout) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(hidden)
        self.last = nn.Linear(hidden, num_outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    @within_range
    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T, num_inputs) -> (B, T, num_outputs)."""
        hidden = self.first(inputs) + self.place
        for block in self.blocks:
            hidden = block(hidden)
        return cast(Tensor, self.last(self.norm(hidden)))


class _Block(nn.Module):
    def __init__(self, num_frames: int, hidden: int, num_heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.before = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.bias = nn.Parameter(torch.zeros(num_heads, 2 * num_frames - 1))
        frames = torch.arange(num_frames)
        self.register_buffer("apart", frames[:, None] - frames + num_frames - 1, persistent=False)
        self.between = nn.LayerNorm(hidden)
        self.over_time = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.wide = nn.Linear(hidden, _EXPANSION * hidden)
        self.narrow = nn.Linear(_EXPANSION * hidden, hidden)

    def forward(self, hidden: Tensor) -> Tensor:
        query, key, value = self.project(self.before(hidden)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias[:, cast(Tensor, self.apart)].to(query.dtype)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        hidden = hidden + self._dropped(self.out(mixed.transpose(1, 2).flatten(-2)))
        local = self.between(hidden)
        local = local + self.over_time(local.mT).mT
        return hidden + self._dropped(self.narrow(nn.functional.silu(self.wide(local))))

    def _dropped(self, value: Tensor) -> Tensor:
        return nn.functional.dropout(value, self.dropout, self.training)
