"""How fast each prior trains on a device: `python -m benchmarks.speed --device cuda --output DIR`.

Whole training steps on batches that lie on the device: loss, gradient, clipping, AdamW, averaging. Poses a second are medians over steps;
the share of the time in which the device computes comes from torch's profiler; the number of times a step that the processor waits for the
device, from torch's debug mode for synchronisation.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from pose_priors.benchmarks.reporting import report
from pose_priors.configs.base import UserError
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.priors.base import PriorConfigBase, TrainablePrior
from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.hand_vae import HandVAEConfig
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.training.estimate import stepping
from pose_priors.priors.training.precision import matmul_precision

Row = dict[str, Any]

BATCHES = (512, 8192)
BODY = [joint for joint in range(1, 22) if joint not in (10, 11)]
"""The 19 joints of SMPL-X's body that poses without toes have, the root left out."""
_HANDS = [*range(25, 55)]
KINDS: dict[str, tuple[PriorConfigBase, list[int]]] = {
    "gaussian": (GaussianConfig(kind="gaussian"), BODY),
    "joint flow": (JointFlowConfig(kind="joint_flow"), BODY),
    "global flow": (GlobalFlowConfig(kind="global_flow"), BODY),
    "flow matching": (FlowMatchingConfig(kind="flow_matching"), BODY),
    "hand VAE": (HandVAEConfig(kind="hand_vae"), _HANDS),
}
"""Kinds of priors by their defaults, and the joints that each is measured with."""
_DECAY = 0.999


def measure_training(device: str, output: Path, repeats: int) -> list[Row]:
    """Measures on `cpu` or `cuda`, prints and writes `training_speed.md` and `training_speed.json` into a folder; returns the rows.

    Raises:
        UserError: if torch sees no GPU.
    """
    on_gpu = device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise UserError("--device cuda: this torch sees no GPU; give --device cpu, or install the CUDA build")
    with matmul_precision("auto", on_gpu):
        rows = training_rows(synthetic_poses(4096, seed=0), torch.device(device), repeats, BATCHES)
    table = training_table(rows, torch.cuda.get_device_name() if on_gpu else f"a CPU, {torch.get_num_threads()} thread(s)")
    report(output, "training_speed", table, rows)
    return rows


def training_rows(poses: Tensor, device: torch.device, repeats: int, batches: Sequence[int]) -> list[Row]:
    """A row a kind of prior and size of batch: poses a second, and on a GPU its use and the waits a step.

    Args:
        poses: (N, 55, 3) canonical rotation vectors.
        device: where to train.
        repeats: steps to time, after three to warm up.
        batches: numbers of poses.
    """
    rows = []
    for name, (config, joints) in KINDS.items():
        for size in batches:
            prior = config.build(joints)
            prior.fit_statistics(poses)
            batch = poses.repeat(-(-size // len(poses)), 1, 1)[:size].to(device)
            rows.append({"kind": name, "batch": size, **_measured(step_of(prior.to(device).train(), batch), size, device, repeats)})
    return rows


def step_of(prior: TrainablePrior, batch: Tensor) -> Callable[[], None]:
    """A whole training step, as `PriorModule` and its averaging take it."""
    parameters = [parameter for parameter in prior.parameters() if parameter.requires_grad]
    averages = [parameter.detach().clone() for parameter in parameters]
    learn = stepping(prior, rate=1e-4)

    def step() -> None:
        learn(batch)
        torch._foreach_lerp_(averages, [parameter.detach() for parameter in parameters], 1 - _DECAY)

    return step


def _measured(step: Callable[[], None], size: int, device: torch.device, repeats: int) -> Row:
    on_gpu = device.type == "cuda"

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize(device)

    for _ in range(3):
        step()
    wait()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        wait()
        seconds.append(time.perf_counter() - start)
    row: Row = {"poses_per_second": size / statistics.median(seconds), "milliseconds": 1000 * statistics.median(seconds)}
    return row | ({"busy": _busy(step, repeats), "waits_per_step": _waits(step, repeats)} if on_gpu else {})


def _busy(step: Callable[[], None], repeats: int) -> float:
    """The share of the time in which kernels run, in [0, 1], without waiting between the steps."""
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    torch.cuda.synchronize()
    elapsed = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(repeats):
            step()
        torch.cuda.synchronize()
    # on one stream kernels follow each other
    kernels: float = sum(event.device_time_total for event in profiler.events() or [] if event.device_type == DeviceType.CUDA)
    return min(1.0, 1e-6 * kernels / elapsed)


def _waits(step: Callable[[], None], repeats: int) -> float:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(repeats):
                step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught) / repeats


def training_table(rows: Sequence[Row], device: str) -> str:
    """The rows in Markdown."""
    heads = ("prior", "batch", "poses a second", "ms a step", "device busy", "waits a step")
    lines = [f"training on {device}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        use = f"{100 * row['busy']:.0f} % | {row['waits_per_step']:.1f}" if "busy" in row else "- | -"
        lines.append(f"| {row['kind']} | {row['batch']} | {row['poses_per_second']:,.0f} | {row['milliseconds']:.1f} | {use} |")
    return "\n".join(lines) + "\n"
