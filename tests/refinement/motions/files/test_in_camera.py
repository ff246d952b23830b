"""A reading in the camera beside the one in the world, as ComfyUI's files of GVHMR have it, follows what is cleaned of that."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from walking_files import walker

from pose_priors.clean import main as clean
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT

FPS = 30.0
POSE, PELVIS = walker(3.0, FPS)
NUM = len(POSE)
ROOT = np.array(TEMPLATE_ROOT[22])
LOST = slice(30, 37)
NAMES = "global_orient_incam", "transl_incam"
# a camera that goes along and pans, at a speed that does not change
TIME = np.arange(NUM) / FPS
CAMERA = Rotation.from_rotvec(np.outer(TIME, [0, 0.2, 0])) * Rotation.from_matrix([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
CENTRE = np.stack([0.5 * TIME, np.full(NUM, -4.0), np.full(NUM, 1.5)], 1)


def in_camera() -> dict[str, np.ndarray]:
    """By points of the pelvis, which is `ROOT` from where a translation of SMPL-X says that a body is."""
    turn = (CAMERA * Rotation.from_rotvec(POSE[:, 0])).as_rotvec()
    return dict(zip(NAMES, (turn, CAMERA.apply(PELVIS - CENTRE) - ROOT), strict=True))


def content() -> dict[str, np.ndarray]:
    world = {"global_orient": POSE[:, 0], "body_pose": POSE[:, 1:22].reshape(NUM, 63), "transl": PELVIS - ROOT}
    return {name: array.copy() for name, array in (world | in_camera() | {"fps": np.array(FPS), "betas": np.zeros((NUM, 10))}).items()}


def cleaned(arrays: dict[str, np.ndarray], folder: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """What becomes of the arrays, and the notes on the reading in the camera."""
    np.savez(folder / "smpl_params_walk.npz", **arrays)
    clean([str(folder / "smpl_params_walk.npz"), "--output", str(folder / "out")])
    with np.load(folder / "out/smpl_params_walk.npz") as file:
        found = {name: file[name] for name in file.files}
    notes = json.loads((folder / "out/smpl_params_walk.npz.report.json").read_text())["notes"]
    return found, [note for note in notes if NAMES[0] in note]


def agree(found: dict[str, np.ndarray], frames: slice) -> None:
    """The camera by both readings is the one that there was."""
    turn = Rotation.from_rotvec(found[NAMES[0]][frames]) * Rotation.from_rotvec(found["global_orient"][frames]).inv()
    assert (turn * CAMERA[frames].inv()).magnitude().max() < 1e-5
    seen = CAMERA[frames].apply(found["transl"][frames] + ROOT - CENTRE[frames]) - ROOT
    np.testing.assert_allclose(found[NAMES[1]][frames], seen, atol=1e-5)


def test_frames_that_are_filled_and_others_to_the_last_bit(tmp_path: Path) -> None:
    """Lost in both readings, in the world alone, and before the camera alone."""
    arrays = content()
    for name in ("global_orient", "body_pose", "transl", *NAMES):
        arrays[name][LOST] = np.nan
    arrays["transl"][50:52] = np.nan
    arrays[NAMES[1]][60:63] = np.nan
    found, notes = cleaned(arrays, tmp_path)
    agree(found, slice(None))
    kept = np.setdiff1d(np.arange(NUM), [*range(30, 37), 50, 51, 60, 61, 62])
    assert all(np.array_equal(found[name][kept], arrays[name][kept]) for name in arrays if name not in ("fps", "betas"))
    assert np.array_equal(found["body_pose"][60:63], arrays["body_pose"][60:63])
    assert notes == [
        "global_orient_incam and transl_incam: 12 frames are as the camera sees the cleaned motion, 12 of them by a camera between those "
        "of other frames"
    ]


@pytest.mark.parametrize("both", [True, False])
def test_a_jump_of_the_root_in_both_readings_or_in_the_world_alone(both: bool, tmp_path: Path) -> None:
    """A camera by the two readings of such a frame would jump where one of them does."""
    arrays, jump = content(), Rotation.from_rotvec([0, 0, 0.9])
    arrays["global_orient"][40] = (jump * Rotation.from_rotvec(POSE[40, 0])).as_rotvec()
    if both:
        arrays[NAMES[0]][40] = (CAMERA[40] * jump * Rotation.from_rotvec(POSE[40, 0])).as_rotvec()
    found, _ = cleaned(arrays, tmp_path)
    assert not np.array_equal(found["global_orient"][40], arrays["global_orient"][40])
    agree(found, slice(None))


def test_noise_of_both_readings_goes_from_both(tmp_path: Path) -> None:
    arrays, shake = content(), Rotation.from_rotvec(np.random.default_rng(0).normal(0, 0.05, (NUM, 3)))
    arrays["global_orient"] = (shake * Rotation.from_rotvec(arrays["global_orient"])).as_rotvec()
    arrays["body_pose"] += np.random.default_rng(1).normal(0, 0.05, (NUM, 63))
    arrays[NAMES[0]] = (CAMERA * Rotation.from_rotvec(arrays["global_orient"])).as_rotvec()
    found, _ = cleaned(arrays, tmp_path)
    off = [Rotation.from_rotvec(each[NAMES[0]]) * (CAMERA * Rotation.from_rotvec(POSE[:, 0])).inv() for each in (arrays, found)]
    assert off[1].magnitude().mean() < 0.6 * off[0].magnitude().mean()


def test_what_the_floor_says_of_the_path_leaves_the_picture_alone(tmp_path: Path) -> None:
    arrays = content()
    arrays["transl"] += np.outer(TIME, [0.3, 0.2, 0])  # glides
    found, notes = cleaned(arrays, tmp_path)
    assert np.abs(found["transl"] - arrays["transl"]).max() > 0.3
    assert all(np.array_equal(found[name], arrays[name]) for name in NAMES)
    assert [note.split(": ")[1][:20] for note in notes] == ["what the floor says "]


def test_lost_ends_are_seen_by_a_camera_that_is_held_and_said_to_be(tmp_path: Path) -> None:
    arrays = content()
    for name in ("global_orient", "body_pose", "transl", *NAMES):
        arrays[name][:4] = arrays[name][20:23] = arrays[name][-6:] = np.nan
    _, notes = cleaned(arrays, tmp_path)
    assert notes == [
        "global_orient_incam and transl_incam: 13 frames are as the camera sees the cleaned motion, 3 of them by a camera between those of "
        "other frames, 10 at the ends by the nearest camera, which is held: nothing tells how it moved there"
    ]


def test_too_few_frames_with_both_are_told(tmp_path: Path) -> None:
    arrays = content()
    arrays[NAMES[0]][:50] = np.nan
    found, notes = cleaned(arrays, tmp_path)
    assert np.array_equal(found[NAMES[0]], arrays[NAMES[0]], equal_nan=True)
    assert notes == [
        "global_orient_incam and transl_incam stay as they are on 50 frames that were cleaned or have none: both readings tell the camera "
        "on 40 of 90 frames only"
    ]


def _other(arrays: dict[str, np.ndarray], how: str) -> None:
    if how == "one alone":
        del arrays[NAMES[1]]
    elif how == "integers":
        arrays[NAMES[0]] = np.round(arrays[NAMES[0]]).astype(int)
    elif how == "shorter":
        arrays[NAMES[1]] = arrays[NAMES[1]][:-3]
    elif how == "names":
        arrays["root_orient_incam"], arrays["trans_incam"] = (arrays.pop(name) for name in NAMES)
    else:
        del arrays["transl"]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without what is said in passing, which is heard where an earlier command has set the level."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("one alone", "global_orient_incam (float64 (90, 3)) stays as it is"),
        ("integers", "global_orient_incam (int64 (90, 3)), transl_incam (float64 (90, 3)) stay as they are"),
        ("shorter", "global_orient_incam (float64 (90, 3)), transl_incam (float64 (87, 3)) stay as they are"),
        ("names", "root_orient_incam (float64 (90, 3)), trans_incam (float64 (90, 3)) stay as they are"),
        ("no path", "global_orient_incam (float64 (90, 3)), transl_incam (float64 (90, 3)) stay as they are"),
    ],
)
def test_a_reading_that_cannot_follow_is_told(how: str, left: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = content()
    _other(arrays, how)
    sound = arrays | {"fps": np.array(FPS)}
    cleaned(sound, tmp_path)
    assert not warned(caplog)  # nothing was cleaned
    arrays["global_orient"][LOST] = np.nan
    found, _ = cleaned(arrays, tmp_path)
    notes = json.loads((tmp_path / "out/smpl_params_walk.npz.report.json").read_text())["notes"]
    (told,) = [note for note in notes if "_incam" in note]
    assert told == (
        f"{left} on 7 frames of which the root or the path in the world was cleaned: global_orient_incam and transl_incam follow, both "
        "float (90, 3), beside a path in the world"
    )
    assert warned(caplog) == [f"{tmp_path / 'smpl_params_walk.npz'}: {told}"]
    assert all(np.array_equal(found[name], array) for name, array in arrays.items() if name.endswith("_incam"))


def test_a_path_of_coarse_half_precision_leaves_the_reading_and_tells(tmp_path: Path) -> None:
    arrays = content()
    arrays["transl"] = (arrays["transl"] + [3000.0, 0, 0]).astype(np.float16)
    arrays["global_orient"][LOST] = np.nan
    _, notes = cleaned(arrays, tmp_path)
    assert [note.split(" on 7")[0] for note in notes] == ["global_orient_incam, transl_incam stay as they are"]
