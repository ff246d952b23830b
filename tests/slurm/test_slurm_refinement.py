"""Refinement in an array of a real Slurm: interrupted, cancelled and submitted again, each sequence is done once."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import Cluster

from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene

NAMES = [f"clip_{i}" for i in range(8)]
SHORT = ["root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final"]


@pytest.fixture(scope="module")
def scene(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_builtin_scene(tmp_path_factory.mktemp("scene") / "clip", seed=0)[0]


def submit(cluster: Cluster, folder: Path, *overrides: str) -> str:
    """Submits the refinement of a folder, two sequences a task, and returns the number of the last job."""
    options = [f"refinement.{name}_iterations=8" for name in SHORT]
    options += [f"input.path={folder / 'clips'}", f"slurm.log_dir={folder / 'logs'}", "slurm.cpus_per_task=1", "slurm.group_size=2"]
    script = [sys.executable, "refine.py", "--config", "refinement", "--launcher", "slurm"]
    return cluster.submitted(cluster.run(*script, "--override", "slurm.time_min=30", *options, *overrides))


def finished(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of each result that is complete."""
    found = {}
    for name in NAMES:
        path = folder / "clips" / name / "5_refinement" / "refinement_results.json"
        if path.is_file() and json.loads(path.read_text())["status"] == "success":
            about = path.stat()
            found[name] = (about.st_ino, about.st_mtime_ns)
    return found


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def text_of(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def logged(folder: Path, text: str) -> int:
    return sum(path.read_text().count(text) for path in (folder / "logs").rglob("*_log.err"))


def test_an_array_that_is_interrupted_and_cancelled_does_each_sequence_once(cluster: Cluster, scene: Path, tmp_path: Path) -> None:
    for name in NAMES:
        shutil.copytree(scene, tmp_path / "clips" / name)
    job = submit(cluster, tmp_path)
    assert sorted(cluster.states(job)) == [f"{job}_{i}" for i in range(4)]
    # one task is cancelled while it loads the code, so that nothing of it is done, however fast this machine is
    (logs,) = (tmp_path / "logs").iterdir()
    wait_until(lambda: "Loading pickle" in text_of(logs / f"{job}_2_0_log.out"))
    cluster.ask("scancel", f"{job}_2")
    # one is caught in its second sequence
    wait_until(lambda: "clip_0" in finished(tmp_path))
    caught = finished(tmp_path)
    assert "clip_1" not in caught
    cluster.ask("scontrol", "requeue", f"{job}_0")
    assert cluster.wait(job) == {f"{job}_{i}": "CANCELLED" if i == 2 else "COMPLETED" for i in range(4)}
    then = finished(tmp_path)
    assert sorted(then) == [name for name in NAMES if name not in ("clip_4", "clip_5")]
    assert logged(tmp_path, "clip_0: complete, skipped") == 1
    skipped = logged(tmp_path, "complete, skipped")
    again = submit(cluster, tmp_path)
    assert set(cluster.wait(again).values()) == {"COMPLETED"}
    last = finished(tmp_path)
    assert sorted(last) == NAMES
    assert last == last | then | caught
    for name in NAMES:
        assert logged(tmp_path, f"{name}: 2 people, scale") == 1
    assert logged(tmp_path, "complete, skipped") == skipped + len(then)
    rows = list(csv.DictReader((tmp_path / "clips" / "summary.csv").open()))
    assert [row["sequence"] for row in rows] == NAMES
    assert all(row["status"] in ("success", "skipped") for row in rows)


def test_stage_5_waits_for_stage_4_and_one_bad_sequence_stops_no_other(cluster: Cluster, scene: Path, tmp_path: Path) -> None:
    names = ["bad", *NAMES[:3]]
    for name in names:
        shutil.copytree(scene, tmp_path / "clips" / name, ignore=shutil.ignore_patterns("4_world_space"))
    (tmp_path / "clips" / "bad" / "1_camera_estimation" / "cameras.npz").unlink()
    job = submit(cluster, tmp_path, "stages=[4,5]")
    before = str(int(job) - 1)
    while cluster.wait(before, "PENDING", "RUNNING", "COMPLETED", "FAILED")[f"{before}_0"] in ("PENDING", "RUNNING"):
        assert set(cluster.states(job).values()) == {"PENDING"}
        time.sleep(0.1)
    assert cluster.wait(before) == {f"{before}_0": "FAILED", f"{before}_1": "COMPLETED"}
    assert cluster.wait(job) == {f"{job}_0": "FAILED", f"{job}_1": "COMPLETED"}
    assert sorted(finished(tmp_path)) == NAMES[:3]
    assert all((tmp_path / "clips" / name / "4_world_space" / "metadata.json").is_file() for name in NAMES[:3])
    assert logged(tmp_path, "1 of 2 sequences failed: bad (") >= 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("slurm.partition=fast", "invalid partition"),
        ("slurm.gpus_per_node=1", "generic resource"),
        ("slurm.options={hue: 1}", "hue"),
    ],
)
def test_what_the_cluster_refuses_is_told_in_one_line(override: str, said: str, cluster: Cluster, scene: Path, tmp_path: Path) -> None:
    script = [sys.executable, "refine.py", "--config", "refinement", "--launcher", "slurm", "--override", f"input.path={scene}", override]
    done = cluster.run(*script, f"slurm.log_dir={tmp_path / 'logs'}")
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert said.lower() in done.stderr.lower()
    assert "partitions here: high, low" in done.stderr
    assert not list((tmp_path / "logs").iterdir())
