"""What hostile files are made of: pickles by their operations, arrays by their headers, archives by their members."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


class Evil:
    """Leaves a file behind if anybody runs it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.trace}'",)


def plain(value: object) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def named(name: str) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode()


def many(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def called(name: str, *arguments: bytes) -> bytes:
    return named(name) + many(*arguments) + b"R"


def raw(data: bytes) -> bytes:
    return called("_codecs.encode", plain(data.decode("latin1")), plain("latin1"))


def dtype(code: str, *state: bytes) -> bytes:
    made = called("numpy.dtype", plain(code), plain(False), plain(True))
    return made + (many(*state) + b"b" if state else b"")


def array(shape: tuple[int, ...], kind: bytes, values: bytes) -> bytes:
    made = called("numpy._core.multiarray._reconstruct", named("numpy.ndarray"), plain((0,)), raw(b"b"))
    return made + many(plain(1), plain(shape), kind, plain(False), values) + b"b"


def whole(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def objects(shape: str, pickled: bytes) -> bytes:
    return header("'|O'", shape) + pickled


def header(descr: str, shape: str, data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + data


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def torch_zip(body: bytes, **storages: bytes) -> bytes:
    members = {"a/data.pkl": whole(body), "a/byteorder": b"little", "a/version": b"3\n"}
    return zipped(**members, **{f"a/data/{key}": data for key, data in storages.items()})


def storage(count: int, key: str = "0") -> bytes:
    about = many(plain("storage"), named("torch.FloatStorage"), plain(key), plain("cpu"), plain(count))
    return about + b"Q"


def tensor(count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    hooks = called("collections.OrderedDict")
    return called("torch._utils._rebuild_tensor_v2", storage(count), plain(offset), plain(size), plain(stride), plain(False), hooks)


def deep_storages() -> bytes:
    stream = io.BytesIO()
    torch.save([torch.ones(2)], stream, _use_new_zipfile_serialization=False)
    data = stream.getvalue()
    keys = data.rindex(b"\x80\x02]q\x00X")  # the list of the storages' keys is the last pickle
    return data[:keys] + b"\x80\x02])" + b"\x85" * 200_000 + b"a."


def sparse(shape: tuple[int, int], indices: list[int], indptr: list[int]) -> bytes:
    state = {"_shape": shape, "data": np.ones(len(indices)), "indices": np.array(indices), "indptr": np.array(indptr)}
    return named("scipy.sparse._csc.csc_matrix") + b")\x81" + plain(state) + b"b"
