"""A file that says which way is up decides it, and is doubted where the rest of the clip agrees on another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import Clip
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.cameras import read_cameras
from pose_priors.refinement.formats.witnesses.beside import witness_path
from pose_priors.refinement.formats.witnesses.gravity import Gravity, read_gravity
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.problem import Problem


def read(clip: Clip, path: Path, cut: int | None = None) -> Gravity:
    return read_gravity(path, read_cameras(clip.stages[0], []).first(cut), cut=cut is not None)


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def in_cameras(clip: Clip) -> np.ndarray:
    """(T, 3) what is true, in the axes of each camera; these turn by 10 degrees over the clip, about another axis than the vertical."""
    return np.einsum("tij,j->ti", clip.w2c[:, :3, :3], clip.plane[:3])


def write(folder: Path, kind: str, **arrays: Any) -> Path:
    path = folder / f"gravity.{kind}"
    if kind == "json":
        path.write_text(json.dumps({name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in arrays.items()}))
    elif kind == "npy":
        np.save(path, arrays["up"])
    else:
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("kind", ["json", "npz", "npy"])
def test_directions_of_cameras_come_together_in_the_world(clips: dict[str, Clip], tmp_path: Path, kind: str) -> None:
    clip = clips["released"]
    found = read(clip, write(tmp_path, kind, up=in_cameras(clip)))
    assert degrees(found.up, clip.plane[:3]) < 1e-5
    assert "12 frames that agree to 0.0 degrees" in found.told
    assert not found.doubt


def test_one_direction_is_of_the_first_camera_and_the_world_of_stage_1(clips: dict[str, Clip], tmp_path: Path) -> None:
    clip = clips["released"]
    assert degrees(read(clip, write(tmp_path, "npy", up=in_cameras(clip)[0])).up, clip.plane[:3]) < 1e-5
    assert degrees(read(clip, write(tmp_path, "json", up=clip.plane[:3], frame="world")).up, clip.plane[:3]) < 1e-5
    assert degrees(read(clip, write(tmp_path, "npz", up=np.tile(clip.plane[:3], (12, 1)), frame="world")).up, clip.plane[:3]) < 1e-5


def test_few_frames_that_are_wrong_do_not_move_it_and_many_are_told(clips: dict[str, Clip], tmp_path: Path) -> None:
    clip = clips["released"]
    given = in_cameras(clip)
    given[:4] = [0, 0, 1]
    given[4] = np.nan
    found = read(clip, write(tmp_path, "npz", up=given))
    assert degrees(found.up, clip.plane[:3]) < 1e-5
    assert not found.doubt
    given = Rotation.random(12, np.random.default_rng(0)).apply([0, -1, 0])
    given[:3] = in_cameras(clip)[:3]
    found = read(clip, write(tmp_path, "npz", up=given))
    assert degrees(found.up, clip.plane[:3]) < 5
    assert "of its frames are more than 10 degrees" in found.doubt


def test_some_frames_are_placed_by_their_numbers_and_a_longer_file_is_cut(clips: dict[str, Clip], tmp_path: Path) -> None:
    clip = clips["released"]
    chosen = np.array([11, 3, 40])
    given = np.concatenate([in_cameras(clip)[[11, 3]], [[1.0, 0, 0]]])
    assert degrees(read(clip, write(tmp_path, "npz", up=given, frame_ids=chosen)).up, clip.plane[:3]) < 1e-5
    assert degrees(read(clip, write(tmp_path, "npz", up=in_cameras(clip)), cut=5).up, clip.plane[:3]) < 1e-5


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"up": np.tile([0.0, -1, 0], (9, 1))}, "'up': 9 rows, but the clip has 12 frames; one for each is expected"),
        ({"up": np.zeros((12, 2))}, r"'up' has shape \(12, 2\); \(3,\) for the clip"),
        ({"up": np.array([0.0, -9.81, 0])}, "a vector of length 9.81; unit vectors are expected"),
        ({"up": np.full((12, 3), np.nan)}, "'up' is not finite on any frame"),
        ({"gravity": np.array([0.0, -1, 0])}, "holds gravity; 'up' is expected"),
        ({"up": np.array([0.0, -1, 0]), "frame": "moon"}, "'frame' is 'moon'; camera or world is expected"),
        ({"up": np.tile([0.0, -1, 0], (2, 1)), "frame_ids": np.array([50, 51])}, r"none of its frames \(50, 51\) is one of the clip"),
        ({"up": np.tile([0.0, -1, 0], (2, 1)), "frame_ids": np.array([5, 5])}, "2 rows and 1 different 'frame_ids'"),
        ({"up": np.tile([0.0, -1, 0], (12, 1)), "frame": np.array(["world"] * 12)}, r"'frame' is an array of shape \(12,\); camera or"),
        ({"up": np.array([0.0, -1, 0]), "frame": np.array([], "U5")}, r"'frame' is an array of shape \(0,\)"),
        ({"up": np.array([0.0, -1, 0]), "frame_ids": np.array([99])}, "'frame_ids' beside a single 'up'"),
        ({"up": np.array([False, True, False])}, "'up' holds truth values"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(clips: dict[str, Clip], tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read(clips["released"], write(tmp_path, "npz", **arrays))
    assert "\n" not in str(caught.value)


def test_a_folder_has_one_such_file(clips: dict[str, Clip], tmp_path: Path) -> None:
    write(tmp_path, "npy", up=np.array([0.0, -1, 0]))
    (tmp_path / "log.txt").write_text("done")
    read(clips["released"], tmp_path)
    write(tmp_path, "json", up=[0.0, -1, 0])
    with pytest.raises(UserError, match=r"one file of .* is expected; there are gravity\.json, gravity\.npy"):
        read(clips["released"], tmp_path)


def load(clip: Clip, path: Path | None) -> Problem:
    return load_problem(*clip.stages, LoadOptions(gravity=path))


def test_it_decides_which_way_is_up_where_nothing_of_the_floor_is_seen(clips: dict[str, Clip], clip: Any, tmp_path: Path) -> None:
    own = clip()
    for file in (own.folder / "1_camera_estimation").rglob("depth*.npy"):
        file.unlink()
    without = load(own, None)
    given = load(own, write(tmp_path, "npz", up=in_cameras(own)))
    plane = own.plane[:3]
    assert degrees(given.start.ground_plane[:3].numpy(), plane) < 0.1 < degrees(without.start.ground_plane[:3].numpy(), plane)
    assert len(given.told) == 1
    assert "says which way is up" in given.told[0]
    assert given.floor_known
    assert not without.told


def test_one_that_points_down_is_doubted(clips: dict[str, Clip], tmp_path: Path) -> None:
    gravity = write(tmp_path, "npz", up=-in_cameras(clips["released"]))
    problem = load(clips["released"], gravity)
    assert not problem.floor_known
    (line,) = (line for line in problem.warnings if line.endswith("(does it point down?); nothing is held to the floor"))
    assert line.startswith(str(gravity))  # which file it is that is doubted


def test_one_that_a_floor_and_those_on_it_contradict_is_doubted(clips: dict[str, Clip], tmp_path: Path) -> None:
    clip = clips["released"]
    turned = Rotation.from_euler("z", 35, degrees=True).apply(in_cameras(clip))
    problem = load(clip, write(tmp_path, "npz", up=turned))
    assert not problem.floor_known
    assert any("degrees from that of a floor that people touch" in line for line in problem.warnings)
    slight = Rotation.from_euler("z", 5, degrees=True).apply(in_cameras(clip))
    problem = load(clip, write(tmp_path, "npz", up=slight))
    assert problem.floor_known
    assert degrees(problem.start.ground_plane[:3].numpy(), clip.plane[:3]) < 1  # the floor itself is seen better


def test_frames_that_are_split_in_half_are_doubted(clips: dict[str, Clip], tmp_path: Path) -> None:
    given = in_cameras(clips["released"])
    given[::2] *= -1
    assert "50% of its frames are more than 10 degrees" in read(clips["released"], write(tmp_path, "npz", up=given)).doubt


@pytest.mark.parametrize("given", ["~nobody_of_that_name/x.json", "a" * 300 + ".json", "", "gone\0.json"])
def test_names_that_no_file_has_are_refused_in_one_line(given: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^input\.gravity=.*no such file or folder") as caught:
        witness_path("gravity", given, "walk", tmp_path)
    assert "\n" not in str(caught.value)
