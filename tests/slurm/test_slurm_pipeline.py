"""The pipeline in arrays of a real Slurm: cut off half-way and submitted again, each stage of each video is done once."""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cluster import ROOT, Cluster

sys.path.append(str(ROOT / "tests" / "refinement" / "batch"))
from stand_in_stages import arguments, counted, make_videos, said, write_config


def submit(cluster: Cluster, folder: Path) -> list[str]:
    """Submits stages 1 to 3, and returns the numbers of their jobs."""
    last = int(cluster.submitted(cluster.run(sys.executable, "pipeline.py", "--launcher", "slurm", *arguments(folder))))
    return [str(last - 2), str(last - 1), str(last)]


@pytest.mark.parametrize("cut", ["requeue", "cancel"])
def test_an_array_for_each_stage_cut_off_and_submitted_again(cluster: Cluster, tmp_path: Path, cut: str) -> None:
    names = make_videos(tmp_path / "videos", 12)
    setup = [f"export TORCH_HOME={tmp_path}/torch"]
    write_config(tmp_path, slurm={"cpus_per_task": 1, "group_size": 6, "time_min": 30, "log_dir": str(tmp_path / "jobs"), "setup": setup})
    (tmp_path / "stop").write_text("2 clip_03")
    jobs = submit(cluster, tmp_path)
    until = time.monotonic() + 180
    while "begin 2 clip_03" not in said(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert set(cluster.wait(jobs[0]).values()) == {"COMPLETED"}
    assert set(cluster.states(jobs[2]).values()) == {"PENDING"}
    (tmp_path / "stop").unlink()
    if cut == "requeue":
        cluster.ask("scontrol", "requeue", f"{jobs[1]}_0")
        assert set(cluster.wait(jobs[2]).values()) == {"COMPLETED"}
    else:
        cluster.ask("scancel", f"{jobs[1]}_0")
        assert cluster.wait(jobs[2]) == {f"{jobs[2]}_0": "FAILED", f"{jobs[2]}_1": "COMPLETED"}
        assert set(cluster.wait(submit(cluster, tmp_path)[2]).values()) == {"COMPLETED"}
    assert counted(tmp_path, "end") == Counter(f"{stage} {name}" for stage in (1, 2, 3) for name in names)
    assert {begun for begun, number in counted(tmp_path, "begin").items() if number > 1} == {"2 clip_03"}
    rows = list(csv.DictReader((tmp_path / "out" / "videos.csv").open()))
    assert [row["video"] for row in rows] == names
    assert {row["stage3"].split(":")[0] for row in rows} <= {"done", "skipped"}
