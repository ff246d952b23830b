"""Which parameters decay, and optimizers that were saved before these were told apart."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from prior_cases import JOINTS, make_poses
from torch import nn

from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.training.parameters import decays, in_groups, regrouped

CONFIGS = [
    JointFlowConfig(kind="joint_flow", hidden=8, K=2),
    GlobalFlowConfig(kind="global_flow", hidden=8, K=2),
    FlowMatchingConfig(kind="flow_matching", hidden=8, num_blocks=1),
]


def built(config: Any) -> nn.Module:
    torch.manual_seed(0)
    return cast(nn.Module, config.build(JOINTS))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_weights_of_linear_maps_decay_and_all_else_does_not(config: Any) -> None:
    model = built(config)
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear) or type(m).__name__ == "GroupedLinear"}
    factors = {id(p) for m in model.modules() if type(m).__name__ == "_Mixing" for p in (m.lower_entries, m.upper_entries)}
    found = {id(p) for p in in_groups(model, 0.1)[0]["params"]}
    assert found == matrices | factors
    assert len(found) < len(list(model.parameters()))
    stay = [name for name, parameter in model.named_parameters() if not decays(name, parameter)]
    kinds = {name.rpartition(".")[2] for name in stay}
    assert kinds <= {"bias", "log_scale", "shift", "unconstrained_upper_diag", "weight"}
    assert all(model.get_parameter(name).dim() == 1 for name in stay if name.endswith("weight"))  # of norms


def test_what_does_not_decay_stays_and_what_does_shrinks() -> None:
    model = built(CONFIGS[1])
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(in_groups(model, 0.5), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (0.95 if decays(name, value) else 1.0))


def test_a_model_without_matrices_has_one_group() -> None:
    (group,) = in_groups(built(GaussianConfig(kind="gaussian")), 0.5)
    assert group["weight_decay"] == 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_the_state_of_one_group_goes_on_in_two(config: Any) -> None:
    """Step by step the same as in one group, where nothing decays."""
    poses, old = make_poses(64), built(config)
    old.fit_statistics(poses)  # type: ignore[operator]
    old.eval()
    optimizer = torch.optim.AdamW(old.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(2):
        _step(old, optimizer, poses)
    state = copy.deepcopy(optimizer.state_dict())
    new = copy.deepcopy(old)
    regrouped_state = regrouped(state, new)
    assert [group["weight_decay"] for group in regrouped_state["param_groups"]] == [0.0, 0.0]
    goes_on = torch.optim.AdamW(in_groups(new, 0.0), lr=1e-2)
    goes_on.load_state_dict(regrouped_state)
    for model, its in ((old, optimizer), (new, goes_on)):
        _step(model, its, poses)
    for (name, a), b in zip(old.named_parameters(), new.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert len(goes_on.param_groups) == 2
    assert regrouped(kept := goes_on.state_dict(), new) is kept


def test_the_state_of_another_model_is_refused() -> None:
    model = built(CONFIGS[0])
    state = torch.optim.AdamW(list(model.parameters())[:-1]).state_dict()
    with pytest.raises(ValueError, match="parameters, the model has"):
        regrouped(state, model)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, poses: torch.Tensor) -> None:
    optimizer.zero_grad()
    cast(Any, model).loss(poses)["loss"].backward()
    optimizer.step()
