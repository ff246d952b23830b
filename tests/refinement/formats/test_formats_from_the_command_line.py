"""What other tools wrote is refined by `refine.py`, one or many."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from upstream_truth import IDS, NUM_FRAMES, make_truth
from upstream_world_writers import write_slahmr
from upstream_writers import write_gvhmr, write_phalp, write_tram

import refine
from pose_priors.configs.base import UserError
from pose_priors.refinement.batch.sequences import find_sequences
from pose_priors.refinement.formats import files_of
from pose_priors.refinement.formats.sequence import InputSequence

SHORT = ["refinement.root_fitting_iterations=3", "refinement.max_total_iterations=3", "trainer.enable_progress_bar=false"]


def run(*overrides: str) -> dict:
    return refine.main(["--config", "refinement", "--override", *SHORT, *overrides])


def test_a_folder_of_one_tool(tmp_path: Path) -> None:
    path = write_slahmr(tmp_path / "walk", make_truth())
    results = run(f"input.path={path}")["walk"]
    assert results["status"] == "success"
    assert set(results["per_person_likelihoods"]) == {str(person) for person in IDS}
    refined = np.load(path / "5_refinement" / "person_007" / "smpl_params_refined.npz")
    # from the first to the last frame on which the person was seen, three between not
    np.testing.assert_array_equal(refined["frame_ids"], np.arange(NUM_FRAMES - 2))
    np.testing.assert_array_equal(np.flatnonzero(~refined["visible"]), [6, 7, 8])


def test_a_file_gets_a_folder_of_its_name(tmp_path: Path) -> None:
    path = write_phalp(tmp_path / "outputs", make_truth())
    assert set(run(f"input.path={path}")) == {"demo_walk"}
    assert (path.parent / "demo_walk" / "5_refinement" / "refinement_results.json").is_file()


def test_many_of_different_tools_and_what_is_complete_is_skipped(tmp_path: Path) -> None:
    truth, results = make_truth(), tmp_path / "results"
    write_tram(results / "a", truth)
    write_gvhmr(results / "b", truth)
    (results / "c").mkdir()
    (results / "c" / "wham_output.pkl").write_bytes(b"torn")
    (results / "notes.txt").write_text("no sequence")
    assert [path.name for path in find_sequences(results)] == ["a", "b", "c"]
    with pytest.raises(SystemExit):
        run(f"input.path={results}")
    table = (results / "summary.csv").read_text()
    assert "failed: " in table
    assert "wham_output.pkl: not a readable" in table
    before = {name: (results / name / "5_refinement" / "refinement_results.json").stat().st_mtime_ns for name in "ab"}
    # one is given other keypoints
    (results / "b" / "bbx.pt").unlink()
    with pytest.raises(SystemExit):
        run(f"input.path={results}", "input.skip_existing=true")
    after = {name: (results / name / "5_refinement" / "refinement_results.json").stat().st_mtime_ns for name in "ab"}
    assert after["a"] == before["a"]
    assert after["b"] > before["b"]
    warnings = json.loads((results / "a" / "5_refinement" / "refinement_results.json").read_text())["warnings"]
    assert any("TRAM's cameras are metric" in warning for warning in warnings)


def test_a_result_is_no_part_of_what_it_is_made_from(tmp_path: Path) -> None:
    for write in (write_tram, write_gvhmr, write_slahmr):
        path = write(tmp_path / write.__name__, make_truth())
        before = files_of(path)
        assert len(before) > 1
        (path / "5_refinement" / "person_001").mkdir(parents=True)
        (path / "5_refinement" / "person_001" / "smpl_params_refined.npz").write_bytes(b"0")
        assert files_of(path) == before
        assert set(InputSequence.at(path).files((1, 2, 3, 4)).values()) == set(before)


def test_stage_4_is_for_the_folders_of_stages(tmp_path: Path) -> None:
    path = write_gvhmr(tmp_path / "walk", make_truth())
    with pytest.raises(UserError, match=r"walk: stage 4 carries 3_pose_estimation into the world, and there is none"):
        run(f"input.path={path}", "stages=[4]")


def test_what_is_no_result_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", cam=np.zeros(3), thetas=np.zeros((1, 72)))
    with pytest.raises(UserError, match=r"other\.npz: not a result of .*it holds cam \(3,\), thetas \(1, 72\)"):
        run(f"input.path={tmp_path / 'other.npz'}")


def test_a_motion_without_a_camera_is_for_clean(tmp_path: Path) -> None:
    """As ComfyUI-MotionCapture writes it for viewers: GVHMR's world reading alone."""
    world = {"body_pose": np.zeros((4, 63)), "global_orient": np.zeros((4, 3)), "transl": np.zeros((4, 3)), "betas": np.zeros((4, 10))}
    np.savez(tmp_path / "tennis.npz", **world)
    with pytest.raises(UserError, match=r"it holds body_pose \(4, 63\).*; a motion without a camera is mended by `pose-priors clean`$"):
        run(f"input.path={tmp_path / 'tennis.npz'}")
    with pytest.raises(UserError, match=r"it holds: tennis\.npz; a motion without a camera is mended by `pose-priors clean`$"):
        run(f"input.path={tmp_path}")
