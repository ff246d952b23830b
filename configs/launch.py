"""How the scripts hand their work to jobs, of a Slurm cluster or in processes of this machine; the one door to submitit."""

from __future__ import annotations

import importlib
import io
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError, environment_variables
from submitit.helpers import TorchDistributedEnvironment

from pose_priors.configs.base import UserError, counted
from pose_priors.configs.cli import set_up_console
from pose_priors.configs.slurm import IMPORT_ROOT, Launcher, SlurmConfig

log = logging.getLogger("launch")

Job = submitit.Job

_POLL_S = 0.5
# The warning before the time limit: so many seconds, and at most this share of the limit, so that a short job has time to work too.
_WARNING_S, _WARNING_SHARE = 90, 0.25
# A signal that comes while Python still loads the code must not end the job: what ends by itself in the time of grace is not queued again.
_PYTHON = shlex.join(["bash", "-c", 'trap "" TERM USR2; exec "$0" "$@"', sys.executable])


class Call(submitit.helpers.Checkpointable):
    """A call that a job makes. When the job is interrupted, it is queued again and makes the same call: the function finds what is done.

    Args:
        function: importable by the name of its module.
        arguments: of the call; they are pickled.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self.function, self.arguments = function, tuple(arguments)

    def __call__(self) -> Any:
        set_up_console()
        job = submitit.JobEnvironment()
        if job.cluster == "local" and job.num_tasks > 1:  # in Slurm, Lightning reads Slurm's own variables
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        return self.function(*self.arguments)


def launch(
    launcher: Launcher,
    config: SlurmConfig,
    run: str,
    function: Callable[..., Any],
    calls: Sequence[Sequence[Any]],
    *,
    num_nodes: int = 1,
    tasks_per_node: int = 1,
    after: Sequence[Job[Any]] = (),
) -> list[Job[Any]]:
    """One job for each call of a function; several are one array in Slurm.

    With `slurm`, returns as soon as they are queued; with `local`, when the last of them runs.

    Args:
        run: see `new_run`.
        function: of the script that is running, or of any module; it is called again after an interruption.
        calls: the arguments of each.
        num_nodes, tasks_per_node: the processes of each job; all of them make the call.
        after: jobs that have to end first, in whatever way: what they could not do, the new ones have to name.
    Raises:
        UserError: if this is no machine of a cluster, the cluster refuses the job, or the logs cannot be written.
    """
    if launcher == "local" and num_nodes > 1:
        raise UserError(f"--launcher local with trainer.num_nodes={num_nodes}: this machine is one node; use --launcher slurm")
    missing = [command for command in ("sbatch", "srun") if launcher == "slurm" and shutil.which(command) is None]
    if missing:
        raise UserError(f"--launcher slurm: no {missing[0]} on PATH; run this where jobs are submitted, or use --launcher local")
    environment = _environment(config)
    around = _after_setup(config.setup, environment) if launcher == "local" and config.setup else environment
    folder = Path(config.log_dir).absolute() / run
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"slurm.log_dir={config.log_dir}: cannot be written to ({error.strerror}); give another folder") from error
    executor = _executor(launcher, config, folder, run, num_nodes, tasks_per_node, environment, after)
    tasks = [Call(_importable(function), arguments) for arguments in calls]
    try:
        with environment_variables(**around):
            if launcher == "local":
                jobs = _start(executor, tasks, config.array_parallelism, after)
            else:
                with redirect_stderr(io.StringIO()):  # submitit prints what sbatch says before it raises it
                    jobs = executor.submit_array(tasks)
    except (FailedJobError, FailedSubmissionError) as error:
        shutil.rmtree(folder)
        raise UserError(f"--launcher slurm: {_refusal(error)}; see the section slurm of the config{_partitions()}") from error
    what = f"slurm job {jobs[0].job_id.split('_')[0]}" if launcher == "slurm" else "processes beside this one"
    log.info("%s, %s, logs in %s", what, counted(len(jobs), "task"), folder)
    return jobs


def results_of(jobs: Sequence[Job[Any]]) -> list[Any]:
    """What the calls returned, once all have ended; of a job of several processes, what its first returned.

    Raises:
        UserError: one line that names the jobs that failed, why, and their logs.
    """
    errors = {job.job_id: error for job in jobs if (error := job.exception()) is not None}
    if errors:
        reasons = "; ".join(f"job {number}: {_reason(error)}" for number, error in errors.items())
        raise UserError(f"{len(errors)} of {len(jobs)} jobs failed: {reasons}; logs in {jobs[0].paths.folder}")
    return [job.results()[0] for job in jobs]


def _executor(
    launcher: Launcher,
    config: SlurmConfig,
    folder: Path,
    run: str,
    num_nodes: int,
    tasks_per_node: int,
    environment: Mapping[str, str],
    after: Sequence[Job[Any]],
) -> submitit.AutoExecutor:
    executor = submitit.AutoExecutor(
        folder,
        cluster=launcher,
        slurm_python=_PYTHON,
        slurm_max_num_timeout=config.max_timeouts,
        local_max_num_timeout=config.max_timeouts,
    )
    options: dict[str, Any] = {"requeue": True, **config.options}
    if after:
        options["dependency"] = "afterany:" + ":".join(sorted({job.job_id.split("_")[0] for job in after}))
    executor.update_parameters(
        name=run,
        timeout_min=config.time_min,
        mem_gb=config.mem_gb,
        nodes=num_nodes,
        tasks_per_node=tasks_per_node,
        cpus_per_task=config.cpus_per_task,
        gpus_per_node=config.gpus_per_node or None,
        slurm_partition=config.partition,
        slurm_array_parallelism=config.array_parallelism,
        slurm_signal_delay_s=int(min(_WARNING_S, 60 * config.time_min * _WARNING_SHARE)),
        slurm_setup=[*(f"export {name}={shlex.quote(value)}" for name, value in environment.items()), *_complete(config.setup)],
        # since Slurm 22.05 a step does not inherit the CPUs of its job
        slurm_srun_args=[f"--cpus-per-task={config.cpus_per_task}"],
        slurm_additional_parameters=options,
    )
    return executor


def _environment(config: SlurmConfig) -> dict[str, str]:
    """What has to be known before a job's Python starts: where the project is, and how many threads there may be."""
    path = [str(IMPORT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(config.cpus_per_task), "OMP_WAIT_POLICY": "PASSIVE"}


def _complete(setup: Sequence[str]) -> list[str]:
    """Lines of a setup, after which the project is still found."""
    return [*setup, f'export PYTHONPATH={shlex.quote(str(IMPORT_ROOT))}"${{PYTHONPATH:+:$PYTHONPATH}}"'] if setup else []


def _after_setup(setup: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment of a job is after the lines of its setup. Raises `UserError` if one of them fails."""
    # what they print goes to standard error, so that the environment is alone on standard output
    script = "\n".join(["set -e", "{ :", *_complete(setup), "} >&2", "env -0"])
    done = subprocess.run(["bash", "-c", script], env=os.environ | environment, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"slurm.setup: ends with exit code {done.returncode}: {''.join(last) or 'without a word'}")
    entries = (entry.partition("=") for entry in os.fsdecode(done.stdout).split("\0"))
    return {name: value for name, found, value in entries if found}


def _importable(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the script that is running as others import it: by its name in the package, not as `__main__`."""
    if function.__module__ != "__main__":
        return function
    script = Path(str(sys.modules["__main__"].__file__)).stem
    found: Callable[..., Any] = getattr(importlib.import_module(f"pose_priors.{script}"), function.__name__)
    return found


def _start(executor: submitit.AutoExecutor, tasks: Sequence[Call], num_parallel: int, after: Sequence[Job[Any]]) -> list[Job[Any]]:
    """Starts processes, no more than so many at once."""
    jobs: list[Job[Any]] = []
    for task in tasks:
        while not all(job.done() for job in after) or sum(not job.done() for job in jobs) >= num_parallel:
            time.sleep(_POLL_S)
        jobs.append(executor.submit(task))
    return jobs


def _reason(error: UncompletedJobError) -> str:
    """The last line of the traceback that submitit passes on between two rules; a process that was killed leaves none."""
    parts = re.split(r"\n-{10,}\n", str(error))
    if not isinstance(error, FailedJobError) or len(parts) < 3:
        return "it ended without a result"
    return parts[1].strip().splitlines()[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")


def _refusal(error: Exception) -> str:
    """What sbatch said, in one line."""
    return " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines() if line.strip())


def _partitions() -> str:
    answer = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, check=False)
    names = sorted(set(answer.stdout.split()))
    return f" (partitions here: {', '.join(names)})" if names else ""
