"""What a job is given, and how many processes it has: all that a configuration says of launching, without the library that launches."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

import pose_priors
from pose_priors.configs.base import Config, UserError

Launcher = Literal["slurm", "local"]
LAUNCHERS = get_args(Launcher)


# the folder on `sys.path` in which this very package is found, in a checkout or installed
IMPORT_ROOT = Path(pose_priors.__file__).resolve().parents[pose_priors.__file__.endswith("__init__.py")]


class SlurmConfig(Config):
    """What each job gets. `--launcher local` takes from it what one machine can give: CPUs, GPUs, time, sizes and logs."""

    partition: str | None = None
    """Null for the cluster's default."""
    time_min: int = Field(240, ge=1)
    """Minutes until a job is stopped and started again from where it was, at most `max_timeouts` times."""
    max_timeouts: int = Field(10, ge=0)
    """How often a job may run out of time. Being preempted does not count."""
    mem_gb: float | None = Field(None, gt=0)
    """Memory of a node; null for the cluster's default."""
    cpus_per_task: int = Field(4, ge=1)
    """CPUs, and so threads, of each process."""
    gpus_per_node: int = Field(0, ge=0)
    group_size: int = Field(8, ge=1)
    """Sequences that one task of the array refines, one after the other."""
    array_parallelism: int = Field(16, ge=1)
    """How many tasks of an array may run at once."""
    log_dir: str = "logs"
    """Each launch gets a folder in it. It has to be on a disk that all nodes see."""
    setup: list[str] = Field(default_factory=list)
    """Lines of bash before Python starts, which its programs inherit: `module load cuda/11.8`, `export TORCH_HOME=/scratch/torch`, ..."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Passed on to sbatch: `account: my_lab`, `qos: long`, `constraint: a100`, ..."""


def environment_of_others() -> dict[str, str]:
    """The environment of this process as programs of others expect it: in a job, without the path on which the project is found, whose
    modules could stand before theirs."""
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != str(IMPORT_ROOT)]
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return others | ({"PYTHONPATH": os.pathsep.join(path)} if path else {})


def new_run(name: str) -> str:
    """A name that no other launch has: of its folder of logs, and of the run in its checkpoints."""
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def layout(trainer: Mapping[str, Any], config: SlurmConfig) -> tuple[int, int]:
    """How many nodes, and tasks on each, make the processes that Lightning's Trainer expects with these options.

    Raises:
        UserError: if that cannot be told, or the job asks for fewer GPUs than the Trainer uses.
    """
    nodes, devices, accelerator = trainer.get("num_nodes", 1), trainer.get("devices", "auto"), trainer.get("accelerator", "auto")
    if devices in ("auto", -1, "-1"):
        devices = config.gpus_per_node if accelerator != "cpu" else 1
        tasks = max(devices, 1)
    elif isinstance(devices, list):
        tasks = len(devices)
    elif str(devices).isdigit() and int(devices) > 0:
        tasks = int(devices)
    else:
        raise UserError(f"trainer.devices={devices}: expected a number, a list of numbers or auto, to know how many processes a node has")
    if type(nodes) is not int or nodes < 1:
        raise UserError(f"trainer.num_nodes={nodes}: expected a whole number above 0")
    if accelerator in ("gpu", "cuda") and config.gpus_per_node < tasks:
        raise UserError(
            f"trainer.accelerator={accelerator} with {tasks} devices, but slurm.gpus_per_node={config.gpus_per_node}; set it to {tasks}"
        )
    return nodes, tasks
