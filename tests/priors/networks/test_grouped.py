"""Networks side by side against a loop over them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pose_priors.priors.networks.flows import ConditionerMLP
from pose_priors.priors.networks.grouped import GroupContext, GroupedConditioner, GroupedLinear

GROUPS, ROWS, CONTEXT, INPUTS, OUTPUTS = 4, 5, 3, 2, 6


def test_grouped_linear_is_a_linear_layer_per_group() -> None:
    torch.manual_seed(0)
    layer = GroupedLinear(GROUPS, INPUTS, OUTPUTS)
    inputs = torch.randn(GROUPS, ROWS, INPUTS)
    outputs = layer(inputs)
    for g in range(GROUPS):
        torch.testing.assert_close(outputs[g], nn.functional.linear(inputs[g], layer.weight[g].T, layer.bias[g, 0]))
    some = torch.tensor([2, 0])
    torch.testing.assert_close(layer(inputs[some], some), outputs[some])


def test_grouped_linear_starts_as_torch_starts_its_own() -> None:
    torch.manual_seed(0)
    grouped = GroupedLinear(200, 16, 8)
    bound = 1 / 16**0.5
    for parameter in (grouped.weight, grouped.bias):
        assert 0.98 * bound < parameter.abs().max() <= bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def _single(grouped: GroupedConditioner, g: int, hidden: int) -> ConditionerMLP:
    net = ConditionerMLP(INPUTS + CONTEXT, OUTPUTS, hidden, nn.Linear, 2, 0.0)
    weights = {}
    for name, value in grouped.net.state_dict().items():
        weights[name] = value[g].T if name.endswith("weight") else value[g, 0]
    net.load_state_dict(weights)
    return net


def _randomised() -> GroupedConditioner:
    torch.manual_seed(0)
    grouped = GroupedConditioner(GROUPS, CONTEXT, INPUTS, OUTPUTS, 8, 2, 0.0)
    with torch.no_grad():
        for parameter in grouped.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return grouped


def test_grouped_conditioner_is_a_loop_of_small_networks() -> None:
    grouped = _randomised()
    inputs, features = torch.randn(GROUPS * ROWS, INPUTS), torch.randn(GROUPS, ROWS, CONTEXT)
    outputs = grouped(inputs, GroupContext(features, None)).view(GROUPS, ROWS, OUTPUTS)
    for g in range(GROUPS):
        rows: Tensor = torch.cat([inputs.view(GROUPS, ROWS, INPUTS)[g], features[g]], -1)
        torch.testing.assert_close(outputs[g], _single(grouped, g, 8)(rows))


def test_some_groups_alone_give_what_they_give_among_all() -> None:
    grouped = _randomised()
    inputs, features = torch.randn(GROUPS, ROWS, INPUTS), torch.randn(GROUPS, ROWS, CONTEXT)
    together = grouped(inputs.flatten(0, 1), GroupContext(features, None)).view(GROUPS, ROWS, OUTPUTS)
    some = torch.tensor([3, 1])
    alone = grouped(inputs[some].flatten(0, 1), GroupContext(features[some], some)).view(2, ROWS, OUTPUTS)
    torch.testing.assert_close(alone, together[some])
