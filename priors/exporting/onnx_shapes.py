"""Operations of torch that move, take and place numbers without changing them, in ONNX."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from pose_priors.configs.base import UserError
from pose_priors.priors.exporting.onnx_writer import Handler, OnnxWriter, Operand, rank_of, value_of

_END = 2**62
"""Where a slice ends that goes to the end."""

Arguments = Sequence[Operand]
Keywords = Mapping[str, Operand]


def _copied(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name = writer.cast(arguments[1], value_of(node.args[1]).dtype, value_of(node).dtype)
    return writer.add("Expand", name, writer.add("Shape", arguments[0]))


def _reshaped(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Reshape", arguments[0], writer.sizes(arguments[1]))


def _expanded(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Expand", arguments[0], writer.sizes([1 if size == -1 else size for size in arguments[1]]))


def _unsqueezed(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Unsqueeze", arguments[0], writer.integers([arguments[1]]))


def _squeezed(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    dims = arguments[1] if isinstance(arguments[1], list | tuple) else [arguments[1]]
    return writer.add("Squeeze", arguments[0], writer.integers([dim for dim in dims if value_of(node.args[0]).shape[dim] == 1]))


def _permuted(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Transpose", arguments[0], perm=[dim % rank_of(node) for dim in arguments[1]])


def _sliced(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name, dim, start, end, step = [*arguments, *[None] * 4][:5]
    ends = [writer.sizes([value]) for value in (start or 0, _END if end is None else end, dim or 0, step or 1)]
    return writer.add("Slice", name, *ends)


def _slice_scattered(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name, source, dim, start, end, step = [*arguments, *[None] * 5][:6]
    size = value_of(node).shape[dim or 0]
    if (step or 1) != 1 or (isinstance(size, torch.SymInt) and end is not None and end < size):
        raise UserError("writing into every other row has no counterpart in ONNX; export it with --format torch")
    axis = writer.integers([dim or 0])

    def part(first: int, last: int) -> str:
        return writer.add("Slice", name, writer.integers([first]), writer.integers([last]), axis)

    parts = [part(0, start)] if start else []
    parts.append(source)
    if end is not None and not isinstance(size, torch.SymInt) and end < size:
        parts.append(part(end, _END))
    return writer.add("Concat", *parts, axis=dim or 0)


def _selected(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name, dim, index = arguments
    return writer.add("Gather", name, writer.number(index, torch.int64), axis=dim % rank_of(node))


def _flipped(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    dims, num = arguments[1], len(arguments[1])
    ends = ([-1] * num, [-_END] * num, dims, [-1] * num)
    return writer.add("Slice", arguments[0], *(writer.integers(end) for end in ends))


def _joined(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    dtype = value_of(node).dtype
    parts = [writer.cast(name, value_of(given).dtype, dtype) for given, name in zip(node.args[0], arguments[0], strict=True)]  # type: ignore[arg-type]
    return writer.add("Concat", *parts, axis=(arguments[1] if len(arguments) > 1 else 0) % value_of(node).dim())


def _split(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> list[str]:
    name, sizes, dim = [*arguments, 0][:3]
    return writer.add_many("Split", len(sizes), name, writer.sizes(sizes), axis=dim % rank_of(node))


def _filled(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Expand", writer.number(arguments[1], value_of(node).dtype), writer.sizes(arguments[0]))


def _filled_like(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Expand", writer.number(arguments[1], value_of(node).dtype), writer.add("Shape", arguments[0]))


def _the_index(node: fx.Node, indices: Sequence[Any]) -> int:
    """The one dimension that is indexed."""
    found = [dim for dim, index in enumerate(indices) if index is not None]
    if len(found) != 1 or value_of(node.args[1][found[0]]).dtype == torch.bool:  # type: ignore[index]
        raise UserError("reading at several indices at once has no counterpart in ONNX; export it with --format torch")
    return found[0]


def _indexed(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    dim = _the_index(node, arguments[1])
    return writer.add("Gather", arguments[0], arguments[1][dim], axis=dim)


def _index_put(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    name, indices, values, accumulate = [*arguments, False][:4]
    dim = _the_index(node, indices)
    num = int(value_of(node.args[1][dim]).numel())  # type: ignore[index]
    shape = writer.add("Shape", name)
    before = writer.add("Slice", shape, writer.integers([0]), writer.integers([dim]))
    after = writer.add("Slice", shape, writer.integers([dim + 1]), writer.integers([_END]))
    # the indexed dimensions become one
    whole = writer.add("Concat", before, writer.integers([num]), after, axis=0)
    column = writer.add("Reshape", indices[dim], writer.integers([num, *[1] * (rank_of(node) - dim - 1)]))
    places = writer.add("Expand", column, whole)
    rows = writer.add("Reshape", values, whole)
    return writer.add("ScatterElements", name, places, rows, axis=dim, reduction="add" if accumulate else "none")


def _index_selected(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Gather", arguments[0], arguments[2], axis=arguments[1] % rank_of(node))


def _gathered(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("GatherElements", arguments[0], arguments[2], axis=arguments[1] % rank_of(node))


def _scattered(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("ScatterElements", arguments[0], arguments[2], arguments[3], axis=arguments[1] % rank_of(node), reduction="add")


def _size(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
    return writer.add("Gather", writer.add("Shape", arguments[0]), writer.number(arguments[1], torch.int64), axis=0)


def _of_sizes(kind: str) -> Handler:
    def write(writer: OnnxWriter, node: fx.Node, arguments: Arguments, keywords: Keywords) -> str:
        return writer.add(kind, *(value if isinstance(value, str) else writer.number(value, torch.int64) for value in arguments))

    return write


SHAPES: dict[str, Handler] = {
    **{"copy_": _copied, "view": _reshaped, "_unsafe_view": _reshaped, "expand": _expanded, "unsqueeze": _unsqueezed, "squeeze": _squeezed},
    **{"permute": _permuted, "slice": _sliced, "slice_scatter": _slice_scattered, "select": _selected, "flip": _flipped, "cat": _joined},
    **{"split_with_sizes": _split, "full": _filled, "full_like": _filled_like, "index": _indexed, "index_put": _index_put},
    **{"index_select": _index_selected, "gather": _gathered, "scatter_add": _scattered, "sym_size": _size},
}
"""By name of an operation of ATen, what writes it."""
SIZES: dict[Any, Handler] = {
    operator.mul: _of_sizes("Mul"),
    operator.add: _of_sizes("Add"),
    operator.sub: _of_sizes("Sub"),
    operator.floordiv: _of_sizes("Div"),
}
"""By operator of Python on sizes that are known only when the program runs, what writes it."""
