"""The networks of a motion prior of the HuMoR family; their parameters go by the names of the published checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pose_priors.priors.networks.precision import within_range

NUM_GROUPS = 16


class MLP(nn.Module):
    """Linear layers with GroupNorm and ReLU between them, in one list `net`: the linear layers are its members 0, 3, 6, ...

    Args:
        sizes: of input, hidden layers and output.
        skip: how many of the last numbers of the input join the input of every layer after the first.
        dropout: share of the hidden numbers that training drops.
    """

    def __init__(self, sizes: Sequence[int], skip: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.skip, self.dropout = skip, dropout
        layers: list[nn.Module] = []
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            layers.append(nn.Linear(size_in + (skip if i else 0), size_out))
            if i < len(sizes) - 2:
                layers += [nn.GroupNorm(NUM_GROUPS, size_out), nn.ReLU()]
        self.net = nn.ModuleList(layers)

    @within_range
    def forward(self, x: Tensor) -> Tensor:
        """(N, sizes[0]) -> (N, sizes[-1]), of the same type whatever autocast does inside."""
        dtype = x.dtype
        joined = x[:, x.shape[1] - self.skip :]
        for i, layer in enumerate(self.net):
            if i and self.skip and isinstance(layer, nn.Linear):
                x = torch.cat([x, joined], 1)
            x = layer(x)
            if self.dropout and isinstance(layer, nn.ReLU):
                x = nn.functional.dropout(x, self.dropout, self.training)
        return x.to(dtype)
