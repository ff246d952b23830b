"""A traced graph as a model in ONNX (Open Neural Network Exchange), written operation by operation."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from pose_priors.configs.base import UserError
from pose_priors.priors.exporting.tracing import writes

OPSET, IR_VERSION = 18, 9
"""Versions of ONNX's operators and of its files that runtimes since 2023 read."""
TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.int64: TensorProto.INT64,
    torch.int32: TensorProto.INT32,
    torch.bool: TensorProto.BOOL,
}

Operand = Any
"""An argument of an operation: the name of a value (str), a number, None, a type, or a list of such."""
Handler = Callable[["OnnxWriter", fx.Node, Sequence[Operand], Mapping[str, Operand]], str | list[str]]
"""Writes one operation of torch, and says under which names its results go."""


def value_of(node: Any) -> Any:
    """What a node of a graph held when it was traced, or the number itself."""
    return node.meta["val"] if isinstance(node, fx.Node) else node


def rank_of(node: fx.Node) -> int:
    """How many dimensions the first argument of an operation has."""
    return int(value_of(node.args[0]).dim())


class OnnxWriter:
    """Collects the nodes and constants of a model."""

    def __init__(self, handlers: Mapping[Any, Handler]) -> None:
        self._handlers = handlers
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[Any, ...], onnx.TensorProto] = {}
        self._number = 0

    def write(self, graph: fx.GraphModule, inputs: Sequence[str], outputs: Sequence[str], metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model of a graph of core operations, see `tracing.trace`; the first dimension of all that goes in and out is `batch`.

        Raises:
            UserError: if it has an operation that is not known here.
        """
        self._graph = graph
        names: dict[fx.Node, Any] = {}
        results: list[onnx.ValueInfoProto] = []
        places = list(graph.graph.find_nodes(op="placeholder"))
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                names[node] = inputs[places.index(node)]
            elif node.op == "output":
                for name, result in zip(outputs, node.all_input_nodes, strict=True):
                    self._nodes.append(helper.make_node("Identity", [names[result]], [name]))
                    results.append(_described(name, result))
            elif node.op != "get_attr":  # constants are written where they are used
                names[node] = self._result(node, names)
        given = [_described(name, node) for name, node in zip(inputs, places, strict=True)]
        used = {name for node in self._nodes for name in node.input}
        constants = [constant for constant in self._constants.values() if constant.name in used]
        model = helper.make_model(
            helper.make_graph(self._nodes, "prior", given, results, constants),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="pose-priors",
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _result(self, node: fx.Node, names: dict[fx.Node, Any]) -> Any:
        def named(other: fx.Node) -> Any:
            return self.constant(self.known(other)) if other.op == "get_attr" and other not in names else names[other]

        passed: Any = fx.node.map_arg((node.args, node.kwargs), named)
        arguments, keywords = passed
        if node.target is operator.getitem:
            return arguments[0][arguments[1]]
        try:
            found = self._handlers[node.target](self, node, arguments, keywords)
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # an operation, or a way of it, that is not known here
            raise UserError(f"{node.target} of this prior has no counterpart in ONNX; export it with --format torch") from error
        if writes(node):
            names[node.all_input_nodes[0]] = found  # from here on
        return found

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Writes a node with one result, and names that."""
        return self.add_many(kind, 1, *inputs, **attributes)[0]

    def add_many(self, kind: str, num_outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Writes a node, and names its results."""
        outputs = [f"value_{self._number + i}" for i in range(num_outputs)]
        self._number += num_outputs
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def constant(self, value: Tensor) -> str:
        """The name of a constant; the same for the same content."""
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        array = array.reshape(tuple(value.shape))  # of a single number it makes a vector
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"constant_{len(self._constants)}")
        return str(self._constants[key].name)

    def known(self, node: Any) -> Tensor:
        """The value of a node that depends on no input."""
        if isinstance(node, fx.Node) and node.op == "get_attr":
            found: Tensor = getattr(self._graph, str(node.target))
            return found
        if not isinstance(node, fx.Node) or node.op != "call_function" or not callable(node.target):
            raise UserError("a system of equations that depends on the pose has no counterpart in ONNX; export it with --format torch")
        passed: Any = fx.node.map_arg((node.args, node.kwargs), self.known)
        arguments, keywords = passed
        result: Tensor = node.target(*arguments, **keywords)
        return result

    def integers(self, values: Sequence[int]) -> str:
        """The name of a constant vector of whole numbers."""
        return self.constant(torch.tensor(list(values), dtype=torch.int64))

    def number(self, value: float, dtype: torch.dtype) -> str:
        """The name of a constant number."""
        return self.constant(torch.tensor(value, dtype=dtype))

    def sizes(self, values: Sequence[int | str]) -> str:
        """The name of a vector of sizes, some of which are known only when the program runs."""
        if all(isinstance(value, int) for value in values):
            return self.integers([int(value) for value in values])
        parts = [self.add("Unsqueeze", v, self.integers([0])) if isinstance(v, str) else self.integers([v]) for v in values]
        return self.add("Concat", *parts, axis=0)

    def cast(self, name: str, found: torch.dtype, wanted: torch.dtype) -> str:
        """The same values in another type."""
        return name if found == wanted else self.add("Cast", name, to=TYPES[wanted])


def _described(name: str, node: fx.Node) -> onnx.ValueInfoProto:
    value = node.meta["val"]
    return helper.make_tensor_value_info(name, TYPES[value.dtype], ["batch", *(int(size) for size in value.shape[1:])])
