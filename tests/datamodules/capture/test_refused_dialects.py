"""A tool's file that is not as the tool writes it is refused in one line that names the array, whatever stands there instead."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stand_ins.tool_files import NUM, TOOLS

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays

# where an array stands, and the name that it is told by
PLACES: dict[str, list[tuple[Any, ...]]] = {
    "aist": [("smpl_poses",), ("smpl_trans",), ("smpl_scaling",)],
    "gvhmr": [("smpl_params_global", name) for name in ("global_orient", "body_pose", "transl")],
    "wham": [(0, name) for name in ("pose_world", "trans_world", "frame_ids")],
    "wham of two": [(4, name) for name in ("pose_world", "trans_world", "frame_ids")],
    "comotion": [(name,) for name in ("pose", "trans", "id", "frame_idx")],
    "phc": [("walk", name) for name in ("pose_aa", "trans_orig", "fps")],
    "phc of two": [("run", "pose_aa")],
    "protomotions": [(name,) for name in ("dof_pos", "rigid_body_pos", "rigid_body_rot", "fps")],
    "romp": [("results", "smpl_thetas")],
    "romp video": [("results", "000003.jpg", name) for name in ("smpl_thetas", "track_ids")],
}
NO_NUMBERS: dict[str, Any] = {
    "text": "big",
    "bytes": b"90",
    "dict": {"a": 1},
    "ragged": [[1, 2, 3], [1, 2]],
    "text in an array": np.full((NUM, 72), "q"),
    "objects": np.full((NUM, 72), "1.5", object),
    "ragged arrays": np.array([np.zeros(3), np.zeros(2)], object),
    "complex": np.zeros((NUM, 72), complex),
    "complex tensor": torch.zeros(NUM, 3, dtype=torch.complex64),
    "times": np.zeros((NUM, 72), "M8[s]"),
    "records": np.zeros(NUM, [("a", "f4"), ("b", "f4")]),
    "empty": np.zeros((0, 72)),
    "empty list": [],
    "too many dimensions": np.zeros((1, 1, NUM, 24, 3)),
    "rows of another number": np.zeros((NUM - 1, 7)),
    "nothing": None,
    "lists of lists of lists": [[[[1.0]]]] * 2,
}


def with_value(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    first, *rest = place
    return content | {first: with_value(content[first], tuple(rest), value) if rest else value}


def without(content: Any, place: tuple[Any, ...]) -> Any:
    first, *rest = place
    if rest:
        return content | {first: without(content[first], tuple(rest))}
    return {name: value for name, value in content.items() if name != first}


def refusal(content: Any, path: Path) -> str:
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError) as error:
        open_arrays(path)
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize("tool", TOOLS)
def test_as_the_tool_writes_it_it_is_read(tool: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(TOOLS[tool]))
    assert {"poses", "pose"} & open_arrays(path).keys()


@pytest.mark.parametrize("what", NO_NUMBERS)
@pytest.mark.parametrize("tool", PLACES)
def test_what_is_no_array_of_numbers_is_named(tool: str, what: str, tmp_path: Path) -> None:
    optional = ("smpl_scaling", "frame_ids", "trans_orig", "fps", "track_ids")  # of which some files have none, and `None` says as much
    for place in PLACES[tool]:
        if what == "nothing" and place[-1] in optional:
            continue
        if what in ("empty", "empty list") and place[1:] == ("000003.jpg", "smpl_thetas"):  # an image of a video with nobody on it
            continue
        assert f"'{place[-1]}'" in refusal(with_value(TOOLS[tool], place, NO_NUMBERS[what]), tmp_path / "a.pkl")


@pytest.mark.parametrize(("tool", "place"), [("gvhmr", place) for place in PLACES["gvhmr"]] + [("wham", (0, "trans_world"))])
def test_what_is_not_there_is_named(tool: str, place: tuple[Any, ...], tmp_path: Path) -> None:
    assert f"no '{place[-1]}'; it holds" in refusal(without(TOOLS[tool], place), tmp_path / "a.pkl")


@pytest.mark.parametrize("tool", ["phc", "protomotions"])
@pytest.mark.parametrize("rate", [0, -5, float("nan"), float("inf"), True, 1e9, [30, 60], "abc", "", b"30", 1j])
def test_what_is_no_frame_rate_is_said(tool: str, rate: object, tmp_path: Path) -> None:
    place = ("walk", "fps") if tool == "phc" else ("fps",)
    assert "'fps' " in refusal(with_value(TOOLS[tool], place, rate), tmp_path / "a.pkl")


@pytest.mark.parametrize("rate", [30, "30", [30], np.array([[30]]), np.float16(30), np.array(30)])
def test_what_is_a_frame_rate_is_taken(rate: object, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(with_value(TOOLS["phc"], ("walk", "fps"), rate)))
    assert float(open_arrays(path)["mocap_framerate"].load()) == 30


@pytest.mark.parametrize("scaling", [1e300, 1e-300, -90.0, 0, np.nan, np.full(NUM, 90.0), True])
def test_a_scaling_that_no_file_has_is_refused(scaling: object, tmp_path: Path) -> None:
    assert "'smpl_scaling' " in refusal(with_value(TOOLS["aist"], ("smpl_scaling",), scaling), tmp_path / "a.pkl")


@pytest.mark.parametrize("tool", ["omomo", "protomotions"])
def test_quaternions_are_of_length_one_or_missing(tool: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"

    def content(quaternion: list[float]) -> Any:
        if tool == "omomo":
            rows = TOOLS[tool].copy()
            rows[3, 3:7] = quaternion
            return rows
        turns = TOOLS[tool]["rigid_body_rot"].clone()
        turns[3, 0] = torch.tensor(quaternion)
        return TOOLS[tool] | {"rigid_body_rot": turns}

    assert "quaternions x, y, z, w that are not of length 1, on 1 of 12 frames" in refusal(content([0, 0, 0, 0]), path)
    path.write_bytes(pickle.dumps(content([np.nan, 0, 0, 1])))
    known = np.isfinite(open_arrays(path)["poses"].load()).all(1)
    np.testing.assert_array_equal(known, np.arange(NUM) != 3)


@pytest.mark.parametrize("frames", [[0] * NUM, [*range(NUM - 1), 3], np.arange(NUM)[::-1], np.arange(NUM) + 0.5, np.arange(NUM) - 2])
def test_frames_rise(frames: object, tmp_path: Path) -> None:
    assert "'frame_ids' " in refusal(with_value(TOOLS["wham"], (0, "frame_ids"), frames), tmp_path / "a.pkl")


def test_nobody_is_twice_on_a_frame(tmp_path: Path) -> None:
    twice = with_value(TOOLS["comotion"], ("frame_idx",), torch.zeros(NUM, dtype=torch.long))
    assert "'frame_idx' has a frame twice for 'id' 3" in refusal(twice, tmp_path / "a.pkl")


def test_people_who_are_hardly_anywhere_take_no_memory(tmp_path: Path) -> None:
    far = with_value(TOOLS["wham of two"], (4, "frame_ids"), np.arange(NUM) + 999_000)
    assert "2 people on 999009 frames, of which 24 of 1998018 have one" in refusal(far, tmp_path / "a.pkl")


def test_one_of_several_people_without_a_pose_is_named(tmp_path: Path) -> None:
    assert "'4': no 'pose_world'; it holds" in refusal(TOOLS["wham"] | {4: {"trans_world": np.zeros((NUM, 3))}}, tmp_path / "a.pkl")
    assert "'c': holds (int)" in refusal(TOOLS["wham"] | {"c": 3}, tmp_path / "a.pkl")
