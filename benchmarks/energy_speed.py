"""What the energy of poses and its gradient cost: `OMP_NUM_THREADS=1 python -m benchmarks.energy_speed --output DIR`.

Of each kind of prior by its defaults, untrained, over 19 joints (the hand VAE over 30): the processor's time, and how much of it is
arithmetic that the model asks for. Matrix products are counted by torch's profiler; the rest is activations, splines, and memory that is
moved. Processor time, because a machine that has other work too makes all others wait.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from pose_priors.benchmarks.reporting import report
from pose_priors.benchmarks.training_speed import KINDS
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.exchange import check_writable
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.priors.base import Prior

Row = dict[str, Any]

_PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"})
_DATA = 2048
"""Built-in poses that a prior takes its statistics from."""


def energy_rows(num_poses: int, repeats: int) -> list[Row]:
    """A row a kind: `milliseconds` of one core, `gflop` of matrix products and `products`, their share of the time."""
    data = synthetic_poses(max(_DATA, num_poses), seed=0)
    rows = []
    for name, (config, joints) in KINDS.items():
        prior = config.build(joints)
        prior.fit_statistics(data)
        rows.append(
            {"kind": name, "poses": num_poses, **_measured(descent_of(prior.eval().requires_grad_(False), data[:num_poses]), repeats)}
        )
    return rows


def descent_of(prior: Prior, poses: Tensor) -> Callable[[], Tensor]:
    """What an optimiser asks for at every step: energies of poses (N, 55, 3), for their gradient."""

    def gradient() -> Tensor:
        pose = poses.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(prior.energy(pose).sum(), pose)
        return slope

    return gradient


def _measured(call: Callable[[], object], repeats: int) -> Row:
    for _ in range(3):
        call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiled:
        call()
    events = profiled.key_averages()
    spent = sum(event.self_cpu_time_total for event in events)
    multiplying = sum(event.self_cpu_time_total for event in events if event.key in _PRODUCTS)
    return {
        "milliseconds": 1000 * statistics.median(seconds),
        "gflop": sum(event.flops for event in events if event.key in _PRODUCTS) / 1e9,
        "products": multiplying / spent,
    }


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    lines = ["| | poses | ms of processor time | GFLOP of matrix products | their share of the time |", "|---|---|---|---|---|"]
    for row in rows:
        numbers = f"{row['milliseconds']:.0f} | {row['gflop']:.1f} | {row['products']:.0%}"
        lines.append(f"| {row['kind']} | {row['poses']} | {numbers} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measures, prints and writes the table; returns its rows."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a folder for energy_speed.md and energy_speed.json")
    parser.add_argument("--poses", type=at_least(1), default=300, help="at once")
    parser.add_argument("--repeats", type=at_least(1), default=15, help="calls to time, after three to warm up")
    options = parser.parse_args(arguments)
    check_writable(options.output)
    rows = energy_rows(options.poses, options.repeats)
    report(options.output, "energy_speed", table(rows), rows)
    return rows


if __name__ == "__main__":
    run(main)
