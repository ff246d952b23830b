"""Operations of torch that work out numbers, in ONNX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from pose_priors.configs.base import UserError
from pose_priors.priors.exporting.onnx_writer import TYPES, Handler, OnnxWriter, Operand, rank_of, value_of

_OF_TRUTHS = {"Mul": "And", "Add": "Or"}

Arguments = Sequence[Operand]
Keywords = Mapping[str, Operand]


def _in_type(writer: OnnxWriter, node: fx.Node, arguments: Arguments, dtype: torch.dtype) -> list[str]:
    """Values and numbers as values of one type."""
    return [_as_type(writer, given, name, dtype) for given, name in zip(node.args, arguments, strict=True)]


def _as_type(writer: OnnxWriter, given: Any, name: Operand, dtype: torch.dtype) -> str:
    """An argument as it stands in the graph, and its name or number, as a value of a type."""
    if isinstance(given, fx.Node):
        value = value_of(given)
        return writer.cast(name, value.dtype if isinstance(value, torch.Tensor) else torch.int64, dtype)
    return writer.number(name, dtype)


def _elementwise(kind: str) -> Handler:
    def write(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
        if any(value not in (None, 1) for value in keywords.values()):  # as a rounding mode
            raise UserError(f"{node.target} with {dict(keywords)} has no counterpart in ONNX; export it with --format torch")
        dtype = value_of(node).dtype
        return writer.add(_OF_TRUTHS.get(kind, kind) if dtype == torch.bool else kind, *_in_type(writer, node, arguments, dtype))

    return write


def _compared(kind: str, negated: bool = False) -> Handler:
    def write(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
        a, b = (value_of(given) for given in node.args[:2])
        both = torch.result_type(torch.empty(1, dtype=a.dtype), torch.empty(1, dtype=b.dtype) if isinstance(b, torch.Tensor) else b)
        if both == torch.bool:
            both = torch.int32
        found = writer.add(kind, *_in_type(writer, node, arguments, both))
        return writer.add("Not", found) if negated else found

    return write


def _to_reversed(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    a, b = _in_type(writer, node, arguments, value_of(node).dtype)
    return writer.add("Sub", b, a)


def _log1p(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Log", writer.add("Add", arguments[0], writer.number(1, value_of(node).dtype)))


def _rsqrt(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Reciprocal", writer.add("Sqrt", arguments[0]))


def _power(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    if arguments[1] == 2:
        return writer.add("Mul", arguments[0], arguments[0])
    return writer.add("Pow", *_in_type(writer, node, arguments, value_of(node).dtype))


def _fmod(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Mod", *_in_type(writer, node, arguments, value_of(node).dtype), fmod=1)


def _clamp(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    found, (low, high) = str(arguments[0]), [*arguments[1:], None][:2]
    for kind, end in (("Max", low), ("Min", high)):
        if end is not None:
            found = writer.add(kind, found, end if isinstance(end, str) else writer.number(end, value_of(node).dtype))
    return found


def _where(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    dtype = value_of(node).dtype
    chosen = [_as_type(writer, *pair, dtype) for pair in zip(node.args[1:], arguments[1:], strict=True)]
    return writer.add("Where", arguments[0], *chosen)


def _same(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.cast(arguments[0], value_of(node.args[0]).dtype, value_of(node).dtype)


def _reduced(kind: str) -> Handler:
    def write(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
        name, dims, keep = [*arguments, *[None] * 2][:3]
        name = writer.cast(name, value_of(node.args[0]).dtype, value_of(node).dtype)
        axes = dims if dims else list(range(rank_of(node)))
        return writer.add(kind, name, writer.integers(axes), keepdims=int(bool(keep)))

    return write


def _norm(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name, order, dims, keep = [*arguments, *[None] * 3][:4]
    if order not in (None, 2):
        raise UserError(f"a norm of order {order} has no counterpart in ONNX; export it with --format torch")
    square = writer.add("ReduceSum", writer.add("Mul", name, name), writer.integers(dims), keepdims=int(bool(keep)))
    return writer.add("Sqrt", square)


def _var_mean(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> list[str]:
    name, dims = arguments
    if keywords.get("correction", 1) != 0 or not keywords.get("keepdim"):
        raise UserError("a variance of a sample has no counterpart in ONNX; export it with --format torch")
    axes = writer.integers(dims)
    mean = writer.add("ReduceMean", name, axes, keepdims=1)
    off = writer.add("Sub", name, mean)
    return [writer.add("ReduceMean", writer.add("Mul", off, off), axes, keepdims=1), mean]


def _softmax(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Softmax", arguments[0], axis=arguments[1] % rank_of(node))


def _cumulated(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("CumSum", arguments[0], writer.number(arguments[1] % rank_of(node), torch.int64))


def _any(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name, dims, keep = [*arguments, None, None][:3]
    axes = [dims] if isinstance(dims, int) else dims or list(range(rank_of(node)))
    number = writer.add("Cast", name, to=TYPES[torch.int32])
    most = writer.add("ReduceMax", number, writer.integers(axes), keepdims=int(bool(keep)))
    return writer.add("Cast", most, to=TYPES[torch.bool])


def _extreme(kind: str) -> Handler:
    def write(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
        name, dim, keep = [*arguments, None][:3]
        return writer.add(kind, name, axis=dim, keepdims=int(bool(keep)))

    return write


def _in_single(kind: str, writer: OnnxWriter, name: str, dtype: torch.dtype) -> str:
    """A function that runtimes have in no other precision."""
    return writer.cast(writer.add(kind, writer.cast(name, dtype, torch.float32)), torch.float32, dtype)


def _arccosine(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return _in_single("Acos", writer, arguments[0], value_of(node).dtype)


def _arctangent_of_two(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    dtype = value_of(node).dtype
    (y, x), zero = arguments, writer.number(0, dtype)
    turn = writer.add("Where", writer.add("Less", y, zero), writer.number(-math.pi, dtype), writer.number(math.pi, dtype))
    behind = writer.add("Where", writer.add("Less", x, zero), turn, zero)
    return writer.add("Add", _in_single("Atan", writer, writer.add("Div", y, x), dtype), behind)


def _diagonal(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    offset, first, second = (list(arguments[1:]) + [0, 0, 1][len(arguments) - 1 :])[:3]
    value = value_of(node.args[0])
    first, second = first % value.dim(), second % value.dim()
    if offset != 0 or value.shape[first] != value.shape[second]:
        raise UserError("a diagonal beside the main one has no counterpart in ONNX; export it with --format torch")
    order = [dim for dim in range(value.dim()) if dim not in (first, second)] + [first, second]
    eye = writer.constant(torch.eye(int(value.shape[first]), dtype=value.dtype))
    kept = writer.add("Mul", writer.add("Transpose", arguments[0], perm=order), eye)
    return writer.add("ReduceSum", kept, writer.integers([-1]), keepdims=0)


def _solved(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    """Systems with a constant triangular matrix, as products with its inverse."""
    inverse = _inverse_of_triangular(writer, node.args[0], keywords["upper"], keywords.get("unitriangular", False))
    return writer.add("MatMul", inverse, arguments[1])


def _solved_as_before(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> list[str]:
    """The same with the arguments of an earlier function, whose result has two parts."""
    right, _, upper, transposed, unitriangular = [*arguments, *[None] * 3][:5]
    if transposed:
        raise UserError("a transposed triangular system has no counterpart in ONNX; export it with --format torch")
    inverse = _inverse_of_triangular(writer, node.args[1], upper is None or upper, bool(unitriangular))
    return [writer.add("MatMul", inverse, right)]


def _inverse_of_triangular(writer: OnnxWriter, node: Any, upper: bool, unitriangular: bool) -> str:
    matrix = writer.known(node)
    eye = torch.eye(matrix.shape[-1], dtype=torch.float64).expand(matrix.shape)
    inverse = torch.linalg.solve_triangular(matrix.double(), eye, upper=upper, unitriangular=unitriangular)
    return writer.constant(inverse.to(matrix.dtype))


NUMBERS: dict[str, Handler] = {
    **{name: _elementwise(kind) for name, kind in {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}.items()},
    **{f"{name}_": _elementwise(kind) for name, kind in {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}.items()},
    **{name: _elementwise(name.capitalize()) for name in ("neg", "sigmoid", "exp", "sin", "cos", "log", "abs", "sqrt", "tanh")},
    **{name: _elementwise(name.capitalize()) for name in ("asinh", "sinh", "cosh", "atan", "sign", "floor", "reciprocal")},
    **{name: _elementwise(kind) for name, kind in {"maximum": "Max", "minimum": "Min", "mm": "MatMul", "bmm": "MatMul"}.items()},
    **{
        name: _elementwise(kind)
        for name, kind in {"logical_and": "And", "logical_or": "Or", "bitwise_and": "And", "bitwise_or": "Or"}.items()
    },
    **{"logical_not": _elementwise("Not"), "bitwise_not": _elementwise("Not"), "matmul": _elementwise("MatMul")},
    **{name: _compared(kind) for name, kind in {"gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual"}.items()},
    **{"eq": _compared("Equal"), "ne": _compared("Equal", negated=True), "rsub": _to_reversed, "log1p": _log1p, "rsqrt": _rsqrt},
    **dict.fromkeys(("alias", "clone", "detach", "_to_copy"), _same),
    **{
        "pow": _power,
        "fmod": _fmod,
        "clamp": _clamp,
        "where": _where,
        "acos": _arccosine,
        "any": _any,
        "diagonal": _diagonal,
        "atan2": _arctangent_of_two,
    },
    **{"sum": _reduced("ReduceSum"), "mean": _reduced("ReduceMean"), "amax": _reduced("ReduceMax")},
    **{"linalg_vector_norm": _norm, "var_mean": _var_mean, "_softmax": _softmax, "cumsum": _cumulated},
    **{"argmin": _extreme("ArgMin"), "argmax": _extreme("ArgMax")},
    **{"linalg_solve_triangular": _solved, "triangular_solve": _solved_as_before},
}
"""By name of an operation of ATen, what writes it."""
