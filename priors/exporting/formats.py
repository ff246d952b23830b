"""Files that hold a program: torch's `pt2` archives, and ONNX."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pose_priors.configs.base import UserError, reason_of
from pose_priors.priors.exporting.programs import Program
from pose_priors.priors.exporting.tracing import trace

METADATA = "pose_priors.json"
"""Under what name a file holds what it says of itself: in `extra_files` of an archive, in the properties of an ONNX model."""
ENDINGS = {"torch": ".pt2", "onnx": ".onnx"}
"""By format, how files end."""


def write_program(program: Program, path: Path, kind: str, metadata: Mapping[str, Any]) -> None:
    """Writes a program for `torch.export.load` or a runtime of ONNX, which need nothing else.

    Raises:
        UserError: if it cannot be traced, or ONNX lacks an operation.
    """
    text = json.dumps(dict(metadata), allow_nan=False)
    try:
        graph = trace(program.function, (program.example,), into_core=kind == "onnx")
        if kind == "torch":
            exported = torch.export.export(graph, (program.example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
            with warnings.catch_warnings():  # torch speaks of tensors that are views of others on a GPU; these are on the CPU
                warnings.filterwarnings("ignore", message="No complete tensor found")
                torch.export.save(exported, path, extra_files={METADATA: text})
            return
    except (UserError, OSError):
        raise
    except Exception as error:  # of any library that the prior uses
        raise UserError(f"{program.name}: it cannot be traced ({reason_of(error)})") from error
    # here, because not everybody has it
    from pose_priors.priors.exporting.onnx_operators import HANDLERS
    from pose_priors.priors.exporting.onnx_writer import OnnxWriter

    model = OnnxWriter(HANDLERS).write(graph, [program.input], program.outputs, {METADATA: text})
    path.write_bytes(model.SerializeToString())
