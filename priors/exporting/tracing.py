"""A function of tensors as a graph of torch's operations, with everything in it that does not depend on its inputs worked out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from pose_priors.configs.base import UserError
from pose_priors.priors.networks.derived import traced

_ATEN = torch.ops.aten
# Operations that ONNX has no counterpart of, and that core ATen keeps.
_ALSO_TAKEN_APART = (
    _ATEN.addmm,
    _ATEN.native_layer_norm,
    _ATEN._log_softmax,
    _ATEN.logsumexp,
)
_TURNED = (_ATEN.t.default, _ATEN.permute.default, _ATEN.transpose.int)


def trace(function: Callable[..., tuple[Tensor, ...]], examples: tuple[Tensor, ...], *, into_core: bool) -> fx.GraphModule:
    """The operations of a function whose tensors are batches of rows, for any number of rows.

    Gradients that the function takes with `torch.autograd.grad` become operations as well. Constants are worked out, and products with
    triangular systems that are constant take the place of solving them.

    Args:
        examples: inputs, of a number of rows that nothing else has: it must not be taken for the size of anything.
        into_core: whether operations are taken apart into the few that core ATen has.
    """
    table: dict[Any, Any] = {}
    if into_core:
        table = {**core_aten_decompositions(), **get_decompositions(_ALSO_TAKEN_APART)}
    function(*examples)  # what libraries keep of their first call is to be numbers
    with traced():
        graph = make_fx(function, table, "symbolic", _allow_non_fake_inputs=True)(*examples)
    sizes = [node.meta["val"].shape[0] for node in graph.graph.find_nodes(op="placeholder")]
    if any(not isinstance(size, torch.SymInt) or size.node.maybe_as_int() is not None for size in sizes):
        raise UserError(f"it works for {len(examples[0])} rows only, and programs are for any number")
    _work_out_constants(graph)
    return graph


def _work_out_constants(module: fx.GraphModule) -> None:
    """Replaces what depends on no input by its value."""
    known: dict[fx.Node, Any] = {}
    kept: set[fx.Node] = set()
    for node in module.graph.nodes:
        needs = node.all_input_nodes
        if node.op == "get_attr":
            known[node] = getattr(module, node.target).detach().clone()
        elif node.op == "call_function" and all(other in known for other in needs):
            arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda other: known[other])
            known[node] = node.target(*arguments, **keywords)
        elif writes(node) and needs[0] in known:
            _copy_before(node, needs[0])
    names: dict[tuple[Any, ...], str] = {}
    # last first: of a matrix that is only turned the matrix itself is kept, once
    for node, value in reversed(list(known.items())):
        users = [user for user in node.users if user not in known or user in kept]
        if not users or not isinstance(value, Tensor):
            continue
        if node.target in _TURNED:
            kept.add(node)
            continue
        key = value.dtype, tuple(value.shape), _digest(value)
        if key not in names:
            names[key] = f"constant_{len(names)}"
            module.register_buffer(names[key], value.detach().clone(memory_format=torch.contiguous_format))
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(names[key])
        constant.meta["val"] = value
        node.replace_all_uses_with(constant, lambda user: user not in known or user in kept)
    has_effects = {node for node in module.graph.nodes if node.op in ("placeholder", "output") or (writes(node) and node not in known)}
    module.graph.eliminate_dead_code(has_effects.__contains__)
    module.delete_all_unused_submodules()
    module.recompile()


def _digest(value: Tensor) -> bytes:
    numbers = value.detach().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(numbers.tobytes()).digest()


def _copy_before(node: fx.Node, constant: fx.Node) -> None:
    """Lets an operation, and all after it, work on a copy of a constant that it writes into."""
    places = {other: place for place, other in enumerate(node.graph.nodes)}
    with node.graph.inserting_before(node):
        copy = node.graph.call_function(_ATEN.clone.default, (constant,))
    copy.meta["val"] = constant.meta["val"]
    constant.replace_all_uses_with(copy, lambda user: user is not copy and places[user] >= places[node])


def writes(node: fx.Node) -> bool:
    """Whether an operation writes into its first argument."""
    arguments = list(getattr(getattr(node.target, "_schema", None), "arguments", []))
    return bool(arguments) and arguments[0].alias_info is not None and arguments[0].alias_info.is_write
