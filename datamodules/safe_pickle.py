"""Pickles read without running what they name: arrays, tensors and plain containers come out, anything else is refused.

Used for `.pkl` files, whether written by pickle, torch or joblib, and for the object arrays that numpy files may hold.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.containers.joblib import NAMES, decompressed
from pose_priors.datamodules.containers.named import RefusedError
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.datamodules.containers.tensors import MAGIC, load_legacy, load_zip
from pose_priors.datamodules.containers.unpickling import Machine
from pose_priors.datamodules.containers.zips import STARTS, Zip

_MOST_START = 64  # bytes that the first pickle of an older file of torch's takes


def unpickle(source: IO[bytes] | bytes, origin: str) -> Any:
    """The object pickled at a stream's position, or in bytes.

    Args:
        source: binary; a stream is read to its end.
        origin: what to call it in errors, usually the file's path.
    Raises:
        UserError: if the pickle names anything but arrays, tensors and plain containers, is damaged, or would take much more memory than
            it has bytes.
    """
    data = source if isinstance(source, bytes) else source.read()
    return _guarded(lambda: Machine(io.BytesIO(data), NAMES).run(), origin, "pickle")


def load_pickle(path: str | Path) -> Any:
    """The content of a pickle file, whether written by `pickle.dump`, `torch.save` or `joblib.dump`, compressed or not.

    Raises:
        UserError: as `unpickle` does, or if the file cannot be opened.
    """
    data = read_regular(Path(path))
    if data.startswith(STARTS):
        return _torch_zip(data, str(path))
    try:
        data = decompressed(data)
    except Exception as error:  # three libraries, each with errors of its own
        raise UserError(f"{path}: not a readable compressed pickle ({reason_of(error)})") from error
    if _is_legacy(data):
        return _guarded(lambda: load_legacy(io.BytesIO(data)), str(path), "torch file")
    return unpickle(data, str(path))


def load_torch(path: str | Path) -> Any:
    """What `torch.save` wrote, on the CPU: tensors, numpy arrays and plain containers.

    Raises:
        UserError: if the file names any other class or function, or is damaged.
    """
    data = read_regular(Path(path))
    if data.startswith(STARTS):
        return _torch_zip(data, str(path))
    if not _is_legacy(data):
        raise UserError(f"{path}: not a readable torch file (damaged, or not written by torch.save)")
    return _guarded(lambda: load_legacy(io.BytesIO(data)), str(path), "torch file")


def _torch_zip(data: bytes, origin: str) -> Any:
    archive = Zip(io.BytesIO(data), origin)
    if sum(name == "data.pkl" or name.endswith("/data.pkl") for name in archive.names) != 1:
        raise UserError(f"{origin}: not a readable torch file (a zip file that torch.save did not write)")
    return _guarded(lambda: load_zip(archive), origin, "torch file")


def _is_legacy(data: bytes) -> bool:
    try:
        return bool(Machine(io.BytesIO(data[:_MOST_START]), {}).run() == MAGIC)
    except Exception:  # then it is another pickle, or none
        return False


def _guarded(read: Any, origin: str, kind: str) -> Any:
    try:
        return read()
    except UserError:
        raise
    except RefusedError as error:
        raise UserError(
            f"{origin}: refused to unpickle {error}; only numpy arrays, torch tensors and plain containers are allowed: save an .npz"
        ) from None
    except Exception as error:  # whatever bytes that are no pickle make of themselves
        raise UserError(f"{origin}: not a readable {kind} ({type(error).__name__}: {reason_of(error)})") from error
