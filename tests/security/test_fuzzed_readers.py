"""Whatever bytes a file holds, a reader gives a value or a `UserError`; what it is given well, it gives back."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.safe_pickle import load_pickle, unpickle
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.point_cloud import read_points

FUZZED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CONTENT = {"a": np.arange(6.0).reshape(2, 3), "b": [1, "x", None, (2.5, {3})], "c": np.array([{"d": np.ones(2, bool)}, "e"], object)}


def written(save: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def zip_of_arrays(stream: io.BytesIO) -> None:
    np.savez(stream, a=CONTENT["a"], c=CONTENT["c"], text=np.array(["x", "yz"]))


SEEDS: dict[str, list[bytes]] = {
    ".pkl": [*(pickle.dumps(CONTENT, protocol) for protocol in range(6)), written(lambda s: joblib.dump(CONTENT, s))],
    ".pt": [
        written(lambda s: torch.save({"a": torch.ones(2, 3), "n": CONTENT["a"]}, s)),
        written(lambda s: torch.save([torch.ones(2)], s, _use_new_zipfile_serialization=False)),
    ],
    ".npy": [written(lambda s: np.save(s, CONTENT["a"])), written(lambda s: np.save(s, CONTENT["c"], allow_pickle=True))],
    ".npz": [written(zip_of_arrays)],
    ".json": [json.dumps({"fps": 30, "frames": [1, 2.5, None], "é": {"a": [True]}}).encode()],
    ".ply": [
        b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n4 5 nan\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        + bytes(12),
    ],
}
READERS: dict[str, Callable[[Path], Any]] = {
    ".pkl": load_pickle,
    ".pt": load_pickle,
    ".npy": lambda path: [entry.load() for entry in open_arrays(path).values()],
    ".npz": lambda path: [entry.load() for entry in open_arrays(path).values()],
    ".json": read_json,
    ".ply": read_points,
}


@st.composite
def damaged(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """A file with some bytes exchanged, cut out, or put in; or none of its own."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("exchange", "cut", "insert", "repeat", "end"))):
            case "exchange":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=12))
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 60))] * draw(st.integers(1, 5))
            case "end":
                del data[at:]
    return bytes(data)


@pytest.mark.parametrize("suffix", READERS)
def test_damaged_files_are_read_or_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"

    @FUZZED
    @given(st.one_of(damaged(SEEDS[suffix]), damaged(SEEDS[suffix]), st.binary(max_size=400)))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(UserError):
            READERS[suffix](path)

    check()


_NAMES = (b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy._core.multiarray\nscalar\n", b"cnumpy._core.multiarray\n_reconstruct\n")
_NAMES += (
    b"cbuiltins\nbytearray\n",
    b"ccollections\nOrderedDict\n",
    b"cnumpy._core.numeric\n_frombuffer\n",
    b"ccollections\ndefaultdict\n",
)
_WORDS = (
    *_NAMES,
    *(b"(", b"0", b"1", b"2", b"N", b"t", b")", b"]", b"}", b"a", b"e", b"s", b"u", b"l", b"d", b"R", b"b", b"\x81", b"\x85", b"\x86"),
    *(b"\x87", b"\x8f", b"\x90", b"\x91", b"\x94", b"q\x01", b"h\x01", b"K\x00", b"K\x03", b"\x88", b"U\x02f8", b"U\x02O8", b"U\x01<"),
    *(b"C\x08AAAAAAAA", b"\x8a\x0800000000", b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"),
    *(b"cnumpy\ndtype\nU\x02f8\x89\x88\x87R", b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"),
)


@settings(FUZZED, max_examples=600)
@given(st.lists(st.sampled_from(_WORDS), max_size=40))
def test_programs_of_pickle_opcodes_make_plain_values_or_nothing(words: list[bytes]) -> None:
    value = None
    with suppress(UserError):
        value = unpickle(b"\x80\x04" + b"".join(words) + b".", "here")
    repr(value)
    plain = (np.ndarray, np.generic, dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, type(None))
    assert isinstance(value, plain)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@FUZZED
@given(PLAIN, st.integers(0, 5))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert unpickle(pickle.dumps(value, protocol), "here") == value


_DTYPES = ("f2", "f4", "<f8", ">f8", "i1", "<i4", ">i8", "u2", "?", "c8", "U3", "S4", "M8[us]", "m8[s]", "f8,i4")


@FUZZED
@given(st.sampled_from(_DTYPES), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 5), st.booleans())
def test_arrays_of_every_kind_come_back(kind: str, shape: list[int], protocol: int, fortran: bool) -> None:
    array = np.zeros(shape, kind, order="F" if fortran else "C")
    if kind not in ("U3", "S4", "?", "f8,i4", "M8[us]", "m8[s]"):
        array += np.arange(array.size).reshape(shape).astype(kind)
    for stored in (array, array[..., ::-1] if array.ndim else array):
        data = pickle.dumps(stored, protocol)
        found = unpickle(data, "here")
        np.testing.assert_array_equal(found, pickle.loads(data), strict=True)


def test_masks_of_any_bytes_are_masks_or_none(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    png = written(lambda s: Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(s, "PNG"))
    npy = written(lambda s: np.save(s, np.eye(9, dtype=bool)))
    paths = {suffix: tmp_path / "masks" / f"frame_1_person_{n}.{suffix}" for n, suffix in enumerate(("png", "npy"))}

    @FUZZED
    @given(damaged([png]), damaged([npy]))
    def check(picture: bytes, array: bytes) -> None:
        paths["png"].write_bytes(picture)
        paths["npy"].write_bytes(array)
        masks = Masks(tmp_path, [])
        for person in range(2):
            mask = masks.read(person, 1)
            assert mask is None or (mask.dtype == bool and mask.ndim == 2)

    check()


def test_a_zip_within_a_zip_is_no_array(tmp_path: Path) -> None:
    inner = written(zip_of_arrays)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", inner)
    with pytest.raises(UserError, match="'a' cannot be read"):
        open_arrays(tmp_path / "a.npz")
