"""The scripts with `--launcher local`: the same work in processes, and mistakes that are told before anything is queued."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import refine
import train
from pose_priors.configs.base import UserError
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.priors.training.folder import CheckpointFolder

ROOT = Path(train.__file__).parent
SHORT = [
    f"refinement.{name}_iterations=1" for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
] + ["slurm.cpus_per_task=1", "slurm.group_size=2"]


def training(folder: Path, *overrides: str) -> list[str]:
    small = ["data.path=built_in", "data.num_poses=410", "training.max_epochs=2", "logging.logger=csv", "trainer.enable_progress_bar=false"]
    small += ["model.hidden=16", "model.K=2", "trainer.accelerator=cpu", "slurm.cpus_per_task=1"]
    places = {"logging.checkpoint_dir": "checkpoints", "logging.log_dir": "curves", "slurm.log_dir": "logs"}
    return ["--config", "global_flow", "--override", *small, *(f"{key}={folder / name}" for key, name in places.items()), *overrides]


def scores(folder: Path) -> list[float]:
    table = next((folder / "curves").rglob("metrics.csv"))
    return [float(row["val/loss"]) for row in csv.DictReader(table.open()) if row["val/loss"]]


def test_training_in_processes_is_training_here(tmp_path: Path) -> None:
    here = train.main(training(tmp_path / "here", "training.batch_size=82"))
    two = ["training.batch_size=41", "trainer.devices=2", "trainer.strategy=ddp"]
    command = [sys.executable, "train.py", "--launcher", "local", *training(tmp_path / "there", *two)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "processes beside this one, 1 task, logs in" in done.stderr
    # 41 poses are validated on, one more by one of the two
    assert scores(tmp_path / "there") == pytest.approx(scores(tmp_path / "here"), abs=0.01)
    a, b = (torch.load(path, weights_only=True) for path in (here, tmp_path / "there" / "checkpoints" / "best.ckpt"))
    assert a["global_step"] == b["global_step"]
    assert a["run"] is None
    assert b["run"].startswith("global_flow-")


def test_all_processes_end_where_the_first_is_refused(tmp_path: Path) -> None:
    """Two processes as torchrun starts them, which would wait for each other half an hour."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "train.py", *training(tmp_path, "trainer.devices=2", "trainer.strategy=ddp")]
    with CheckpointFolder(tmp_path / "checkpoints", "another", None).owned():
        # this process starts the others, as the first of a fit may do
        (tmp_path / "checkpoints" / ".lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "run": "another", "started": "today"}))
        processes = [
            subprocess.Popen(
                command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, **group, "RANK": rank, "LOCAL_RANK": rank}
            )
            for rank in ("0", "1")
        ]
        try:
            told = [process.communicate(timeout=120)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
    assert [process.returncode for process in processes] == [2, 2]
    assert (
        told[0].splitlines()[-1].startswith(f"error: {tmp_path / 'checkpoints'}: another run writes its checkpoints there (the run another")
    )
    assert told[0].count("error") == 1
    assert told[1] == ""
    assert not list((tmp_path / "checkpoints").glob("*.ckpt"))


def finished(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of each result."""
    paths = folder.glob("*/5_refinement/refinement_results.json")
    return {path.parents[1].name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


@pytest.mark.slow
def test_groups_of_sequences_in_processes(tmp_path: Path) -> None:
    scene, _ = write_builtin_scene(tmp_path / "clips" / "a", seed=0)
    for name in ("b", "c"):
        shutil.copytree(scene, scene.with_name(name))
    (tmp_path / "clips" / "b" / "1_camera_estimation" / "cameras.npz").unlink()
    options = [*SHORT, f"input.path={tmp_path / 'clips'}", f"slurm.log_dir={tmp_path / 'logs'}"]
    with pytest.raises(UserError, match=r"^1 of 2 jobs failed: job \d+: .*1 of 2 sequences failed: b \(") as caught:
        refine.main(["--config", "refinement", "--launcher", "local", "--override", *options])
    assert "\n" not in str(caught.value)
    done = finished(tmp_path / "clips")
    assert sorted(done) == ["a", "c"]
    results = refine.main(["--config", "refinement", "--launcher", "local", "--override", *options, "input.pattern='[ac]'"])
    assert sorted(results) == ["a", "c"]
    # complete before, so that they were left alone
    assert finished(tmp_path / "clips") == done
    rows = list(csv.DictReader((tmp_path / "clips" / "summary.csv").open()))
    assert {row["sequence"]: row["status"].split(":")[0] for row in rows} == {"a": "skipped", "b": "failed", "c": "skipped"}


@pytest.mark.parametrize("script", ["train.py", "refine.py"])
def test_a_machine_without_slurm_is_told_in_one_line(script: str, tmp_path: Path) -> None:
    write_builtin_scene(tmp_path / "clip", seed=0)
    arguments = training(tmp_path) if script == "train.py" else ["--config", "refinement", "--override", f"input.path={tmp_path / 'clip'}"]
    command = [sys.executable, script, "--launcher", "slurm", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr == ("error: --launcher slurm: no sbatch on PATH; run this where jobs are submitted, or use --launcher local\n")
    assert not (tmp_path / "logs").exists()


def test_one_task_of_several_is_told_before_it_waits_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(UserError, match="a job of 2 tasks, of which only one was started: put srun before python"):
        train.main(training(tmp_path))
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    with pytest.raises(UserError, match="ntasks-per-node=2"):
        train.main(training(tmp_path))
