"""Instances tracked each on its own, by programs of others, and put together again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rerun as rr
import yaml
from instance_scenes import SQUARES, opened, pickled, scene
from rerun.chunk import RrdReader

from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.refinement.instances import combine_rrd_files_python, combine_tracking_results, create_viewing_script
from pose_priors.refinement.instances.__main__ import main
from pose_priors.refinement.instances.trackers import TrackersConfig

# Stands for a tracker: says what it was told, looks at the points, and leaves the recording that was made for it.
TRACKER = """
import shutil, sys, zipfile
npz, rrd, instance, *told = sys.argv[1:]
print(instance, *told, len(zipfile.ZipFile(npz).read("query_points.npy")))
if instance == "instance_2" and "fails" in told:
    print("Traceback", file=sys.stderr)
    print("OutOfMemory: of " + instance, file=sys.stderr)
    sys.exit(3)
shutil.copy("recordings/" + instance + ".rrd", rrd)
"""


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tracker's code. Its recordings have applications of their own, and something outside any timeline."""
    folder = tmp_path_factory.mktemp("code of others")
    (folder / "track.py").write_text(TRACKER)
    (folder / "recordings").mkdir()
    for name in SQUARES:
        with rr.RecordingStream(f"tracker of {name}") as recording:
            recording.save(folder / "recordings" / f"{name}.rrd")
            recording.log("/", rr.ViewCoordinates.RDF, static=True)
            for frame in range(4):
                recording.set_time("frame", sequence=frame)
                recording.log("tracks/points", rr.Points3D(np.full((3, 3), frame)))
    return folder


@pytest.fixture
def config(tmp_path: Path, tracker: Path) -> Path:
    command = f"{shlex.quote(sys.executable)} track.py {{npz}} {{rrd}} {{instance}} {{temporal_stride}} {{spatial_downsample}}"
    trackers = {
        "good": {"command": command, "directory": str(tracker)},
        "sometimes": {"command": f"{command} fails", "directory": str(tracker)},
        "lazy": {"command": "true {npz} {rrd}"},
        "liar": {"command": "cp {npz} {rrd}"},
    }
    path = tmp_path / "trackers.yaml"
    path.write_text(yaml.safe_dump({"query_points": {"max_points_per_frame": 10}, "trackers": trackers}))
    return path


def command(npz: Path, config: Path, tracker: str, *more: str) -> list[str]:
    return ["--npz", str(npz), "--config", str(config), "--tracker", tracker, "--output-dir", str(npz.parent / "out"), *more]


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said at the end by a run in which something failed."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    return capsys.readouterr().err


def entities(path: Path) -> dict[str, list[int | None]]:
    """The frames at which each entity of the only recording in a file has something; None outside any timeline."""
    reader = RrdReader(path)
    (store,) = reader.recordings()
    found: dict[str, list[int | None]] = {}
    for chunk in reader.stream(store=store):
        if not chunk.entity_path.startswith("/__properties"):
            rows = [None] if chunk.is_static else chunk.to_record_batch().column("frame").to_pylist()
            found.setdefault(chunk.entity_path, []).extend(rows)
    return found


def merged(*names: str) -> dict[str, list[int | None]]:
    return {f"/{name}": [None] for name in names} | {f"/{name}/tracks/points": [0, 1, 2, 3] for name in names}


def test_each_instance_is_tracked_and_the_recordings_become_one(npz: Path, config: Path) -> None:
    found = main(command(npz, config, "good", "--use-first-frame", "--temporal-stride", "2", "--base-name", "scene"))
    out = npz.parent / "out"
    expected = {f"scene_good_{name}.rrd" for name in (*SQUARES, "combined")} | {"view_scene_good_combined.sh", "instances", "logs"}
    assert {path.name for path in out.iterdir()} == expected
    assert {path.name for path in (out / "instances").iterdir()} == {f"my scene_{n}{s}.npz" for n in SQUARES for s in ("", "_query")}
    assert opened(out / "instances" / "my scene_instance_0_query.npz")["query_points"].shape == (20, 4)
    assert (out / "logs" / "scene_good_instance_0.out").read_text().splitlines()[1].split() == ["instance_0", "2", "1", str(128 + 20 * 16)]
    assert found.combined == out / "scene_good_combined.rrd"
    assert entities(found.combined) == merged(*SQUARES)
    script = out / "view_scene_good_combined.sh"
    assert os.access(script, os.X_OK)
    viewer = npz.parent / "bin" / "rerun"
    viewer.parent.mkdir()
    viewer.write_text('#!/bin/sh\npwd\nls "$@"\n')
    viewer.chmod(0o755)
    path = f"{viewer.parent}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.run([script], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True, cwd="/").stdout
    assert shown.splitlines() == [str(out), "scene_good_combined.rrd"]


def test_one_that_fails_is_named_with_its_last_words_and_the_others_go_on(
    npz: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, *command(npz, config, "sometimes"))
    assert "instance_2: exit code 3; its last words: Traceback | OutOfMemory: of instance_2" in said
    out = npz.parent / "out"
    assert entities(out / "tracking_sometimes_combined.rrd") == merged("instance_0", "instance_10")
    assert not (out / "tracking_sometimes_instance_2.rrd").exists()
    # from the instances that were split then, with another tracker into another folder
    instances = out / "instances"
    (instances / "my scene_instance_0_query.npz").unlink()
    before = {path: path.stat().st_mtime_ns for path in instances.iterdir()}
    other = npz.parent / "v2"
    main(command(npz, config, "good", "--skip-split", "--instances-dir", str(instances), "--output-dir", str(other)))
    assert {path: path.stat().st_mtime_ns for path in instances.iterdir()} == before
    assert entities(other / "tracking_good_combined.rrd") == merged(*SQUARES)
    assert {path.name for path in (other / "instances").iterdir()} == {f"my scene_{name}_query.npz" for name in SQUARES}


def test_what_a_tracker_leaves_is_looked_at(npz: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "instance_10: ended well but wrote no {rrd}" in fails(capsys, *command(npz, config, "lazy"))
    out = npz.parent / "out"
    assert not list(out.glob("*.rrd"))
    assert not list(out.glob("*.sh"))
    assert "tracking_liar_instance_0.rrd: no recording that rerun" in fails(capsys, *command(npz, config, "liar"))
    assert not (out / "tracking_liar_combined.rrd").exists()
    script = (out / "view_tracking_liar_combined.sh").read_text()
    assert all(f"tracking_liar_{name}.rrd" in script for name in SQUARES)


def test_an_instance_without_points_does_not_stop_the_others(npz: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = scene()
    content["sam2_masks"].item()["instance_10"][:] = False
    np.savez(npz, **content)
    assert "instance_10: " in fails(capsys, *command(npz, config, "good"))
    assert entities(npz.parent / "out" / "tracking_good_combined.rrd") == merged("instance_0", "instance_2")


def test_a_mistake_ends_with_one_line_and_code_2(npz: Path, config: Path) -> None:
    arguments = [sys.executable, "-m", "refinement.instances", *command(npz, config, "no_such")]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --tracker no_such: not among the trackers of the config; there are good, lazy, liar, sometimes"
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--frames-after", "-1"], "--frames-after: -1 is not a whole number"),
        (["--depth-estimator", "duster"], r"has no \{depth_estimator\}, so it would not be told"),
        (["--instances-dir", "x"], "give --skip-split too"),
        (["--skip-split"], "leave out --skip-split"),
        (["--mask-key", "none"], "no 'none'; it holds"),
        (["--base-name", "a/b"], "cannot begin the name of a file"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(npz: Path, config: Path, more: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(command(npz, config, "good", *more))
    assert not list((npz.parent / "out").rglob("*.npz"))


@pytest.mark.parametrize("name", ["combined", "instance_0_query"])
def test_instances_named_as_other_files_are_refused(npz: Path, config: Path, name: str) -> None:
    masks = scene()["sam2_masks"].item()
    np.savez(npz, **scene() | {"sam2_masks": pickled(masks | {name: masks["instance_0"]})})
    with pytest.raises(UserError, match=f"an instance named {name}, the name of a file that is made"):
        main(command(npz, config, "good"))
    assert not (npz.parent / "out").exists()


@pytest.mark.parametrize(
    ("command", "directory", "message"),
    [
        ("track {npz} {rrd} {gpu}", None, r"trackers\.t\.command: \{gpu\} stands for nothing; allowed: \{npz\}, \{rrd\}"),
        ("track {npz} {}", None, r"\{\} stands for nothing"),
        ("track {npz}", None, r"\{rrd\} is missing"),
        ("track '{npz} {rrd}", None, "cannot be split into words"),
        ("no_such_program {npz} {rrd}", None, r"trackers\.t\.command: there is no program no_such_program"),
        ("./run {npz} {rrd}", None, r"there is no program \./run in"),
        ("python3 no_such.py {npz} {rrd}", None, r"there is no no_such\.py in .*trackers\.t\.directory"),
        ("true {npz} {rrd}", "no/such/folder", "no/such/folder is no folder"),
    ],
)
def test_a_command_that_cannot_be_run_is_told_before(tmp_path: Path, command: str, directory: str | None, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"trackers": {"t": {"command": command, "directory": directory}}}))
    with pytest.raises(UserError, match=message):
        load_config(TrackersConfig, str(path)).tracker("t")


def test_the_trackers_that_come_with_the_project_take_every_option() -> None:
    config = load_config(TrackersConfig, "trackers")
    assert set(config.trackers) == {"mvtracker", "spatialtrackerv2", "cotracker3_offline"}
    for tracker in config.trackers.values():
        assert {"npz", "rrd", "temporal_stride", "spatial_downsample", "depth_estimator", "depth_cache_dir"} <= tracker.places
    values = dict.fromkeys(("tracker", "temporal_stride", "spatial_downsample", "depth_estimator", "depth_cache_dir"), "1")
    words = config.trackers["mvtracker"].words({**values, "npz": "my {rrd} $(scene).npz", "rrd": "b"})
    assert "my {rrd} $(scene).npz" in words


def test_a_name_that_looks_like_an_option_is_none_in_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pose_priors.refinement.show.record.merge_recordings", lambda *_: None)
    _, script = combine_tracking_results({"a": tmp_path / "--web.rrd", "b c": tmp_path / "$(touch x).rrd"}, tmp_path, "-v")
    assert "exec rerun ./-v.rrd " in script.read_text()
    assert create_viewing_script([tmp_path / "--web.rrd", tmp_path / "$(touch x).rrd", tmp_path / "a.rrd"], script) == script
    assert "exec rerun ./--web.rrd '$(touch x).rrd' a.rrd " in script.read_text()


def test_recordings_are_merged_by_hand(tracker: Path, tmp_path: Path) -> None:
    files = sorted((tracker / "recordings").glob("*.rrd"))[:2]
    combined = combine_rrd_files_python(files, tmp_path / "scene_mvtracker_combined.rrd")
    paths = {chunk.entity_path.split("/")[1] for chunk in RrdReader(combined).stream()}
    assert {path.stem for path in files} <= paths
    assert not combined.match("*_instance_*.rrd")  # what opens the instances does not open them once more
