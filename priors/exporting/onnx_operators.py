"""How each operation of torch that priors are made of is said in ONNX."""

from __future__ import annotations

from typing import Any

import torch

from pose_priors.priors.exporting.onnx_numbers import NUMBERS
from pose_priors.priors.exporting.onnx_shapes import SHAPES, SIZES
from pose_priors.priors.exporting.onnx_writer import Handler

HANDLERS: dict[Any, Handler] = {
    getattr(getattr(torch.ops.aten, name), overload): handler
    for name, handler in (NUMBERS | SHAPES).items()
    for overload in getattr(torch.ops.aten, name).overloads()
} | SIZES
"""By operation of torch, what writes it."""
