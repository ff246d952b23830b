"""One bad person or map in a tool's result costs that alone, and is told."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from upstream_truth import make_truth
from upstream_world_writers import write_megahunter
from upstream_writers import write_gvhmr, write_tram

from pose_priors.refinement.formats import read_upstream
from pose_priors.refinement.given.load import load_sequence


def test_points_of_one_frame(tmp_path: Path) -> None:
    path = write_megahunter(tmp_path / "walk", make_truth())
    with h5py.File(path, "a") as file:
        group = next(iter(file["our_pred_world_cameras_and_structure"].values()))
        del group["pts3d"]
        group["pts3d"] = np.zeros((3, 4))
    problem = load_sequence(path)
    assert len(problem.observations.floor_points) > 100
    told = [line for line in problem.warnings if "1 frame of points could not be used" in line]
    assert len(told) == 1
    assert "'pts3d' has shape (3, 4)" in told[0]


def test_one_of_trams_tracks(tmp_path: Path) -> None:
    folder = write_tram(tmp_path / "walk", make_truth())
    people = load_sequence(folder).person_ids
    file = sorted((folder / "hps").glob("*.npy"))[0]
    file.write_bytes(file.read_bytes()[:100])
    problem = load_sequence(folder)
    assert len(problem.person_ids) == len(people) - 1
    assert sum("is left out" in line and file.name in line for line in problem.warnings) == 1


def test_what_the_first_release_of_tram_left_is_not_read_beside_the_next(tmp_path: Path) -> None:
    path = write_tram(tmp_path / "walk", make_truth())
    longest = np.load(path / "hps" / "hps_track_0.npy", allow_pickle=True).item()
    np.save(path / "hps" / "vimo_track_0.npy", {**longest, "pred_trans": longest["pred_trans"] + 1}, allow_pickle=True)
    bodies = read_upstream(path, []).camera_bodies.values()
    assert Path(next(body.source for body in bodies if "track_0" in body.source)).name == "hps_track_0.npy"


# a quaternion of another length is the same turn
FAULTS = {"dpvo": ("nan", "zero", "short"), "own": ("nan", "zero", "scaled", "mirrored", "short")}


@pytest.mark.parametrize(("slam", "fault"), [(slam, fault) for slam, faults in FAULTS.items() for fault in faults])
def test_odometry_that_is_no_motion_is_left_out_aloud(slam: str, fault: str, tmp_path: Path) -> None:
    path = write_gvhmr(tmp_path / "walk", make_truth(still=True), slam=slam)
    file = path / "preprocess" / "slam_results.pt"
    poses = np.array(torch.load(file, weights_only=False))
    turn = poses[3, 3:] if slam == "dpvo" else poses[3, :3, :3]
    match fault:
        case "nan":
            turn[..., 0] = np.nan
        case "zero":
            turn[...] = 0
        case "scaled":
            turn *= 2
        case "mirrored":
            turn[0] *= -1
        case "short":
            poses = poses[:-1]
    torch.save(poses, file)
    problem = load_sequence(path)
    assert problem.start.alpha0 == 1
    (line,) = [line for line in problem.warnings if "slam_results.pt" in line]
    assert "left out" in line
    assert np.ptp(problem.cameras.w2c.numpy(), axis=0).max() == 0
