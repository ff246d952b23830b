"""Rows that say that nobody was seen are missing, whatever they hold, and the line of a file tells of all its people."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walking_files import WALKER_FPS, walker

from pose_priors.clean import main as clean
from pose_priors.refinement.motions.files.read import read_motions
from pose_priors.refinement.motions.restore import BRIDGED_S

POSE, PELVIS = walker(1.5)
NUM = len(POSE)
ROOT, PLACE = np.array([np.pi / 2, 0, 0]), np.array([1.0, 2, 3])


def write(path: Path, pose: np.ndarray, pelvis: np.ndarray, **others: np.ndarray) -> Path:
    """Of one person or, (P, T, ...), of several."""
    flat = pose.reshape(*pose.shape[:-2], -1)
    np.savez(
        path,
        root_orient=flat[..., :3],
        pose_body=flat[..., 3:66],
        pose_hand=flat[..., 75:],
        trans=pelvis,
        fps=np.array(WALKER_FPS),
        **others,
    )
    return path


def cleaned(source: Path, tmp_path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    clean([str(source), "--output", str(tmp_path / "out")])
    content = np.load(tmp_path / "out" / source.name)
    return {name: content[name] for name in content.files}, json.loads((tmp_path / f"out/{source.name}.report.json").read_text())


def placeholder(
    frames: slice | list[int], root: np.ndarray | float = 0.0, place: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    pose, pelvis = POSE.copy(), PELVIS + 0.5
    pose[:, 25:] = 0.2
    pose[frames], pelvis[frames] = 0, place
    pose[frames, 0] = root
    return pose, pelvis


@pytest.mark.parametrize(
    ("frames", "root", "place"),
    [
        (slice(40, 48), 0.0, 0.0),
        ([40], 0.0, 0.0),
        ([20, 21, 50, 51, 52], ROOT, PLACE),
        ([0, 1, 2, 60], 0.0, 0.0),
        ([NUM - 2, NUM - 1], 0.0, 0.0),
        ([40, 41, 43, 44, 46], 0.0, 0.0),  # known frames between them, alone
        ([*range(20, 50), *range(51, NUM)], 0.0, 0.0),
        ([*range(1, NUM, 2)], 0.0, 0.0),
        ([*range(1, NUM - 1, 2)], ROOT, PLACE),  # no two frames that follow each other tell how fast the person moves
    ],
)
def test_placeholders_are_missing(frames: slice | list[int], root: np.ndarray | float, place: np.ndarray | float, tmp_path: Path) -> None:
    pose, pelvis = placeholder(frames, root, place)
    lost = np.zeros(NUM, dtype=bool)
    lost[frames] = True
    arrays, report = cleaned(write(tmp_path / "clip.npz", pose, pelvis), tmp_path)
    nothing = np.where(lost[:, None], np.nan, pelvis)
    expected, _ = cleaned(write(tmp_path / "same.npz", pose, nothing), tmp_path)
    told = report["people"][0]["faults"]
    assert list(told) == ["missing"]
    assert told["missing"]["num_frames"] == lost.sum()
    assert [note for note in report["notes"] if "placeholder" in note]
    for name in ("root_orient", "pose_body", "trans"):
        np.testing.assert_allclose(arrays[name], expected[name], atol=1e-9)
    assert np.all(arrays["pose_hand"] > 0.19)  # fingers of nobody are none either


def test_zeros_in_a_clip_that_begins_with_a_body_at_rest(tmp_path: Path) -> None:
    """As captures do, to be calibrated: that one is somebody."""
    pose, pelvis = placeholder([50, 51])
    pose[:10, 1:], pose[:10, 0], pelvis[:10] = 0, pose[10, 0], pelvis[10]
    file = read_motions(write(tmp_path / "clip.npz", pose, pelvis))
    assert np.flatnonzero(file.absent[0]).tolist() == [50, 51]


def test_placeholders_in_a_clip_that_begins_with_a_body_at_rest(tmp_path: Path) -> None:
    """Neither of them zeros: the one is always in the same place, the other somewhere else."""
    pose, pelvis = placeholder([50, 51, 52], ROOT, PLACE)
    pose[:2, 1:], pose[:2, 0], pelvis[:2] = 0, pose[2, 0], pelvis[2]
    file = read_motions(write(tmp_path / "clip.npz", pose, pelvis))
    assert np.flatnonzero(file.absent[0]).tolist() == [50, 51, 52]


@pytest.mark.parametrize("on_their_way", [True, False])
@pytest.mark.parametrize("frames", [[40], [*range(36, 55)]])
def test_a_body_at_rest_that_was_cut_in_where_the_person_was_is_a_pose(frames: list[int], on_their_way: bool, tmp_path: Path) -> None:
    """And is said to be one; somewhere else it is a placeholder."""
    place = PELVIS[frames[len(frames) // 2]] + 0.5 + (0 if on_their_way else np.array([0.4, 0.3, 0]))
    pose, pelvis = placeholder(frames, POSE[0, 0], place)
    file = read_motions(write(tmp_path / "clip.npz", pose, pelvis))
    assert np.flatnonzero(file.absent[0]).tolist() == ([] if on_their_way else frames)
    (told,) = [note for note in file.notes if "body at rest" in note]
    assert told.endswith(
        f"{'taken as a pose' if on_their_way else 'are taken as missing'}: {'40' if len(frames) == 1 else '36 to 54'} of person 0"
    )


def test_without_a_path_nothing_tells_who_is_on_their_way(tmp_path: Path) -> None:
    pose, _ = placeholder([40, 41], POSE[0, 0])
    np.savez(tmp_path / "clip.npz", poses=pose[:, :22].reshape(NUM, 66), fps=np.array(WALKER_FPS))
    file = read_motions(tmp_path / "clip.npz")
    assert np.flatnonzero(file.absent[0]).tolist() == [40, 41]


def test_zeros_amid_a_body_at_rest_that_moves(tmp_path: Path) -> None:
    """As files of roots alone are."""
    pose, pelvis = placeholder(slice(0, NUM))
    pose[:, 0], pelvis[:] = POSE[:, 0], PELVIS
    pose[40:45] = pelvis[40:45] = 0
    file = read_motions(write(tmp_path / "clip.npz", pose, pelvis))
    assert np.flatnonzero(file.absent[0]).tolist() == [*range(40, 45)]


def test_zeros_of_a_clip_with_one_other_frame_are_left(tmp_path: Path) -> None:
    file = read_motions(write(tmp_path / "clip.npz", *placeholder(slice(1, None))))
    assert not file.absent[0].any()


def test_who_passes_through_a_body_at_rest_is_somebody(tmp_path: Path) -> None:
    """Stretches of it slowly, all of the clip, other places each time, or at an end by a root or a place of its own."""
    slow = np.minimum(np.abs(np.arange(NUM) - 45)[:, None, None] / 20, 1)
    still = np.zeros_like(POSE)
    still[:, 0] = np.sin(np.arange(NUM))[:, None]
    begins, placed = placeholder([0, 1, 2], ROOT, PLACE)
    other, places = placeholder([30, 31])
    places[31] = 0.3
    for number, (pose, pelvis) in enumerate(((POSE * slow, 0 * PELVIS), (still, PELVIS), (begins, placed), (other, places))):
        file = read_motions(write(tmp_path / f"{number}.npz", pose, pelvis))
        assert not file.absent[0].any()
        assert file.people[0].known.all()


@pytest.mark.parametrize(("seen", "unseen"), [(True, False), (0.9, 0.1), (0.51, 0.5), (1, 0), (1.0, np.nan)])
def test_marks_from_0_to_1(seen: float, unseen: float, tmp_path: Path) -> None:
    mask = np.full((1, NUM), seen)
    mask[0, 30:40] = unseen
    file = read_motions(write(tmp_path / "clip.npz", POSE[None], PELVIS[None], track_mask=mask))
    assert np.flatnonzero(~file.people[0].known).tolist() == list(range(30, 40))


def test_the_line_tells_of_all_people(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pose, pelvis = np.stack([POSE, POSE]), np.stack([PELVIS, PELVIS])
    pelvis[1] = np.nan
    cleaned(write(tmp_path / "nobody.npz", pose, pelvis), tmp_path)
    assert "nobody.npz: person 1: no frame is finite; left as it is" in caplog.messages
    long, path = walker(BRIDGED_S + 2)
    path[60:-55] = np.nan
    _, report = cleaned(write(tmp_path / "long.npz", long, path), tmp_path)
    assert report["people"][0]["faults"]["missing"]["num_frames_moved"] == 0
    assert f"long.npz: missing (for {BRIDGED_S:g} s or longer: an interpolation stands there, no motion)" in caplog.messages
    cleaned(write(tmp_path / "sound.npz", POSE, PELVIS), tmp_path)
    assert "sound.npz: nothing is wrong" in caplog.messages
