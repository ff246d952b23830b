"""Recordings as files: which there are, when they go, and what is said when something is wrong."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_files import SHORT, Rrd, output, people
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import run
from pose_priors.refinement.refiner import Stage5Refiner
from pose_priors.refinement.show import record
from pose_priors.refinement.show.record import main
from pose_priors.refinement.show.recording_drawing import Drawing
from pose_priors.refinement.show.recording_pipe import Recorder, piped
from refine import main as refine


def test_results_elsewhere_are_recorded_with_and_without_their_input(recorded: Clip, tmp_path: Path) -> None:
    shutil.copytree(output(recorded), tmp_path / "results" / "clip", ignore=shutil.ignore_patterns("*.rrd"))
    made = main([str(tmp_path / "results"), "--input", str(recorded.folder.parent), "--output", str(tmp_path / "out")])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in made}
    assert "/world/person_002/before/bones" in Rrd(tmp_path / "out" / "clip.rrd").entities
    main([str(tmp_path / "results")])
    without = Rrd(tmp_path / "results" / "clip" / "clip.rrd")
    assert people(without) == {"person_001", "person_002"}
    assert not {"/world/person_002/before/bones", "/world/depth"} & without.entities


def test_a_new_result_takes_the_recordings_of_the_old_one_away(own: Path) -> None:
    result = own / "5_refinement"
    override = ["--config", "refinement", "--override", f"input.path={own}", "input.skip_existing=true", *SHORT]
    refine([*override, "record=true"])  # complete, but not yet recorded
    written = {path: path.stat().st_mtime_ns for path in result.glob("*.rrd")}
    assert len(written) == 3
    assert (result / "refinement_results.json").stat().st_mtime_ns < min(written.values())
    refine([*override, "record=true"])
    assert {path: path.stat().st_mtime_ns for path in result.glob("*.rrd")} == written
    refine([*override, "refinement.lambda_depth=2.0"])
    assert not list(result.glob("*.rrd"))


def test_recordings_appear_together_or_not_at_all(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main([str(own)])
    kept = {path.name: path.read_bytes() for path in (own / "5_refinement").glob("*.rrd")}

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(Drawing, "draw_cameras", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        main([str(own)])
    assert {path.name: path.read_bytes() for path in (own / "5_refinement").glob("*.rrd")} == kept
    assert not list((own / "5_refinement").glob(".writing-*"))


def test_a_full_disk_ends_a_recording(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main([str(own)])
    kept = {path.name: path.read_bytes() for path in (own / "5_refinement").glob("*.rrd")}
    monkeypatch.setattr(record, "Recorder", lambda stream, path, **options: Recorder(stream, Path("/dev/full"), **options))
    with pytest.raises(UserError, match=r"5_refinement: cannot be written \(No space left on device\)"):
        main([str(own)])
    assert {path.name: path.read_bytes() for path in (own / "5_refinement").glob("*.rrd")} == kept


def test_a_full_disk_ends_a_merged_recording(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one, *_) = main([str(own)])
    merged = tmp_path / "merged.rrd"
    record.merge_recordings({"one": one}, merged, "merged")
    kept = merged.read_bytes()
    assert len(kept) > 1000
    monkeypatch.setattr(record, "piped", lambda path: piped(Path("/dev/full")))
    with pytest.raises(UserError, match=r"merged\.rrd: cannot be written \(No space left on device\)"):
        record.merge_recordings({"one": one}, merged, "merged")
    assert merged.read_bytes() == kept
    assert [path.name for path in tmp_path.glob("*merged*")] == ["merged.rrd"]


def test_recordings_of_people_who_left_go(own: Path) -> None:
    main([str(own)])
    results = own / "5_refinement" / "refinement_results.json"
    content = json.loads(results.read_text())
    del content["per_person_likelihoods"]["2"]
    results.write_text(json.dumps(content))
    main([str(own)])
    assert sorted(path.name for path in results.parent.glob("*.rrd")) == ["clip.rrd", "clip_person_001.rrd"]


def _spoil_json(folder: Path) -> None:
    (folder / "refinement_results.json").write_text("{]")


def _spoil_metrics(folder: Path) -> None:
    (folder / "optimization_metrics.json").write_text('{"sub_stages": {"root": {"losses": {"total": "none"}}}}')


def _pickle_joints(folder: Path) -> None:
    path = folder / "person_001" / "smpl_params_refined.npz"
    np.savez(path, **(dict(np.load(path)) | {"joints": np.array({"never": "read"}, dtype=object)}))


def _poison_pose(folder: Path) -> None:
    path = folder / "person_001" / "smpl_params_refined.npz"
    arrays = dict(np.load(path))
    arrays["body_pose"][3, 5] = np.nan
    np.savez(path, **arrays)


def _cut(folder: Path) -> None:
    path = folder / "person_002" / "smpl_params_refined.npz"
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_spoil_json, "refinement_results.json: not readable JSON"),
        (_spoil_metrics, "optimization_metrics.json: not the losses"),
        (_pickle_joints, "smpl_params_refined.npz"),
        (_poison_pose, "'body_pose' has shape"),
        (_cut, "person_002"),
        (lambda folder: shutil.rmtree(folder / "person_002"), "no such file"),
        (lambda folder: (folder / "refinement_results.json").unlink(), "no refined sequence"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(own: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(own / "5_refinement")
    with pytest.raises(UserError, match=said) as caught:
        main([str(own)])
    assert "\n" not in str(caught.value)
    assert not list(own.rglob("*.rrd"))


def test_the_others_are_recorded_where_one_cannot_be(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "good")
    _cut(own / "5_refinement")
    with pytest.raises(UserError, match="1 of 2 results could not be recorded: clip"):
        main([str(tmp_path)])
    assert (tmp_path / "good" / "5_refinement" / "good.rrd").is_file()


def test_the_command_says_one_line_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(lambda: main([str(tmp_path / "nowhere")]))
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "nowhere" in said


def test_without_rerun_it_is_told_before_the_work(clip: Callable[[str], Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "rerun":
            raise ModuleNotFoundError("No module named 'rerun'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr(Stage5Refiner, "refine", lambda *_: pytest.fail("refined in vain"))
    folder = clip("released").folder
    with pytest.raises(UserError, match="rerun"):
        refine(["--config", "refinement", "--override", f"input.path={folder}", "record=true", *SHORT])
    with pytest.raises(UserError, match="add 5 to stages"):
        refine(["--config", "refinement", "--override", f"input.path={folder}", "record=true", "stages=[4]", *SHORT])


def test_a_folder_that_cannot_be_written_to_is_told_before_a_prior_is_read(own: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output_folder in ("/proc/recordings", str(tmp_path / "file" / "below")):
        with pytest.raises(UserError, match=f"{output_folder}: cannot be written"):
            main([str(own), "--output", output_folder, "--prior", str(tmp_path / "no.ckpt")])
