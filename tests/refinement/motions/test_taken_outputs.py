"""What lies in an output already stays unless it was made from the same file; what cannot be written is one line."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walking_files import walker, write_motion

from clean import main as clean
from pose_priors.configs.base import UserError
from pose_priors.refinement.motions.files.read import SUFFIXES
from score import main as score

POSE, PELVIS = walker(0.8)
SCRIPTS = pytest.mark.parametrize("script", [clean, score])
Script = Callable[[list[str]], Any]


def npz(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_motion(path, POSE, PELVIS)


def pkl(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"poses": POSE[:, :24].reshape(len(POSE), -1), "trans": PELVIS + 1, "fps": 60.0}))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Of files that are no locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_neighbour_of_the_same_name_is_not_written_over(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz")
    source, before = pkl(tmp_path / "a.pkl"), contents(tmp_path)
    with pytest.raises(UserError, match=r"a\.npz: lies there without a report that says whose it is, and would be overwritten"):
        clean([str(source), "--output", str(tmp_path)])
    assert contents(tmp_path) == before | contents(tmp_path)
    assert contents(tmp_path).keys() == before.keys()


@SCRIPTS
@pytest.mark.parametrize("other", ["y/a.npz", "y/a.pkl"])
def test_what_was_made_from_another_file_stays(script: Script, other: str, tmp_path: Path) -> None:
    first, output = npz(tmp_path / "x/a.npz"), tmp_path / "out"
    script([str(first), "--output", str(output)])
    second = pkl(tmp_path / other) if other.endswith("pkl") else write_motion(npz(tmp_path / other), POSE, PELVIS + 1)
    before = contents(output)
    with pytest.raises(UserError, match="and would be overwritten by what becomes of"):
        script([str(second), "--output", str(output)])
    assert contents(output) == before
    script([str(first), "--output", str(output)])
    assert contents(output) == before


@SCRIPTS
def test_a_file_that_changed_or_moved_is_done_again(script: Script, tmp_path: Path) -> None:
    source, output = npz(tmp_path / "x/a.npz"), ["--output", str(tmp_path / "out")]
    script([str(source), *output])
    write_motion(source, POSE, PELVIS + 1)
    script([str(source), *output])
    shutil.move(tmp_path / "x", tmp_path / "y")
    script([str(tmp_path / "y/a.npz"), *output, "--override", "fps=30", "up_axis=z"])


def test_what_a_killed_run_has_written_is_its_own(tmp_path: Path) -> None:
    source, output = npz(tmp_path / "a.npz"), tmp_path / "out"
    clean([str(source), "--output", str(output)])
    whole = contents(output)
    report = output / "a.npz.report.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"digest": None}))
    clean([str(source), "--output", str(output)])
    assert contents(output) == whole


@SCRIPTS
def test_in_a_folder_the_others_go_on(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        npz(tmp_path / f"in/{name}.npz")
    (tmp_path / "out/a.npz/x").mkdir(parents=True)
    (tmp_path / "out/frames/a.npz/x").mkdir(parents=True)
    with pytest.raises(SystemExit):
        script([str(tmp_path / "in"), "--output", str(tmp_path / "out")])
    assert "a.npz: is a folder, and would be overwritten" in capsys.readouterr().err
    assert (tmp_path / ("out/b.npz" if script is clean else "out/frames/b.npz")).is_file()


@SCRIPTS
def test_a_name_that_is_too_long_leaves_nothing_behind(script: Script, tmp_path: Path) -> None:
    source = npz(tmp_path / f"{'x' * 245}.npz")
    people = np.stack([PELVIS, PELVIS])
    np.savez(source, poses=np.stack([POSE, POSE]).reshape(2, len(POSE), -1), trans=people, fps=60.0)
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\)"):
        script([str(source), "--output", str(tmp_path / "out")])
    assert not contents(tmp_path / "out")


@SCRIPTS
def test_names_that_are_no_text_are_told_and_listed(script: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    name = os.fsdecode(b"a\xff")
    folder, output = tmp_path / "in", tmp_path / "out"
    npz(folder / f"{name}.npz")
    npz(folder / "b.npz")
    script([str(folder), "--output", str(output)] + (["--keep", "1.0"] if script is score else []))
    assert "a\\udcff" in caplog.text
    assert caplog.text.isascii()  # a log may go where only text is taken
    if script is clean:
        assert (output / f"{name}.npz").is_file()
        return
    with (output / "scores.csv").open(encoding="utf-8") as stream:
        assert {row["clip"] for row in csv.DictReader(stream)} == {"a\\udcff", "b"}
    assert sorted((output / "keep.txt").read_bytes().split()) == [b"a\xff", b"b"]


def test_people_who_are_gone_are_gone_from_the_table(tmp_path: Path) -> None:
    """And a clip that is called as one of several people is itself."""
    source, output = tmp_path / "in/a.npz", tmp_path / "out"
    npz(source)
    npz(tmp_path / "in/a.person_9.npz")
    for people in (3, 2):
        np.savez(source, poses=np.stack([POSE] * people).reshape(people, len(POSE), -1), trans=np.stack([PELVIS] * people), fps=60.0)
        rows = score([str(tmp_path / "in"), "--output", str(output)])
        assert sorted(row["clip"] for row in rows) == [*(f"a.person_{person}" for person in range(people)), "a.person_9"]


def test_what_else_a_file_holds_is_written_or_told(tmp_path: Path) -> None:
    others = {
        "body-shape": np.ones(3),
        "v.template": np.ones(2),
        "betas": [0.1, 0.2],
        "gender": b"male",
        "x": {"a": 1},
        "../up": np.ones(1),
    }
    others |= {"none": None, "things": np.array([None], object), "words": ["a"]}
    (source := pkl(tmp_path / "a.pkl")).write_bytes(pickle.dumps(pickle.loads(source.read_bytes()) | others))
    clean([str(source), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/a.npz") as found:
        assert set(found.files) == {"poses", "trans", "fps", "body-shape", "v.template", "betas", "gender"}
        assert found["betas"].tolist() == [0.1, 0.2]
        assert bytes(found["gender"]) == b"male"
    (note,) = json.loads((tmp_path / "out/a.pkl.report.json").read_text())["notes"]
    assert note.endswith("x (dict), ../up (float64), none (NoneType), things (object), words (list)")


def test_two_values_of_one_name_are_refused(tmp_path: Path) -> None:
    (source := pkl(tmp_path / "a.pkl")).write_bytes(pickle.dumps(pickle.loads(source.read_bytes()) | {1: 2.0, "1": 3.0}))
    with pytest.raises(UserError, match="two values named '1'"):
        clean([str(source), "--output", str(tmp_path / "out")])


@pytest.mark.parametrize("people", [1, 2])
def test_half_precision_does_not_spoil_what_is_written(people: int, tmp_path: Path) -> None:
    """Lost frames 60 metres away are filled more finely than by the thirty-seconds of a metre that the file's own numbers have there."""
    there = PELVIS + np.array([60.0, 0, 0])
    trans = there.astype(np.float16)
    trans[20:23] = np.nan
    arrays = {"poses": POSE.reshape(len(POSE), -1), "trans": trans}
    np.savez(tmp_path / "a.npz", **{name: array if people == 1 else np.stack([array] * people) for name, array in arrays.items()}, fps=60.0)
    clean([str(tmp_path / "a.npz"), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/a.npz") as found:
        filled = found["trans"].reshape(people, -1, 3)[:, 20:23]
    assert filled.dtype == np.float32
    assert (filled[..., 0] != filled[..., 0].astype(np.float16)).all()
    np.testing.assert_allclose(filled, np.stack([there[20:23]] * people), atol=0.02)


@pytest.mark.parametrize("away", [10.0, 120.0, 250.0, 500.0, 5000.0])
def test_a_path_in_half_precision_is_no_worse_afterwards(away: float, tmp_path: Path) -> None:
    pose, pelvis = walker(2.5, 30.0)
    there = pelvis + np.array([away, 0, 0])
    np.savez(tmp_path / "a.npz", poses=pose.reshape(len(pose), -1), trans=there.astype(np.float16), fps=30.0)
    clean([str(tmp_path / "a.npz"), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/a.npz") as found:
        assert np.abs(found["trans"] - there).max() <= np.abs(there.astype(np.float16) - there).max() + 1e-6
    notes = json.loads((tmp_path / "out/a.npz.report.json").read_text())["notes"]
    assert any("tells places apart by" in note for note in notes) == (away > 200)


@SCRIPTS
def test_the_help_names_every_kind_of_file(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script(["--help"])
    said = capsys.readouterr().out
    assert all(suffix[1:] in said for suffix in SUFFIXES)


def test_recordings_that_are_of_another_file_stay(tmp_path: Path) -> None:
    source, other, output = npz(tmp_path / "in/a.npz"), npz(tmp_path / "in2/a.npz"), tmp_path / "out"
    np.savez(other, poses=POSE.reshape(len(POSE), -1), trans=PELVIS + 1, fps=60.0)
    clean([str(source), "--output", str(output)])
    recording = output / "a.npz.rrd"
    recording.write_text("precious")
    with pytest.raises(UserError, match="made from"):
        clean([str(other), "--output", str(output)])
    assert recording.read_text() == "precious"
    strange = tmp_path / "new/a.npz.rrd"
    strange.parent.mkdir()
    strange.write_text("precious")
    with pytest.raises(UserError, match="without a report"):
        clean([str(source), "--output", str(strange.parent)])
    assert strange.read_text() == "precious"
    strange.unlink()
    strange.mkdir()
    with pytest.raises(UserError, match="is a folder"):
        clean([str(source), "--output", str(strange.parent)])


@SCRIPTS
@pytest.mark.parametrize(("output", "said"), [("motions", "the files in it would be overwritten"), (".", r"\S*motions lies in it")])
def test_an_output_is_not_the_folder_of_the_motions_nor_around_it(script: Script, output: str, said: str, tmp_path: Path) -> None:
    npz(tmp_path / "motions" / "a.npz")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=rf"--output \S*: {said}.*give another folder"):
        script([str(tmp_path / "motions"), "--output", str(tmp_path / output)])
    assert contents(tmp_path) == before


@SCRIPTS
def test_links_to_nothing_and_to_themselves_fail_and_are_told(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npz(tmp_path / "in/walk.npz")
    for name, goal in (("gone.npz", "nowhere.npz"), ("round.npz", "round.npz")):
        (tmp_path / "in" / name).symlink_to(goal)
    with pytest.raises(SystemExit):
        script([str(tmp_path / "in"), "--output", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert "2 of 3 files failed" in told
    assert all(f"{name}.npz: cannot be read" in told for name in ("gone", "round"))
