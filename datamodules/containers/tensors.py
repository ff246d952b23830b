"""What `torch.save` writes, its zip files and the older kind, and tensors within other pickles, without `torch.load`."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch

from pose_priors.datamodules.containers import pickled_arrays
from pose_priors.datamodules.containers.named import Named, Reading, Unfinished
from pose_priors.datamodules.containers.npy import checked_shape
from pose_priors.datamodules.containers.unpickling import Machine
from pose_priors.datamodules.containers.zips import Zip

MAGIC = 0x1950A86A20F9469CFC6C
"""What the older files of `torch.save` begin with, as a pickle of its own."""
_KINDS = {
    **{"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16},
    **{"LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8},
    **{"ByteStorage": torch.uint8, "BoolStorage": torch.bool},
    **{"ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128},
}
_STATE = "protomotions.simulator.base_simulator.simulator_state.StateConversion"  # an enumeration in ProtoMotions' motions
_MOST_NESTED = 3
_SLACK = 64 << 20


class _Storage(Unfinished):
    """Numbers that tensors are views of."""

    __slots__ = ("data", "dtype", "raw")

    def __init__(self, dtype: torch.dtype, num_bytes: int) -> None:
        self.dtype = dtype
        self.raw = np.zeros(num_bytes, np.uint8)
        # of no bytes torch makes nothing else
        self.data = torch.from_numpy(self.raw).view(dtype) if num_bytes else torch.zeros(0, dtype=dtype)

    def fill(self, data: bytes) -> None:
        """Gives it its bytes. Raises `ValueError` if they are more or less than declared."""
        if len(data) != len(self.raw):
            raise ValueError(f"{len(data):,} bytes for a tensor of {len(self.raw):,}: cut short, or a lie")
        self.raw[:] = np.frombuffer(data, np.uint8)
        if self.dtype == torch.bool:
            self.raw[:] = self.raw != 0


class _Storages:
    """The storages of a file by key, each as large as declared and all together no larger than the file."""

    def __init__(self, room: int) -> None:
        self.by_key: dict[str, _Storage] = {}
        self._room = room

    def __call__(self, about: Any) -> _Storage:
        """The storage that a persistent id means."""
        if not isinstance(about, tuple) or len(about) not in (5, 6) or about[0] != "storage" or not isinstance(about[1], Named):
            raise ValueError("a persistent id that is none of torch's")
        kind, key, count = about[1].name.removeprefix("torch."), about[2], about[4]
        if kind not in _KINDS or not isinstance(key, str) or type(count) is not int or count < 0 or (len(about) == 6 and about[5]):
            raise ValueError("a storage that is none of torch's")
        if key not in self.by_key:
            num_bytes = count * _KINDS[kind].itemsize
            self._room -= num_bytes
            if self._room < 0:
                raise ValueError("tensors larger than the file that holds them: cut short, or a lie")
            self.by_key[key] = _Storage(_KINDS[kind], num_bytes)
        return self.by_key[key]


def load_zip(archive: Zip) -> Any:
    """What is in a zip file of `torch.save`. Raises what `Machine.run` raises."""
    (pickled,) = [name for name in archive.names if name == "data.pkl" or name.endswith("/data.pkl")]
    root = pickled.removesuffix("data.pkl")
    if f"{root}byteorder" in archive and archive.read(f"{root}byteorder", 16).strip() != b"little":
        raise ValueError("numbers in the byte order of another machine")
    storages = _Storages(sum(archive.size(name) for name in archive.names))
    content = _machine(io.BytesIO(archive.read(pickled)), storages).run()
    for key, storage in storages.by_key.items():
        if f"{root}data/{key}" not in archive:
            raise ValueError(f"no numbers of tensor {key!r}: cut short")
        storage.fill(archive.read(f"{root}data/{key}"))
    return content


def load_legacy(stream: io.BytesIO, nested: int = 0) -> Any:
    """What an older file of `torch.save` holds, or a storage within another pickle. Raises what `Machine.run` raises."""
    size = len(stream.getbuffer())
    storages = _Storages(size)
    magic, protocol, system = (Machine(stream, {}).run() for _ in range(3))
    if magic != MAGIC or protocol != 1001 or not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("no file of torch.save's")
    machine = _machine(stream, storages, nested)
    content = machine.run(unfinished=nested > 0)
    keys = Machine(stream, {}).run()
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or set(keys) != storages.by_key.keys()
        or len(keys) != len(set(keys))
    ):
        raise ValueError("tensors without their numbers")
    for key in keys:
        storage = storages.by_key[key]
        if int.from_bytes(stream.read(8), "little") * storage.dtype.itemsize != len(storage.raw):
            raise ValueError("a tensor that is larger or smaller than declared")
        storage.fill(stream.read(len(storage.raw)))
    return content


def _machine(stream: io.BytesIO, storages: _Storages, nested: int = 0) -> Machine:
    machine = Machine(stream, NAMES, storages)
    machine.nested = nested
    return machine


def _from_bytes(machine: Reading, data: Any) -> _Storage:
    if not isinstance(data, bytes) or machine.nested >= _MOST_NESTED:
        raise ValueError("a storage of what are no bytes")
    machine.take(len(data))
    storage = load_legacy(io.BytesIO(data), machine.nested + 1)
    if not isinstance(storage, _Storage):
        raise ValueError("a storage that is none")
    return storage


def _tensor(machine: Reading, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, *_: Any) -> torch.Tensor:
    if not isinstance(storage, _Storage) or type(offset) is not int or offset < 0:
        raise ValueError("a tensor without numbers")
    shape, steps = checked_shape(size), checked_shape(stride)
    if len(shape) != len(steps):
        raise ValueError("a tensor of unequal shape and strides")
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if math.prod(shape) and last >= len(storage.data):
        raise ValueError("a tensor that sticks out of its numbers")
    # repeated numbers (strides of 0) cost nothing here, but whoever copies the tensor pays for them
    machine.take(max(0, math.prod(shape) * storage.dtype.itemsize - len(storage.raw) - _SLACK))
    tensor = torch.as_strided(storage.data, shape, steps, offset if math.prod(shape) else 0)
    return tensor.requires_grad_() if requires_grad is True and (storage.dtype.is_floating_point or storage.dtype.is_complex) else tensor


def _parameter(_: Machine, data: Any, requires_grad: Any = True, *__: Any) -> torch.nn.Parameter:
    if not isinstance(data, torch.Tensor):
        raise ValueError("a parameter of what is no tensor")
    return torch.nn.Parameter(data.detach(), requires_grad is True)


def _enumeration(_: Machine, value: Any = "") -> str:
    """A value of an enumeration, as text: nothing of its class is looked for."""
    if not isinstance(value, str | int):
        raise ValueError("an enumeration's value that is neither text nor a number")
    return str(value)


def _size(_: Machine, sizes: Any = ()) -> tuple[int, ...]:
    return checked_shape(sizes)


NAMES: dict[str, Named] = pickled_arrays.NAMES | {
    named.name: named
    for named in (
        Named("torch._utils._rebuild_tensor", _tensor),
        Named("torch._utils._rebuild_tensor_v2", _tensor),
        Named("torch._utils._rebuild_parameter", _parameter),
        Named("torch.storage._load_from_bytes", _from_bytes),
        Named("torch.Size", _size),
        Named(_STATE, _enumeration),
        *(Named(f"torch.{kind}") for kind in _KINDS),
    )
}
"""What may be named, by module and name: all of `pickled_arrays`, and tensors."""
