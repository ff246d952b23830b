"""The pipeline in jobs: an array for each stage, with what it needs, and nothing that is complete done again."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path

import pytest
from stand_in_stages import ROOT, STAGE_FOLDERS, arguments, counted, killed_at, make_videos, said, table, write_config

import pipeline
from pose_priors.configs.base import UserError
from pose_priors.refinement.batch.commands import PipelineSlurm
from pose_priors.refinement.batch.gpu_use import gpu_use_logged


def command(folder: Path, name: str, body: str) -> Path:
    """A program on its own; the folder that it lies in."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path.parent


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = command(tmp_path, "nvidia-smi", 'echo "0, 37 %, 1234 MiB, 16384 MiB"; echo "1, 0 %, 3 MiB, 16384 MiB"')
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.slow
def test_twelve_videos_in_processes_killed_and_started_again(tmp_path: Path, gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = str(tmp_path / "modules")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), theirs]))
    names = make_videos(tmp_path / "videos", 12)
    setup = ["echo a word of the module system", f"export TORCH_HOME={tmp_path}/torch"]
    slurm = {
        "cpus_per_task": 1,
        "group_size": 12,
        "log_dir": str(tmp_path / "jobs"),
        "stage2": {"setup": setup},
    }
    write_config(tmp_path, slurm=slurm)
    killed_at(tmp_path, "2 clip_05", "--launcher", "local")
    assert Counter(line.split()[1] for line in said(tmp_path) if line.startswith("end ")) == {"1": 12, "2": 5}
    pipeline.main(arguments(tmp_path, "--launcher", "local"))
    assert counted(tmp_path, "end") == Counter(f"{stage} {name}" for stage in (1, 2, 3) for name in names)
    assert {begun for begun, number in counted(tmp_path, "begin").items() if number > 1} == {"2 clip_05"}
    assert {row["stage3"] for row in table(tmp_path).values()} == {"done"}
    # setup is that of its stage alone; others' modules are not hidden by ours
    environment = {
        stage: json.loads((tmp_path / "out" / "clip_00" / STAGE_FOLDERS[stage] / "environment.json").read_text()) for stage in (2, 3)
    }
    assert environment[2]["TORCH_HOME"] == f"{tmp_path}/torch"
    assert environment[3]["TORCH_HOME"] == os.environ.get("TORCH_HOME", "")
    assert environment[2]["PYTHONPATH"] == environment[3]["PYTHONPATH"] == theirs
    for log in (tmp_path / "jobs").glob("*/*_log.err"):
        assert "GPU 0: 37 % used, memory 1234 MiB of 16384 MiB\n" in log.read_text()


def test_jobs_that_fail_name_the_videos(tmp_path: Path) -> None:
    make_videos(tmp_path / "videos", 2)
    (tmp_path / "videos" / "clip_01.mp4").write_text("bad")
    write_config(tmp_path, slurm={"cpus_per_task": 1, "log_dir": str(tmp_path / "jobs")})
    with pytest.raises(UserError, match=r"1 of 1 jobs failed: .*1 of 2 videos failed: clip_01 \(stage 1 .*videos\.csv tells") as error:
        pipeline.main(arguments(tmp_path, "--launcher", "local", "--skip-stages", "2", "3", "4", "5"))
    assert "\n" not in str(error.value)
    assert table(tmp_path)["clip_00"]["stage1"] == "done"
    jobs = sorted((tmp_path / "jobs").iterdir())
    with pytest.raises(UserError, match=r"stage2\.command is not given"):
        pipeline.main(arguments(tmp_path, "--launcher", "local", "--override", "stage2.command=null"))
    assert sorted((tmp_path / "jobs").iterdir()) == jobs
    with pytest.raises(UserError, match="skip_existing=false: a job that is queued again would do again"):
        pipeline.main(arguments(tmp_path, "--launcher", "local", "--no-skip-existing"))
    with pytest.raises(UserError, match=r"slurm\.setup: ends with exit code 1: bash: .*no_such_module"):
        pipeline.main(arguments(tmp_path, "--launcher", "local", "--override", "slurm.setup=[no_such_module || false]"))


def test_an_array_for_each_stage_with_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cluster whose sbatch keeps what it was given."""
    count = f"n=$(ls {tmp_path}/*.sh 2>/dev/null | wc -l)"
    command(tmp_path, "sbatch", f'{count}; cp "$1" {tmp_path}/$((n + 1)).sh; echo Submitted batch job $((n + 1))')
    monkeypatch.setenv("PATH", str(command(tmp_path, "srun", "exit 1")), prepend=os.pathsep)
    make_videos(tmp_path / "videos", 12)
    stage3 = {"time_min": 120, "mem_gb": 64, "gpus_per_node": 2, "group_size": 4, "setup": ["module load cuda/11.8"]}
    slurm = {"partition": "gpu", "log_dir": str(tmp_path / "jobs"), "setup": ["export HF_HOME=/scratch/hf"], "stage3": stage3}
    write_config(tmp_path, slurm=slurm)
    pipeline.main([*arguments(tmp_path, "--launcher", "slurm", "--skip-stages", "5"), "--override", "slurm.stage1.mem_gb=16"])
    scripts = [(tmp_path / f"{number}.sh").read_text() for number in (1, 2, 3, 4)]
    assert not (tmp_path / "5.sh").exists()
    assert "#SBATCH --mem=16GB" in scripts[0]
    assert "--array=0-1%2" in scripts[0]
    assert "dependency" not in scripts[0]
    assert all(f"#SBATCH --dependency=afterany:{number}" in scripts[number] for number in (1, 2, 3))
    for wanted in ("--time=120", "--mem=64GB", "--gpus-per-node=2", "--array=0-2%3", "--partition=gpu", "\nmodule load cuda/11.8\n"):
        assert wanted in scripts[2]
    assert "HF_HOME" not in scripts[2]
    assert "\nexport HF_HOME=/scratch/hf\n" in scripts[1]
    assert "--time=240" in scripts[1]
    assert "gpus" not in scripts[1]
    assert said(tmp_path) == []


def test_what_a_stage_does_not_say_the_section_says() -> None:
    config = PipelineSlurm.model_validate({"mem_gb": 8.0, "time_min": 30, "stage2": {"time_min": 60, "options": {"qos": "long"}}})
    found = config.of_stage(2)
    assert (found.mem_gb, found.time_min, found.options) == (8.0, 60, {"qos": "long"})
    assert config.of_stage(5).time_min == 30


def test_the_use_of_gpus_is_logged_again_and_again(gpus: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "refine")
    with gpu_use_logged(0.02):
        done = threading.Event()
        while len(caplog.messages) < 6 and not done.wait(0.02):
            pass
    number = len(caplog.messages)
    assert caplog.messages[1] == "GPU 1: 0 % used, memory 3 MiB of 16384 MiB"
    done.wait(0.1)
    assert len(caplog.messages) == number


def test_no_gpus_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "refine")
    monkeypatch.setenv("PATH", str(tmp_path))
    with gpu_use_logged(0.01):
        pass
    assert caplog.messages == []
    monkeypatch.setenv("PATH", str(command(tmp_path, "nvidia-smi", "exit 9")), prepend=os.pathsep)
    with gpu_use_logged(0.01):
        pass
    assert len(caplog.messages) == 1
    assert "nvidia-smi says nothing" in caplog.messages[0]
