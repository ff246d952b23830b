from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path

import joblib.numpy_pickle
import numpy as np
import pytest
import torch

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.safe_pickle import load_pickle


class Attack:
    """Runs a command when unpickled by the standard reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_tensors_and_containers_come_back(tmp_path: Path, protocol: int) -> None:
    content = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.float64(0.5),
        "objects": np.array(["a", None], dtype=object),
        "tensor": torch.arange(4.0).view(2, 2),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "ordered": collections.OrderedDict(a=[1, (2.5, {"b"}, b"bytes", 1j)]),
    }
    path = tmp_path / "good.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["array"], content["array"])
    assert loaded["scalar"] == 0.5
    assert loaded["objects"].tolist() == ["a", None]
    assert torch.equal(loaded["tensor"], content["tensor"])
    assert torch.equal(loaded["parameter"], content["parameter"])
    assert loaded["ordered"] == content["ordered"]


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)], ids=str)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_joblib_dumps_comes_back(tmp_path: Path, compress: object, protocol: int) -> None:
    content = collections.defaultdict(dict)
    content[3] = {
        "rows": np.arange(12.0).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "empty": np.zeros((0, 3), np.float32),
        "single": np.array(2.5),
        "text": np.array(["a", "bc"]),
        "objects": np.array([{"inner": np.arange(2)}, None], dtype=object),
        "tensor": torch.arange(4.0).view(2, 2),
        "after": "all of it",
    }
    path = tmp_path / "dumped.pkl"
    joblib.dump(content, path, compress=compress, protocol=protocol)
    loaded = load_pickle(path)
    assert isinstance(loaded, collections.defaultdict)
    assert loaded.keys() == {3}
    for name in ("rows", "columns", "empty", "single", "text"):
        np.testing.assert_array_equal(loaded[3][name], content[3][name], strict=True)
        loaded[3][name][...] = loaded[3][name].copy()  # arrays may be written to, as those of any pickle
    np.testing.assert_array_equal(loaded[3]["objects"][0]["inner"], [0, 1])
    assert torch.equal(loaded[3]["tensor"], content[3]["tensor"])
    assert loaded[3]["after"] == "all of it"


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("inside", ["beside an array", "within an array of objects"])
def test_code_in_what_joblib_dumps_is_refused_and_never_run(tmp_path: Path, compress: int, inside: str) -> None:
    attack = Attack(tmp_path / "ran")
    content = {"poses": np.ones(3), "bad": attack if inside == "beside an array" else np.array([attack], dtype=object)}
    path = tmp_path / "bad.pkl"
    joblib.dump(content, path, compress=compress)
    with pytest.raises(UserError, match=r"bad\.pkl: refused to unpickle .*system"):
        load_pickle(path)
    assert not (tmp_path / "ran").exists()


def test_joblib_files_that_lie_about_their_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.pkl"
    joblib.dump({"a": np.arange(1000.0)}, path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(UserError, match=r"short\.pkl: not a readable pickle .*cut short"):
        load_pickle(path)
    joblib.dump({"a": np.arange(1000.0)}, path, compress=3)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"short\.pkl: not a readable compressed pickle .*cut short"):
        load_pickle(path)
    wrapped = pickle.dumps(joblib.numpy_pickle.NumpyArrayWrapper(np.ndarray, (-1, 2), "C", np.dtype("f8")))
    path.write_bytes(wrapped + bytes(100))
    with pytest.raises(UserError, match=r"short\.pkl: not a readable pickle .*shape \(-1, 2\)"):
        load_pickle(path)


def test_names_of_older_numpy_are_understood(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(3.0), protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path = tmp_path / "old.pkl"
    path.write_bytes(data)
    np.testing.assert_array_equal(load_pickle(path), [0, 1, 2])


def test_torch_archives_with_numpy_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "saved.pkl"
    torch.save({"smplx": np.ones((2, 182), dtype=np.float32), "left_valid": torch.ones(2, dtype=torch.bool)}, path)
    assert load_pickle(path)["smplx"].shape == (2, 182)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_empty_tensors_are_tensors(tmp_path: Path, kind: torch.dtype, zipped: bool) -> None:
    path = tmp_path / "saved.pt"
    torch.save({"none": torch.zeros(0, 3, dtype=kind), "two": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    found = load_pickle(path)
    assert (found["none"].shape, found["none"].dtype) == ((0, 3), kind)
    assert found["two"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".npy", ".npz"])
def test_code_is_refused_by_name_and_never_run(tmp_path: Path, suffix: str) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / f"bad{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"poses": Attack(marker)}))
    elif suffix == ".pt":
        torch.save({"poses": Attack(marker)}, path)
    elif suffix == ".npy":
        np.save(path, np.array({"poses": Attack(marker)}, dtype=object), allow_pickle=True)
    else:
        np.savez(path, poses=np.array([Attack(marker)], dtype=object))
    with pytest.raises(UserError, match=r"bad.*system") as error:
        _ = [entry.load() for entry in open_arrays(path).values()]
    assert "\n" not in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["torch.load", "builtins.eval", "numpy.load", "builtins.getattr", "_codecs.lookup", "subprocess.Popen"])
def test_other_functions_of_the_same_packages_are_refused(tmp_path: Path, name: str) -> None:
    module, function = name.rsplit(".", 1)
    path = tmp_path / "bad.pkl"
    path.write_bytes(f"c{module}\n{function}\n(S'1'\ntR.".encode())
    with pytest.raises(UserError, match=name):
        load_pickle(path)


def test_a_damaged_pickle_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps(np.arange(100.0))[:50])
    with pytest.raises(UserError, match=r"cut\.pkl: not a readable pickle"):
        load_pickle(path)
