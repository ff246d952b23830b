"""Jobs: what is asked of a cluster, read from what a stand-in for sbatch was given, and real processes of this machine."""

from __future__ import annotations

import importlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import submitit

from pose_priors.configs.base import UserError
from pose_priors.configs.interruption import slurm_step
from pose_priors.configs.launch import launch, results_of
from pose_priors.configs.slurm import SlurmConfig, layout, new_run


def config(folder: Path, **options: Any) -> SlurmConfig:
    return SlurmConfig(log_dir=str(folder / "logs"), **{"cpus_per_task": 1, **options})


@pytest.mark.parametrize(
    ("trainer", "options", "expected"),
    [
        ({}, {}, (1, 1)),
        ({}, {"gpus_per_node": 4}, (1, 4)),
        ({"devices": "auto", "num_nodes": 2}, {"gpus_per_node": 4}, (2, 4)),
        ({"devices": -1, "accelerator": "cpu"}, {"gpus_per_node": 4}, (1, 1)),
        ({"devices": 2}, {}, (1, 2)),
        ({"devices": "3", "num_nodes": 2}, {}, (2, 3)),
        ({"devices": [0, 2]}, {"gpus_per_node": 3}, (1, 2)),
    ],
)
def test_the_processes_of_a_job_are_those_that_the_trainer_expects(
    trainer: dict[str, Any], options: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert layout(trainer, SlurmConfig(**options)) == expected


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"devices": "many"}, "trainer.devices=many"),
        ({"devices": 0}, "trainer.devices=0"),
        ({"num_nodes": 0}, "trainer.num_nodes=0"),
        ({"num_nodes": True}, "trainer.num_nodes=True"),
        ({"accelerator": "gpu", "devices": 2}, "slurm.gpus_per_node=0; set it to 2"),
        ({"accelerator": "gpu"}, "slurm.gpus_per_node=0; set it to 1"),
    ],
)
def test_processes_that_cannot_be_told_or_lack_their_gpus_are_refused(trainer: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        layout(trainer, SlurmConfig())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, None),  # the batch script itself
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "4294967290"}, None),  # an interactive shell
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_CLUSTER_NAME": "big"}, "big-7.0"),
    ],
)
def test_what_srun_starts_has_a_name(environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_CLUSTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert slurm_step() == expected


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands of a cluster, of which sbatch keeps what it was given, and refuses jobs of the partition `none`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    bodies = {
        "sbatch": f'grep -q partition=none "$1" && {{ echo "sbatch: error: invalid partition" >&2; exit 1; }}\n'
        f'n=$(ls {tmp_path}/*.sh 2>/dev/null | wc -l); cp "$1" {tmp_path}/$((n + 7)).sh; echo Submitted batch job $((n + 7))',
        "srun": "exit 1",
        "sinfo": "echo long; echo short; echo long",
    }
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tmp_path


def asked(script: Path) -> dict[str, str]:
    """The options in a job's script."""
    lines = [line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH --")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def test_a_cluster_is_asked_for_what_the_config_says(commands: Path, tmp_path: Path) -> None:
    settings = config(
        tmp_path, partition="long", time_min=90, mem_gb=12.5, cpus_per_task=6, gpus_per_node=2, array_parallelism=2, options={"qos": "low"}
    )
    calls = [(number,) for number in range(3)]
    jobs = launch("slurm", settings, new_run("roots"), math.sqrt, calls, num_nodes=3, tasks_per_node=2)
    assert [job.job_id for job in jobs] == ["7_0", "7_1", "7_2"]
    wanted = {
        "partition": "long",
        "time": "90",
        "mem": "12800MB",
        "cpus-per-task": "6",
        "gpus-per-node": "2",
        "array": "0-2%2",
        "qos": "low",
    }
    wanted |= {"nodes": "3", "ntasks-per-node": "2", "signal": "USR2@90", "requeue": "", "open-mode": "append"}
    found = asked(tmp_path / "7.sh")
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["job-name"].startswith("roots-")
    assert Path(found["output"]).parent == tmp_path / "logs" / found["job-name"]
    text = (tmp_path / "7.sh").read_text()
    for line in ("export OMP_NUM_THREADS=6", "export OMP_WAIT_POLICY=PASSIVE", "--cpus-per-task=6 bash -c"):
        assert line in text
    for job, (number,) in zip(jobs, calls, strict=True):
        assert job.submission().function.arguments == (number,)
    (after,) = launch("slurm", settings, new_run("roots"), math.sqrt, [(4,)], after=jobs)
    assert after.job_id == "8"
    assert asked(tmp_path / "8.sh")["dependency"] == "afterany:7"
    assert "dependency" not in found


def test_what_is_not_given_is_left_to_the_cluster(commands: Path, tmp_path: Path) -> None:
    launch("slurm", config(tmp_path, time_min=1), new_run("roots"), math.sqrt, [(1,)])
    found = asked(tmp_path / "7.sh")
    assert not {"partition", "mem", "gpus-per-node", "array"} & set(found)
    # a short job is not warned before it could start
    assert found["signal"] == "USR2@15"


def test_a_refusal_is_told_in_one_line_with_the_partitions_and_leaves_nothing(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"^--launcher slurm: invalid partition; .*\(partitions here: long, short\)$"):
        launch("slurm", config(tmp_path, partition="none"), new_run("roots"), math.sqrt, [(1,)])
    assert not list((tmp_path / "logs").iterdir())
    assert capsys.readouterr().err == ""


def test_without_sbatch_or_a_place_for_logs_nothing_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(UserError, match=r"slurm\.log_dir=.*cannot be written to"):
        launch("local", config(tmp_path), new_run("roots"), math.sqrt, [(1,)])
    with pytest.raises(UserError, match=r"num_nodes=2: this machine is one node"):
        launch("local", config(tmp_path), new_run("roots"), math.sqrt, [(1,)], num_nodes=2)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch on PATH"):
        launch("slurm", config(tmp_path), new_run("roots"), math.sqrt, [(1,)])


def locally(settings: SlurmConfig, function: Any, calls: Sequence[Sequence[Any]]) -> list[submitit.Job[Any]]:
    return launch("local", settings, new_run("test"), function, calls)


def test_processes_return_what_the_calls_do_with_the_threads_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    jobs = locally(config(tmp_path, cpus_per_task=3), os.getenv, [("OMP_NUM_THREADS",), ("OMP_WAIT_POLICY",)])
    assert results_of(jobs) == ["3", "PASSIVE"]
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_failures_are_named_with_their_reason_and_the_others_are_done(tmp_path: Path) -> None:
    jobs = locally(config(tmp_path), math.sqrt, [(4.0,), (-1.0,)])
    with pytest.raises(UserError, match=r"^1 of 2 jobs failed: job \d+: ValueError: math domain error; logs in ") as caught:
        results_of(jobs)
    assert "\n" not in str(caught.value)
    assert jobs[0].result() == 2.0


def test_no_more_processes_run_at_once_than_allowed(tmp_path: Path) -> None:
    now = "date +%s.%N"
    jobs = locally(config(tmp_path, array_parallelism=2), subprocess.getoutput, [(f"{now}; sleep 0.3; {now}",)] * 4)
    spans = [tuple(map(float, text.split())) for text in results_of(jobs)]
    for begin, _ in spans:
        assert sum(a <= begin < b for a, b in spans) <= 2


def test_a_call_that_is_interrupted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_once.py").write_text(
        "import os, time\n"
        "def call(path):\n"
        "    again = path.exists()\n"
        "    with path.open('a') as file:\n"
        "        file.write(f'{os.getpid()}\\n')\n"
        "    time.sleep(0 if again else 60)\n"
        "    return 'done'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    calls = tmp_path / "calls"
    (job,) = locally(config(tmp_path, time_min=30), importlib.import_module("slow_once").call, [(calls,)])
    until = time.monotonic() + 30
    while not (calls.exists() and calls.read_text().endswith("\n")):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(int(calls.read_text()), signal.SIGUSR2)  # as Slurm does before the time limit and before preempting
    assert results_of([job]) == ["done"]
    assert len(set(calls.read_text().split())) == 2


def test_a_process_that_is_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submitit.Job._results_timeout_s", 0)
    (job,) = locally(config(tmp_path), os.abort, [()])
    with pytest.raises(UserError, match=r"job \d+: it ended without a result; logs in"):
        results_of([job])
