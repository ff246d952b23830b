"""Which parameters decay: the matrices of networks, and nothing that sets a scale or a place."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

# entries of triangular factors beside their diagonals: those of nflows' linear map
_FACTORS = ("lower_entries", "upper_entries")


def decays(name: str, parameter: Tensor) -> bool:
    """Whether a parameter of that dotted name decays: weights of two dimensions or more, and factors beside their diagonals.

    Biases, norms, activation normalisation, diagonals, shares, means and spreads do not: zero is no value that they should be drawn to
    (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, decay all; leaving these out is common since BERT).
    """
    last = name.rpartition(".")[2]
    return (parameter.dim() >= 2 and last.endswith("weight")) or last in _FACTORS


def in_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of a model as an optimizer takes them: those that decay, and those that do not; the latter alone where no other is."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[decays(name, parameter)].append(parameter)
    return [{"params": groups[which], "weight_decay": weight_decay if which else 0.0} for which in (True, False) if groups[which]]


def regrouped(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """The state of an optimizer that had all parameters in one group, for one that has them as `in_groups`; any other as it is.

    Raises:
        ValueError: if it is not of that many parameters.
    """
    parameters = list(model.named_parameters())
    groups = state["param_groups"]
    kinds = [decays(*parameter) for parameter in parameters]
    if len(groups) != 1 or len(set(kinds)) == 1:
        return state
    if len(groups[0]["params"]) != len(parameters):
        raise ValueError(f"the optimizer's state is of {len(groups[0]['params'])} parameters, the model has {len(parameters)}")
    order = [i for which in (True, False) for i, kind in enumerate(kinds) if kind is which]
    first = sum(kinds)
    moved = {new: state["state"][groups[0]["params"][old]] for new, old in enumerate(order) if groups[0]["params"][old] in state["state"]}
    split = (range(first), range(first, len(order)))
    made = [{**groups[0], "params": list(part), **({} if number == 0 else {"weight_decay": 0.0})} for number, part in enumerate(split)]
    return {**state, "state": moved, "param_groups": made}
