"""`refine.py`: from folders to files, and what it says when something is wrong."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.refiner import Stage5Refiner
from refine import main

SHORT = [
    f"refinement.{name}_iterations=2" for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
] + ["trainer.enable_progress_bar=false"]


def run(*overrides: str) -> dict[str, dict[str, object]]:
    return main(["--config", "refinement", "--override", *overrides, *SHORT])


def test_a_sequence_is_refined_into_its_folder(clip: Callable[[str], Clip]) -> None:
    folder = clip("released").folder
    results = run(f"input.path={folder}")
    written = json.loads((folder / "5_refinement" / "refinement_results.json").read_text())
    assert written == json.loads(json.dumps(results[folder.name]))
    assert written["status"] == "success"
    assert list(written["metrics"]["total_loss_history"]) == ["root", "smpl", "motion", "environmental", "scale", "final", "gaps"]
    people = sorted((folder / "5_refinement").glob("person_*/smpl_params_refined.npz"))
    assert len(people) == written["num_people"]
    with np.load(people[0]) as arrays:
        assert len(arrays["joints"]) == len(arrays["frame_ids"]) == len(arrays["transl"])
    assert not (folder / "5_refinement" / ".unfinished").exists()


def test_the_input_is_left_alone_where_an_output_is_given(clip: Callable[[str], Clip], tmp_path: Path) -> None:
    folder = clip("readme").folder
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    run(f"input.path={folder}", f"output.path={tmp_path / 'out'}")
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    assert (tmp_path / "out" / "refinement_results.json").is_file()


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    clip: Callable[[str], Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pose_priors.refinement.refiner.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(Stage5Refiner, "refine", lambda *_: pytest.fail("refined in vain"))
    with pytest.raises(UserError, match=r"out: cannot be written to \(Read-only file system\).*output\.path"):
        run(f"input.path={clip('readme').folder}", f"output.path={tmp_path / 'out'}")


def test_one_bad_sequence_does_not_stop_the_others(clip: Callable[[str], Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clip("released").folder
    many = tmp_path / "many"
    shutil.copytree(folder, many / "good")
    shutil.copytree(folder, many / "bad")
    (many / "bad" / "1_camera_estimation" / "cameras.npz").unlink()
    with pytest.raises(SystemExit) as stop:
        run(f"input.path={many}", f"output.path={tmp_path / 'out'}")
    assert stop.value.code == 1
    assert "1 of 2 sequences failed: bad" in capsys.readouterr().err
    assert (tmp_path / "out" / "good" / "refinement_results.json").is_file()
    assert not (tmp_path / "out" / "bad" / "refinement_results.json").exists()


def test_a_logger_gets_every_term(clip: Callable[[str], Clip], tmp_path: Path) -> None:
    folder = clip("released").folder
    run(f"input.path={folder}", f"output.path={tmp_path / 'out'}", "logging.logger=csv", f"logging.log_dir={tmp_path / 'logs'}")
    (table,) = (tmp_path / "logs").rglob("metrics.csv")
    header = table.read_text().split("\n")[0].split(",")
    assert {"loss", "terms/keypoints", "terms/skate", "terms/depth", "terms/multi_scale"} <= set(header)
