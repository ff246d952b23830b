"""Networks that are many small networks side by side: one per joint, all joints in one batched product."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pose_priors.priors.networks.flows import ConditionerMLP


class GroupContext(NamedTuple):
    """What a grouped network gets beside its input.

    Attributes:
        features: (G, B, C), the context of each of G groups for each of B rows.
        groups: (G,) indices of the groups that the rows belong to; None for all of them in order.
    """

    features: Tensor
    groups: Tensor | None


class GroupedLinear(nn.Module):
    """One linear layer per group: (G, B, in) -> (G, B, out)."""

    def __init__(self, num_groups: int, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(num_inputs, 1))  # torch.nn.Linear's own
        self.weight = nn.Parameter(torch.empty(num_groups, num_inputs, num_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_groups, 1, num_outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor, groups: Tensor | None = None) -> Tensor:
        weight, bias = (self.weight, self.bias) if groups is None else (self.weight[groups], self.bias[groups])
        return torch.bmm(inputs, weight).add_(bias)


class GroupedConditioner(nn.Module):
    """The conditioner of a coupling layer over rows of all groups, group by group: (G*B, in) and a `GroupContext` -> (G*B, out)."""

    def __init__(
        self, num_groups: int, num_context: int, num_inputs: int, num_outputs: int, hidden: int, num_blocks: int, dropout: float
    ) -> None:
        super().__init__()

        def linear(n_in: int, n_out: int) -> GroupedLinear:
            return GroupedLinear(num_groups, n_in, n_out)

        self.hidden_features = hidden  # nflows scales a spline's logits by it
        self.net = ConditionerMLP(num_inputs + num_context, num_outputs, hidden, linear, num_blocks, dropout)

    def forward(self, inputs: Tensor, context: GroupContext) -> Tensor:
        features, groups = context
        rows = inputs.reshape(features.shape[0], -1, inputs.shape[-1])
        outputs: Tensor = self.net(torch.cat([rows, features], -1), groups)
        return outputs.flatten(0, 1)
