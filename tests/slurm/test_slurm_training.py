"""Training in jobs of a real Slurm: two tasks as one, and going on after an interruption."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cluster import ROOT, Cluster

COMMON = [
    "logging.logger=csv",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "slurm.cpus_per_task=1",
    "slurm.time_min=30",
]
FLOW = [*COMMON, "model.hidden=16", "model.K=2"]


def folders(folder: Path) -> list[str]:
    names = {"logging.checkpoint_dir": "checkpoints", "logging.log_dir": "curves", "slurm.log_dir": "logs"}
    return [f"{key}={folder / name}" for key, name in names.items()]


def scores(folder: Path, column: str) -> list[float]:
    table = next((folder / "curves").rglob("metrics.csv"))
    return [float(row[column]) for row in csv.DictReader(table.open()) if row[column]]


def test_two_tasks_train_as_one_and_draw_each_row_once(cluster: Cluster, tmp_path: Path) -> None:
    # 328 poses to learn from, 4 batches of 82 from one task or of 41 from each of two; 41 to validate on, one more on one task
    options = [*FLOW, "data.path=built_in", "data.num_poses=410", "training.max_epochs=3"]
    ways = {
        "one": ([], ["training.batch_size=82"]),
        "two": (
            ["srun", "--nodes=2", "--ntasks-per-node=1"],
            ["training.batch_size=41", "trainer.num_nodes=2", "trainer.devices=1", "trainer.strategy=ddp"],
        ),
    }
    drawn: dict[str, list[dict[int, list[int]]]] = {}
    for way, (prefix, more) in ways.items():
        folder = tmp_path / way
        folder.mkdir()
        script = [sys.executable, "tests/slurm/recorded_training.py", folder, "--config", "global_flow"]
        done = cluster.run(
            "env", f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=1", *prefix, *script, "--override", *options, *more, *folders(folder)
        )
        assert done.returncode == 0, done.stderr
        drawn[way] = []
        for path in sorted(folder.glob("rank_*.jsonl")):
            rows: dict[int, list[int]] = {}
            for epoch, batch in map(json.loads, path.read_text().splitlines()):
                rows.setdefault(epoch, []).extend(batch)
            drawn[way].append(rows)
    assert [len(ranks) for ranks in drawn.values()] == [1, 2]
    for ranks in drawn.values():
        for epoch in range(3):
            assert sorted(row for rank in ranks for row in rank[epoch]) == list(range(328))
    assert all(len(rank[epoch]) == 164 for rank in drawn["two"] for epoch in range(3))
    for column in ("val/nll", "val/loss", "val/nll_median"):
        one, two = scores(tmp_path / "one", column), scores(tmp_path / "two", column)
        assert one == pytest.approx(two, abs=0.01)
        assert len(one) == 3
    assert scores(tmp_path / "two", "val/loss") == pytest.approx(scores(tmp_path / "two", "val/nll"), abs=1e-3)


def submit(cluster: Cluster, folder: Path, *overrides: str) -> str:
    """Submits a training and returns the number of its job."""
    script = [sys.executable, "train.py", "--config", "global_flow", "--launcher", "slurm"]
    return cluster.submitted(cluster.run(*script, "--override", *FLOW, *folders(folder), *overrides))


LONG = [
    "data.path=built_in",
    "data.num_poses=2500",
    "training.batch_size=16",
    "training.max_epochs=12",
    "training.patience=12",
    "training.ema_decay=0.9",
]


def warn(cluster: Cluster, job: str) -> None:
    """Sends the signal that Slurm sends some time before the limit."""
    cluster.ask("scancel", "--signal=USR2", job)


def requeue(cluster: Cluster, job: str) -> None:
    cluster.ask("scontrol", "requeue", job)


def epoch_of(last: Path) -> int:
    """The last whole epoch in a checkpoint of a run with a name, -1 where there is none."""
    if not last.is_file():
        return -1
    content = torch.load(last, weights_only=True)
    return content["epoch"] if content["run"] else -1


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_training_that_is_interrupted_goes_on_bit_for_bit(cluster: Cluster, tmp_path: Path) -> None:
    whole = tmp_path / "whole" / "checkpoints" / "last.ckpt"
    script = [sys.executable, "train.py", "--config", "global_flow", "--override", *FLOW, *folders(tmp_path / "whole"), *LONG]
    done = cluster.run("env", "OMP_NUM_THREADS=1", *script)
    assert done.returncode == 0, done.stderr

    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    shutil.copy(whole, last)  # of another run, to be started over
    job = submit(cluster, tmp_path / "parts", *LONG)
    log = next((tmp_path / "parts" / "logs").iterdir()) / f"{job}_0_log.err"
    for count, interrupt in enumerate((warn, requeue)):
        wait_until(lambda count=count: log.is_file() and log.read_text().count("goes on from") == count)
        before = epoch_of(last)
        wait_until(lambda before=before: epoch_of(last) > before)
        interrupt(cluster, job)
    assert cluster.wait(job) == {job: "COMPLETED"}
    assert log.read_text().count("goes on from") == 2
    a, b = (torch.load(path, weights_only=True) for path in (whole, last))
    assert a["global_step"] == b["global_step"]
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, b[key][name]) for name, value in a[key].items())


def test_a_preempted_training_is_not_taken_for_complete(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, *LONG, "training.max_epochs=1000", "training.patience=1000")
    wait_until(lambda: epoch_of(tmp_path / "checkpoints" / "last.ckpt") >= 0)
    urgent = ["--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    cluster.wait(cluster.ask("sbatch", "--parsable", *urgent)[0])
    assert cluster.wait(job, "PENDING", "RUNNING", "COMPLETED")[job] != "COMPLETED"
    log = next((tmp_path / "logs").rglob("*_0_log.err"))
    wait_until(lambda: "goes on from" in log.read_text())
    cluster.ask("scancel", job)
    cluster.wait(job)
