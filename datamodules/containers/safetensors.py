"""What `safetensors` writes: tensors by name, and nothing that could run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_KINDS = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
_KINDS |= {torch.bool}


def tensors_of(data: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a file, by name, on the CPU.

    Raises:
        ValueError: if it is no such file, is damaged, or holds numbers of a kind that torch's tensors here never have.
    """
    try:
        found = dict(sorted(load(data).items()))  # the library gives them in any order
    except KeyError as error:
        raise ValueError(f"numbers of the kind {error}") from error
    except (SafetensorError, RuntimeError, AssertionError) as error:  # AssertionError: numbers of no bytes that are said to be some
        raise ValueError(f"no safetensors, or damaged: {error}") from error
    for name, tensor in found.items():
        if tensor.dtype not in _KINDS:
            raise ValueError(f"{name!r} is of the kind {tensor.dtype}")
        if tensor.dtype == torch.bool and (tensor.view(torch.uint8) > 1).any():
            raise ValueError(f"{name!r} is true or false, and holds something else")
    return found


def bytes_of(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file that holds them; views and tensors that share numbers are written out one by one."""
    return save({name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()})
