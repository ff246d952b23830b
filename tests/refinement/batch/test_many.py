"""Many sequences in one process: the same results as one by one, failures told at the end, finished work kept."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import Clip, make_clip

import pose_priors.refinement.batch.many
from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.batch.many import refine_many
from pose_priors.refinement.batch.outcomes import SequenceOutcome, write_summary
from pose_priors.refinement.batch.sequences import select_sequences
from pose_priors.refinement.given.priors import Priors
from refine import main

ROOT = Path(pose_priors.refinement.batch.many.__file__).parents[2]
STAGES = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
SHORT = [f"refinement.{stage}_iterations=2" for stage in STAGES] + ["trainer.enable_progress_bar=false"]
LENGTHS = {"a": 8, "b": 12, "c": 10}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three short sequences, not to be written to."""
    folder = tmp_path_factory.mktemp("many")
    for name, length in LENGTHS.items():
        make_clip(folder / name, num_frames=length)
    return folder


@pytest.fixture
def sequences(clips: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(clips, tmp_path / "sequences"))


def run(*overrides: str) -> dict[str, dict[str, object]]:
    return main(["--config", "refinement", "--override", *overrides, *SHORT])


def outcomes(path: Path, *overrides: str) -> list[SequenceOutcome]:
    config = load_config(RefinementExperiment, "refinement", [f"input.path={path}", *overrides, *SHORT])
    return refine_many(config, select_sequences(config))


def summary(path: Path) -> dict[str, dict[str, str]]:
    with (path / "summary.csv").open(newline="") as stream:
        return {row.pop("sequence"): row for row in csv.DictReader(stream)}


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("padding", ["null", "16"])
def test_results_are_bit_identical_to_single_runs(sequences: Path, tmp_path: Path, padding: str) -> None:
    padded = f"refinement.pad_frames={padding}"
    run(f"input.path={sequences}", f"output.path={tmp_path / 'together'}", padded)
    for name, length in LENGTHS.items():
        run(f"input.path={sequences / name}", f"output.path={tmp_path / 'alone'}", padded)
        for single in sorted((tmp_path / "alone").glob("person_*/*.npz")):
            with np.load(single) as alone, np.load(tmp_path / "together" / name / single.relative_to(tmp_path / "alone")) as together:
                assert set(alone) == set(together)
                for key in alone:
                    np.testing.assert_array_equal(together[key], alone[key], err_msg=key)
        pair = (tmp_path / "alone", tmp_path / "together" / name)
        single_run, among_many = (json.loads((folder / "refinement_results.json").read_text()) for folder in pair)
        assert single_run == among_many
        assert single_run["num_frames"] == length


def test_what_sequences_share_is_loaded_once(sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(pose_priors.refinement.batch.many, "load_priors", lambda *paths: loaded.append(paths) or Priors())
    checkpoint = tmp_path / "prior.ckpt"
    checkpoint.write_bytes(b"")
    done = outcomes(sequences, f"prior.body={checkpoint}")
    assert [outcome.status for outcome in done] == ["success"] * 3
    assert loaded == [(str(checkpoint), None, None, [])]


def test_the_summary_has_a_row_for_each_sequence(sequences: Path) -> None:
    run(f"input.path={sequences}", "input.pattern='[ab]'")
    table = summary(sequences)
    assert list(table) == ["a", "b"]
    for name, row in table.items():
        results = json.loads((sequences / name / "5_refinement" / "refinement_results.json").read_text())
        metrics = json.loads((sequences / name / "5_refinement" / "optimization_metrics.json").read_text())
        assert row == {
            "frames": str(LENGTHS[name]),
            "people": "2",
            "iterations": str(metrics["total_iterations"]),
            "seconds": f"{metrics['seconds']:.2f}",
            "scale": f"{results['scale_alpha']:.6f}",
            "status": "success",
            "quality": results["quality"]["verdict"],
            "reasons": "; ".join(results["quality"]["reasons"]),
        }
    # another selection adds its rows and leaves the others
    before = table["a"]
    run(f"input.path={sequences}", "input.pattern=c")
    assert list(summary(sequences)) == ["a", "b", "c"]
    assert summary(sequences)["a"] == before


def test_a_failure_is_told_at_the_end_and_stops_nothing(sequences: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sequences / "a" / "1_camera_estimation" / "cameras.npz").unlink()
    with pytest.raises(SystemExit) as stop:
        run(f"input.path={sequences}")
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "1 of 3 sequences failed: a\n" in said
    assert f"  a: {sequences / 'a' / '1_camera_estimation' / 'cameras.npz'}: no such file" in said
    table = summary(sequences)
    assert table["a"]["status"].startswith("failed: ")
    assert "cameras.npz" in table["a"]["status"]
    assert [table[name]["status"] for name in "bc"] == ["success", "success"]


def test_a_defect_is_a_failure_of_one_sequence_too(sequences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pose_priors.refinement.batch.many.refine_into

    def defective(refiner: object, load: object, output: Path, digest: str) -> object:
        if "b" in output.parts:
            raise ZeroDivisionError("by\nzero")
        return real(refiner, load, output, digest)

    monkeypatch.setattr(pose_priors.refinement.batch.many, "refine_into", defective)
    done = outcomes(sequences)
    assert [outcome.status for outcome in done] == ["success", "failed", "success"]
    assert done[1].reason == "a defect of this program, ZeroDivisionError: by zero"


def test_complete_sequences_are_skipped_and_outdated_ones_done_again(sequences: Path) -> None:
    assert [outcome.status for outcome in outcomes(sequences)] == ["success"] * 3
    before = snapshot(sequences)
    again = outcomes(sequences, "input.skip_existing=true")
    assert [outcome.status for outcome in again] == ["skipped"] * 3
    assert again[1].frames == LENGTHS["b"]
    assert again[1].iterations == 14  # two for each sub-stage, that of a person whom the tracker lost among them
    assert again[1].scale == again[1].results["scale_alpha"]
    assert snapshot(sequences) == before

    clip = Clip(sequences / "b", *[None] * 8)
    clip.rewrite("3_pose_estimation/person_001/smpl_params_camera.npz", betas=np.full(10, 0.1))
    (sequences / "c" / "5_refinement" / "optimization_metrics.json").unlink()
    assert [outcome.status for outcome in outcomes(sequences, "input.skip_existing=true")] == ["skipped", "success", "success"]
    assert snapshot(sequences / "a") == {path: was for path, was in before.items() if path.is_relative_to(sequences / "a")}
    changed = outcomes(sequences, "input.skip_existing=true", "refinement.lambda_depth=2.0")
    assert [outcome.status for outcome in changed] == ["success"] * 3
    assert [outcome.status for outcome in outcomes(sequences)] == ["success"] * 3  # without skip_existing all are done


def test_one_sequence_by_itself_is_skipped_too(sequences: Path) -> None:
    folder = sequences / "a"
    first = run(f"input.path={folder}")
    before = snapshot(folder)
    assert run(f"input.path={folder}", "input.skip_existing=true") == first
    assert snapshot(folder) == before
    assert not (folder / "summary.csv").exists()


def test_stage_4_is_skipped_where_it_is_complete(sequences: Path) -> None:
    carried = outcomes(sequences, "stages=[4]")
    assert [(outcome.status, outcome.people, outcome.scale) for outcome in carried] == [("success", 2, None)] * 3
    before = snapshot(sequences)
    assert [outcome.status for outcome in outcomes(sequences, "stages=[4]", "input.skip_existing=true")] == ["skipped"] * 3
    assert snapshot(sequences) == before
    (sequences / "a" / "4_world_space" / "person_001" / "smpl_params_world.npz").unlink()
    redone = outcomes(sequences, "stages=[4]", "input.skip_existing=true")
    assert [outcome.status for outcome in redone] == ["success", "skipped", "skipped"]


def test_the_people_asked_for_are_refined(sequences: Path) -> None:
    assert [outcome.people for outcome in outcomes(sequences, "input.pattern=a", "input.person_ids=[2]")] == [1]
    assert [path.name for path in (sequences / "a" / "5_refinement").glob("person_*")] == ["person_002"]
    (failed,) = outcomes(sequences, "input.pattern=a", "input.person_ids=[4]")
    assert failed.reason == "input.person_ids: nobody has the id 4; this sequence has 1, 2"


def test_a_table_of_somebody_else_is_no_summary(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text("name,score\nx,1\n")
    write_summary(path, [SequenceOutcome("a, with comma", "failed", 'a "reason"')])
    assert summary(tmp_path)["a, with comma"]["status"] == 'failed: a "reason"'
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".csv"] == ["summary.csv"]
    with pytest.raises(UserError, match="cannot be written"):
        write_summary(path / "summary.csv", [])


def test_the_bar_names_sequences_and_what_is_logged_stands_above_it(
    sequences: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich draws as in a terminal
    monkeypatch.setenv("COLUMNS", "100")
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging.getLogger("refine"), "level", logging.INFO)
    shown = [*SHORT[:-1], "trainer.enable_progress_bar=true"]
    try:
        main(["--config", "refinement", "--override", f"input.path={sequences}", *shown])
    finally:
        logging.getLogger().removeHandler(handler)
    drawn = capsys.readouterr().err
    assert "3/3" in drawn
    lines = [line for line in drawn.replace("\r", "\n").split("\n") if "people, scale" in line]
    assert len(lines) == 3
    assert all("━" not in line for line in lines)
    assert "Epoch" not in drawn  # one bar at a time


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(sequences: Path, tmp_path: Path) -> None:
    """SIGKILL in the second of three sequences, with an unfinished run of it on disk."""
    whole = tmp_path / "whole"
    stages = [f"refinement.{stage}_iterations={40 if stage == 'final' else 2}" for stage in STAGES]
    options = [*stages, "refinement.convergence_threshold=0.0", "trainer.enable_progress_bar=false", "input.skip_existing=true"]
    main(["--config", "refinement", "--override", f"input.path={sequences}", f"output.path={whole}", *options])

    out = tmp_path / "out"
    command = [
        sys.executable,
        "refine.py",
        "--config",
        "refinement",
        "--override",
        f"input.path={sequences}",
        f"output.path={out}",
        *options,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((out / "b" / ".unfinished").glob("*/last.ckpt")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "b" / "refinement_results.json").exists()
    assert list(summary(out)) == ["a"]
    finished = snapshot(out / "a")

    main(["--config", "refinement", "--override", f"input.path={sequences}", f"output.path={out}", *options])
    assert snapshot(out / "a") == finished
    assert {name: row["status"] for name, row in summary(out).items()} == {"a": "skipped", "b": "success", "c": "success"}
    assert not list(out.rglob(".unfinished"))
    for path in sorted(whole.glob("*/person_*/*.npz")):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()
