"""Stage folders of which something has a value of any type, shape and size: a finite problem, or one line that says what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import make_clip

from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.given.load import load_problem

FUZZED = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.sampled_from([0, 1, -1, 0.5, 1e-30, 1e3, 1e30, 1e300, -1e30, float("nan"), float("inf"), 2**31, 2**53, 2**62, -(2**62)])
DTYPES = st.sampled_from(["f2", "f4", "f8", ">f8", "i1", "u2", "i8", "u8", "?", "c16", "U5", "S3", "O", "M8[s]"])
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6, 22, 24]), max_size=4)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.just(2**70) | st.sampled_from(["", "a", "30", "nan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "fps", "frames"]), inner, max_size=2),
    max_leaves=5,
)


@st.composite
def changed(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    """An array like another, but for its values, its type or its shape."""
    kind = draw(st.sampled_from(["value", "factor", "all", "type", "shape", "row", "other"]))
    with np.errstate(all="ignore"):
        if kind == "factor":
            return array * np.float64(draw(NUMBERS)) if array.dtype.kind in "biuf" else array
        if kind in ("value", "all") and array.size and array.dtype.kind in "biuf":
            spoilt = array.astype(float)
            at = slice(None) if kind == "all" else draw(st.integers(0, array.size - 1))
            spoilt.reshape(-1)[at] = draw(NUMBERS)
            return spoilt
        if kind == "type" and array.dtype.kind in "biuf":
            return array.astype(draw(DTYPES))
        if kind == "shape" and array.ndim:
            return draw(
                st.sampled_from([array[:0], array[:1], array[..., :1], array[None], array.T, array.reshape(-1), array[-1:], array[::2]])
            )
        if kind == "row" and array.ndim:
            return np.concatenate([array, array[-1:]])
        return np.full(draw(SHAPES), 1).astype(draw(DTYPES))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short scene, not to be written to; its masks lie as pictures, its keypoints in files of their own as well."""
    clip = make_clip(tmp_path_factory.mktemp("fuzz") / "clip", num_frames=6)
    for path in (clip.stages[1] / "masks").glob("*person_001.npy"):
        Image.fromarray(np.load(path).astype(np.uint8) * 255).save(path.with_suffix(".png"))
        path.unlink()
    (clip.stages[1] / "keypoints_2d").mkdir()
    np.savez(
        clip.stages[1] / "keypoints_2d" / "person_001.npz", keypoints=np.full((6, 17, 3), 0.5), format="coco17", frame_ids=np.arange(6)
    )
    cameras = clip.stages[0] / "cameras.npz"
    np.savez(cameras, **np.load(cameras), frame_ids=np.arange(6), image_size=np.array([640, 360]), fps=25.0)
    return clip.folder


def spoil(path: Path, data: st.DataObject) -> None:
    """Changes something in a file."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            content = dict(arrays)
        name = data.draw(st.sampled_from(sorted(content)))
        content[name] = data.draw(changed(content[name]))
        np.savez(path, **content)
    elif path.suffix == ".npy":
        np.save(path, data.draw(changed(np.load(path))))
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
        content[data.draw(st.sampled_from(sorted(content)))] = data.draw(JSON)
        path.write_text(json.dumps(content))
    elif path.suffix == ".pkl":
        found = pickle.loads(path.read_bytes())
        name = data.draw(st.sampled_from(sorted(found[0])))
        found[0][name] = data.draw(JSON | changed(np.asarray(found[0][name])))
        path.write_bytes(pickle.dumps(found))
    else:
        shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
        picture = np.full(shape, data.draw(st.integers(0, 255))).astype(data.draw(st.sampled_from(["u1", "u2", "?"])))
        Image.fromarray(picture).save(path)


def test_no_scene_is_a_traceback_and_no_problem_is_not_finite(whole: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name != "all_people_world.npz")
    # files of one kind on other frames are alike
    files = [file for file in files if not any(mark in file.stem for mark in ("00001", "00002", "00003", "00004"))]
    scene, said = tmp_path / "scene", list[str]()

    @FUZZED
    @given(st.data())
    def check(data: st.DataObject) -> None:
        shutil.rmtree(scene, ignore_errors=True)
        shutil.copytree(whole, scene)
        for file in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=2, unique=True)):
            spoil(scene / file, data)
        try:
            problem = load_problem(*(scene / name for name in STAGES.values()))
        except UserError as error:
            said.append(str(error))
            return
        start = problem.start
        said.extend(problem.warnings)
        assert all(torch.isfinite(value).all() for value in (start.global_orient, start.body_pose, start.pelvis, problem.bodies.betas))
        assert 0 < start.alpha0 < float("inf")
        assert 1 <= problem.fps <= 1000

    check()
    assert all(len(line.splitlines()) == 1 for line in said)
