"""Finite numbers that no body has: rotation vectors of thousands of turns, places on other planets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from motion_files import smooth_motion, write_amass

from pose_priors.configs.base import UserError
from pose_priors.datamodules.base import DataConfig, PoseDataModule, load_poses
from pose_priors.datamodules.clips import UnusableClipError, read_clip
from pose_priors.datamodules.formats import read_poses
from pose_priors.datamodules.plausibility import (
    MAX_ANGLE,
    MAX_COORDINATE,
    MAX_DISTANCE,
    are_places,
    are_turns,
    refuse_degrees,
)
from pose_priors.refinement.formats.bodies import BodyTrack, mended
from pose_priors.refinement.formats.readings import Reading
from pose_priors.refinement.motions.files.read import read_motions

Rows = Callable[..., np.ndarray]
ABSURD = [1e30, -1e30, 1e300, 2e3]


def test_single_precision_says_why() -> None:
    """Up to the bound a rotation comes back from single precision; far beyond, another one does."""
    axis = torch.tensor([0.36, -0.48, 0.8], dtype=torch.float64)

    def error(angle: float) -> float:
        vectors = [value.double() for value in (axis * angle, (axis * angle).float())]
        return float(roma.rotmat_geodesic_distance(*map(roma.rotvec_to_rotmat, vectors)))

    assert max(error(MAX_ANGLE - step) for step in range(20)) < 1e-4
    assert max(error(1e8 + 17 * step) for step in range(20)) > 1


def test_the_bounds_are_of_lengths_and_of_each_coordinate() -> None:
    at = np.array([[MAX_ANGLE, 0, 0], [0, MAX_ANGLE * 1.001, 0], [MAX_ANGLE * 0.8] * 3, [np.nan, 0, 0], [np.inf, 0, 0], [1e300, 0, 0]])
    assert are_turns(at).tolist() == [True, False, False, False, False, False]
    assert are_turns(at[:3].astype(np.float32)).tolist() == [True, False, False]
    there = np.array([[MAX_COORDINATE * 0.9] * 3, [0, 0, -MAX_COORDINATE], [0, np.nan, 0], [0, 0, np.inf]])
    assert are_places(there).tolist() == [True, False, False, False]


@pytest.mark.parametrize("number", ABSURD)
def test_poses_with_absurd_rotations_are_counted_as_invalid_and_told(number: float, tmp_path: Path, random_rows: Rows, caplog) -> None:
    rows = random_rows(100, 63)
    rows[7, 4] = number
    rows[9, 5] = np.nan
    np.save(tmp_path / "a.npy", rows)
    found = read_poses(tmp_path / "a.npy")
    assert (len(found.poses), found.num_nan_rows, found.num_invalid_rows) == (98, 1, 1)
    data = PoseDataModule(DataConfig(path=str(tmp_path / "a.npy")), batch_size=8, seed=0)
    with caplog.at_level("INFO"):
        data.setup()
    assert data.summary()["invalid_rows"] == 1
    assert "invalid rows 1," in caplog.text
    np.save(tmp_path / "b.npy", rows[7:8])
    with pytest.raises(UserError, match=r"holds no poses \(1 rows that are no pose dropped\)"):
        load_poses(str(tmp_path / "b.npy"))


@pytest.mark.parametrize(
    ("of", "number", "reason"),
    [
        *(("poses", number, "no pose") for number in ABSURD),
        *(("trans", number, "no pose") for number in ABSURD[:3]),
        ("all of trans", 1e30, "no pose"),
        ("all of trans", 2 * MAX_DISTANCE, "farther than 10 km"),
    ],
)
def test_a_clip_with_absurd_numbers_is_dropped(of: str, number: float, reason: str, tmp_path: Path) -> None:
    pose, pelvis = (value.double() for value in smooth_motion(60, 30))
    if of == "all of trans":
        pelvis = pelvis + number  # which nobody notices by speeds
    else:
        (pose if of == "poses" else pelvis)[17, 0] = number
    with pytest.raises(UnusableClipError, match=reason):
        read_clip(write_amass(tmp_path / "a.npz", pose, pelvis, 30.0))


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize("of", ["poses", "trans"])
def test_frames_to_be_cleaned_that_are_absurd_are_not_known(of: str, number: float, tmp_path: Path) -> None:
    if of == "trans" and abs(number) < MAX_COORDINATE:
        number = MAX_COORDINATE
    pose, pelvis = (value.double() for value in smooth_motion(60, 30))
    (pose if of == "poses" else pelvis)[17, 0] = number
    (person,) = read_motions(write_amass(tmp_path / "a.npz", pose, pelvis, 30.0)).people
    assert np.flatnonzero(~person.known).tolist() == [17]
    assert np.isfinite(person.quat).all()
    assert np.abs(person.pelvis).max() < 10


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize("of", ["pose", "transl", "joints", "betas"])
def test_rows_of_people_that_are_absurd_are_left_out_aloud(of: str, number: float) -> None:
    if of in ("transl", "joints") and abs(number) < MAX_COORDINATE:
        number = MAX_COORDINATE
    rows = {"pose": np.full((5, 22, 3), 0.1), "transl": np.ones((5, 3)), "joints": np.ones((5, 22, 3)), "betas": np.zeros(10)}
    rows[of].reshape(len(rows[of]), -1)[3, 0] = number
    warnings: list[str] = []
    body = mended(BodyTrack(1, "file", np.arange(5), rows["pose"], rows["betas"], rows["transl"], rows["joints"]), np.arange(5), warnings)
    assert body.frames.tolist() == ([0, 1, 2, 3, 4] if of == "betas" else [0, 1, 2, 4])
    assert "are no shape" in warnings[0] if of == "betas" else "places can be, were left out: frames 3" in warnings[0]
    assert np.abs(body.betas).max() == 0


def test_what_is_told_twice_is_taken_where_both_are_some() -> None:
    parts = [np.full((5, 3), 0.1) for _ in range(4)]
    for row, part in enumerate(parts):
        part[row, 1] = 1e30
    assert Reading(np.arange(5), *parts).whole().frames.tolist() == [4]


def test_poses_in_degrees_are_refused_wherever_they_are_read(tmp_path: Path) -> None:
    pose, pelvis = (value.double() for value in smooth_motion(60, 30))
    body = pose[:, :22].numpy()
    for turns, allowed in ((body, True), (np.rad2deg(body), False)):
        path = write_amass(tmp_path / f"{allowed}.npz", torch.from_numpy(turns), pelvis, 30.0)
        track = BodyTrack(1, "file", np.arange(60), turns, np.zeros(10), pelvis.numpy(), None)
        for read in (read_poses, read_clip, read_motions, lambda _, track=track: mended(track, np.arange(60), [])):
            if allowed:
                read(path)
                continue
            with pytest.raises(UserError, match="are these degrees"):
                read(path)


def test_a_heading_may_go_around_and_few_poses_may_be_wrong() -> None:
    turns = np.full((5, 21, 3), 0.1)
    turns[:2, 3] = 30.0
    turns[2, 4] = np.nan
    refuse_degrees(turns, "file")  # two of four
    refuse_degrees(turns[:0], "file")
    turns[3, 5] = 30.0
    with pytest.raises(UserError, match=r"^file: in 3 of 4 poses .* up to 52\.0;"):
        refuse_degrees(turns, "file")
