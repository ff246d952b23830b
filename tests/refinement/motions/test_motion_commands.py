"""clean.py and score.py as they are called: layouts, axes, people, reports, tables, lists, kills."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from kills import CHANGES, kills
from scipy.spatial.transform import Rotation
from walking_files import WALKER_FPS, walker, write_motion

from clean import main as clean
from pose_priors.benchmarks.motions.injection import INJECTIONS
from pose_priors.configs.base import UserError
from score import main as score

POSE, PELVIS = walker(2.5)


def popped() -> tuple[np.ndarray, np.ndarray]:
    pose, pelvis = POSE.copy(), PELVIS.copy()
    pose[70, 17] += [0, 1.0, 0]
    return pose, pelvis


@pytest.mark.parametrize("layout", ["smpl", "smplh", "smplx", "parts", "joints", "array"])
def test_each_layout_is_written_as_it_was_read(layout: str, tmp_path: Path) -> None:
    suffix = "npy" if layout == "array" else "npz"
    source = write_motion(tmp_path / f"clip.{suffix}", *popped(), layout)
    clean([str(source), "--output", str(tmp_path / "out"), "--override", f"fps={WALKER_FPS}"])
    report = json.loads((tmp_path / "out" / f"{source.name}.report.json").read_text())
    (person,) = report["people"]
    assert list(person["faults"]) == ["pop"]
    assert person["faults"]["pop"]["stretches"] == [[70, 70]]
    assert person["faults"]["pop"]["joints"] == ["right_shoulder"]
    assert person["moved_mm"]["max"] > 50
    if layout == "array":
        before, after = np.load(source), np.load(tmp_path / "out" / source.name)
        assert (before != after).any(1).nonzero()[0].tolist() == [70]
        return
    with np.load(source) as before, np.load(tmp_path / "out" / source.name) as after:
        assert before.files == after.files
        changed = [name for name in before.files if not np.array_equal(before[name], after[name])]
        assert set(changed) <= {"poses", "pose_body", "body_pose"}
        assert changed
        for name in before.files:
            assert before[name].dtype == after[name].dtype
            assert before[name].shape == after[name].shape
        for name in changed:
            rows = (before[name] != after[name]).reshape(len(POSE), -1)
            assert rows.any(1).nonzero()[0].tolist() == [70]
            numbers = after[name].reshape(len(POSE), -1)[70]
            joint = slice(51, 54) if name == "poses" else slice(48, 51)
            np.testing.assert_allclose(numbers[joint], POSE[70, 17], atol=0.02)


@pytest.mark.parametrize("axis", ["x", "y", "-z"])
@pytest.mark.parametrize("metres", [1.0, 0.01])
def test_the_axes_and_units_of_a_file_stay(axis: str, metres: float, tmp_path: Path) -> None:
    turn = {"x": [0, np.pi / 2, 0], "y": [-np.pi / 2, 0, 0], "-z": [np.pi, 0, 0]}[axis]
    world = Rotation.from_rotvec(turn)
    pose, trans = POSE.copy(), PELVIS.copy()
    trans[60:100, 2] += 0.15
    pose[:, 0] = (world * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    source = write_motion(tmp_path / "clip.npz", pose, world.apply(trans) / metres)
    clean([str(source), "--output", str(tmp_path / "out")])
    report = json.loads((tmp_path / "out/clip.npz.report.json").read_text())
    assert (report["up_axis"], report["metres_per_unit"]) == (axis, metres)
    assert "floating" in report["people"][0]["faults"]
    with np.load(tmp_path / "out/clip.npz") as after:
        np.testing.assert_allclose(after["trans"] * metres, world.apply(PELVIS), atol=0.03)
        assert np.array_equal(after["poses"], pose[:, [*range(22), *range(25, 55)]].reshape(len(pose), -1))


@pytest.mark.parametrize(("times", "fps", "told"), [(1.0, 60.0, False), (40.0, 60.0, True), (0.5, 1000.0, False), (2.0, 1000.0, True)])
def test_paths_faster_than_people_are_told(times: float, fps: float, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No feet tell the unit of who glides at rest, 0.8 m/s, and at 1000 frames a second 13.3."""
    source = write_motion(tmp_path / "clip.npz", np.repeat(POSE[:1], len(POSE), 0), PELVIS * times, fps=fps)
    clean([str(source), "--output", str(tmp_path / "out")])
    report = json.loads((tmp_path / "out/clip.npz.report.json").read_text())
    assert ("faster than people move" in " ".join(report["notes"])) == told
    assert ("faster than people move" in caplog.text) == told


def test_people_of_one_file_keep_their_distance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    faulty = INJECTIONS["swaps"](POSE, PELVIS, WALKER_FPS, rng)
    beside = PELVIS + np.array([0, 0.6, 0])
    source = tmp_path / "two.npz"
    np.savez(
        source,
        root_orient=np.stack([faulty.pose[:, 0], POSE[:, 0]]),
        pose_body=np.stack([faulty.pose[:, 1:22], POSE[:, 1:22]]).reshape(2, len(POSE), -1),
        trans=np.stack([faulty.trans, beside]),
        fps=WALKER_FPS,
    )
    clean([str(source), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/two.npz") as after:
        assert np.array_equal(after["trans"], np.stack([PELVIS, beside]))
        assert np.array_equal(after["pose_body"][1].reshape(len(POSE), -1), POSE[:, 1:22].reshape(len(POSE), -1))
        np.testing.assert_allclose(after["pose_body"][0].reshape(-1, 21, 3), POSE[:, 1:22], atol=1e-6)


def test_lost_frames_are_filled_and_the_rest_is_untouched(tmp_path: Path) -> None:
    pose, trans = POSE.copy(), PELVIS.copy()
    pose[40:44], trans[42] = np.nan, np.inf
    source = write_motion(tmp_path / "clip.npz", pose, trans)
    clean([str(source), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/clip.npz") as after:
        poses = after["poses"].reshape(len(pose), 52, 3)
        assert np.isfinite(poses).all()
        assert np.isfinite(after["trans"]).all()
        assert np.array_equal(poses[44:, :22], pose[44:, :22])
        np.testing.assert_allclose(after["trans"][40:44], PELVIS[40:44], atol=0.01)


def folder_of(tmp_path: Path, num: int = 4) -> Path:
    folder = tmp_path / "clips"
    (folder / "sub").mkdir(parents=True)
    for number in range(num):
        pose, trans = popped() if number % 2 else (POSE, PELVIS)
        write_motion(folder / ("sub" if number == 0 else "") / f"clip_{number}.npz", pose, trans)
    return folder


def test_a_table_of_clips_the_worst_first(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    rows = score([str(folder), "--output", str(tmp_path / "out"), "--keep", "0.5"])
    assert {row["clip"] for row in rows[:2]} == {"clip_1", "clip_3"}
    assert all(row["badness"] > 0.5 for row in rows[:2])
    assert all(row["badness"] < 0.5 for row in rows[2:])
    with (tmp_path / "out/scores.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0])[:3] == ["clip", "num_frames", "badness"]
    assert [row["clip"] for row in table] == [row["clip"] for row in rows]
    with np.load(tmp_path / "out/frames/clip_1.npz") as frames:
        assert frames["badness"].shape == (len(POSE),)
        assert frames["joint_badness"].shape == (len(POSE), 22)
        assert frames["badness"].argmax() == 70
        assert frames["joints"][frames["joint_badness"][70].argmax()] == "right_shoulder"
        assert ((frames["badness"] >= 0) & (frames["badness"] <= 1)).all()
    good = ["clip_2", "sub/clip_0"]
    assert (tmp_path / "out/keep.txt").read_text().split() == good
    assert json.loads((tmp_path / "out/keep.json").read_text())["keep"] == good
    assert set(pickle.loads((tmp_path / "out/keep_phc.pkl").read_bytes())) == {"0-clip_1", "0-clip_3"}
    motions = yaml.safe_load((tmp_path / "out/keep_protomotions.yaml").read_text())["motions"]
    assert [(motion["file"], motion["fps"]) for motion in motions] == [("clip_2.npz", 60), ("sub/clip_0.npz", 60)]


def test_thresholds_say_what_is_kept(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2)
    score([str(folder), "--output", str(tmp_path / "out"), "--keep", "badness<0.5,frames_pop<0.1"])
    assert (tmp_path / "out/keep.txt").read_text().split() == ["sub/clip_0"]
    for keep in ("nonsense<0.5", "2", "badness", "badness<x", "num_frames>=5"):
        with pytest.raises(UserError, match="--keep"):
            score([str(folder), "--output", str(tmp_path / "out"), "--keep", keep])


@pytest.mark.parametrize("script", [clean, score])
def test_a_killed_run_goes_on_where_it_was(script: object, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 3)
    assert callable(script)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    script([str(folder), "--output", str(whole)])
    for _ in kills(lambda: script([str(folder), "--output", str(broken)]), 6, CHANGES):
        pass
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and not path.name.startswith("."))
    assert files == sorted(path.relative_to(broken) for path in broken.rglob("*") if path.is_file() and not path.name.startswith("."))
    for file in files:
        assert (whole / file).read_bytes() == (broken / file).read_bytes(), file


def test_what_is_complete_is_skipped_until_its_bytes_change(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2)
    output = ["--output", str(tmp_path / "out")]
    assert [outcome.status for outcome in clean([str(folder), *output])] == ["success", "success"]
    assert [outcome.status for outcome in clean([str(folder), *output])] == ["skipped", "skipped"]
    write_motion(folder / "clip_1.npz", POSE, PELVIS)
    assert [outcome.status for outcome in clean([str(folder), *output])] == ["success", "skipped"]


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, 2)
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(SystemExit) as ended:
        clean([str(folder), "--output", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "1 of 3 files failed" in capsys.readouterr().err
    assert (tmp_path / "out/clip_1.npz").is_file()
    with pytest.raises(UserError, match=r"broken\.npz"):
        clean([str(folder / "broken.npz"), "--output", str(tmp_path / "alone")])


@pytest.mark.parametrize("script", [clean, score])
def test_a_path_that_is_neither_file_nor_folder_is_one_mistake(script: Callable[[list[str]], object], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown kind of file"):
        script(["/dev/null", "--output", str(tmp_path)])


@pytest.mark.parametrize("num", [5, 6])
def test_of_few_frames_it_is_said_what_they_cannot_tell(num: int, tmp_path: Path) -> None:
    source = write_motion(tmp_path / "clip.npz", POSE[:num], PELVIS[:num])
    clean([str(source), "--output", str(tmp_path / "out")])
    notes = json.loads((tmp_path / "out/clip.npz.report.json").read_text())["notes"]
    assert ("too few to tell jumps" in " ".join(notes)) == (num < 6)


def test_a_file_is_never_written_over_itself(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    with pytest.raises(UserError, match="overwritten"):
        clean([str(folder), "--output", str(folder)])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"poses": np.zeros((5, 40)), "trans": np.zeros((5, 3))}, "no motion of a layout"),
        ({"poses": np.zeros((5, 24, 3, 3)), "trans": np.zeros((5, 3))}, "roma.rotmat_to_rotvec"),
        ({"poses": np.zeros((5, 72)), "trans": np.zeros((4, 3))}, "one row for each pose"),
        ({"poses": np.full((5, 72), np.nan), "trans": np.zeros((5, 3))}, "no frame of it is finite"),
        ({"poses": np.zeros((0, 72)), "trans": np.zeros((0, 3))}, "without frames"),
        ({"poses": np.zeros((0, 5, 72)), "trans": np.zeros((0, 5, 3))}, "without people"),
        ({"poses": np.zeros((5, 72)), "trans": np.zeros((5, 3)), "fps": -3.0}, "a frame rate is a number"),
        ({"poses": np.zeros((5, 72), dtype=int), "trans": np.zeros((5, 3))}, "float"),
        ({"root_orient": np.zeros((2, 5, 3)), "pose_body": np.zeros((3, 5, 63))}, "beside"),
    ],
)
def test_what_is_no_motion_is_said_in_one_line(arrays: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", **arrays)
    for script in (clean, score):
        with pytest.raises(UserError, match=said):
            script([str(tmp_path / "clip.npz"), "--output", str(tmp_path / "out")])


def test_recorded_skeletons_are_cleaned_into_amass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "datamodules/capture")
    from capture_cases import FPS, NUM, write_bvh

    from pose_priors.datamodules.capture.as_poses import recorded_poses
    from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT
    from pose_priors.refinement.motions.files.read import read_motions

    folder = tmp_path / "clips"
    folder.mkdir()
    source = write_bvh(folder / "walk.bvh")
    read = recorded_poses(source)
    output = ["--output", str(tmp_path / "out")]
    assert [outcome.status for outcome in clean([str(folder), *output]) + clean([str(folder), *output])] == ["success", "skipped"]
    assert json.loads((tmp_path / "out/walk.bvh.report.json").read_text())["written"] == "walk.npz"
    with np.load(tmp_path / "out/walk.npz") as after:
        assert after["poses"].shape == (NUM, 165)
        assert float(after["mocap_frame_rate"]) == pytest.approx(FPS, rel=1e-5)
        # smplx's translation is where the pelvis is less where the model has it
        np.testing.assert_allclose(after["trans"][0], read["trans"][0] - np.array(TEMPLATE_ROOT[55]), atol=1e-6)
        np.testing.assert_allclose(after["poses"][0], read["poses"][0], atol=1e-6)
    # what was written is read as the same motion
    one, other = (read_motions(path).people[0] for path in (source, tmp_path / "out/walk.npz"))
    np.testing.assert_allclose(one.joints - one.pelvis[:, None], other.joints - other.pelvis[:, None], atol=0.02)
    (row,) = score([str(folder), "--output", str(tmp_path / "scores")])
    assert (row["clip"], row["file"], row["num_frames"]) == ("walk", "walk.bvh", NUM)
    write_motion(folder / "walk.npz", POSE, PELVIS)
    for script in (clean, score):
        with pytest.raises(UserError, match=r"walk\.bvh and walk\.npz would be one clip"):
            script([str(folder), *output])


def test_a_preview_shows_before_and_after(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    from rerun.chunk import RrdReader

    source = write_motion(tmp_path / "clip.npz", *popped())
    command = [str(tmp_path / "clip.npz"), "--output", str(tmp_path / "out")]
    clean(command)
    assert not (tmp_path / "out/clip.npz.rrd").exists()
    clean([*command, "--preview"])
    reader = RrdReader(tmp_path / "out/clip.npz.rrd")
    strips: dict[str, np.ndarray] = {}
    for chunk in reader.store(store=reader.recordings()[0]).stream():
        batch = chunk.to_record_batch()
        for name in batch.schema.names:
            if name.endswith(("strips", "scalars")):
                strips[chunk.entity_path] = np.array(batch.column(name).to_pylist(), dtype=float)
    before, after = (strips[f"/world/person_000/{name}/bones"] for name in ("before", "after"))
    assert before.shape == after.shape == (len(POSE), 21, 2, 3)
    assert np.flatnonzero(np.abs(before - after).max((1, 2, 3)) > 1e-6).tolist() == [70]
    assert np.flatnonzero(strips["/faults/person_000/pop"]).tolist() == [70]
    # a file that is cleaned anew without one does not keep what shows the old
    write_motion(source, POSE, PELVIS)
    clean(command)
    assert not (tmp_path / "out/clip.npz.rrd").exists()
