"""Compares trained priors on held-out poses: `python evaluate.py --checkpoint A.ckpt B.ckpt --data poses/ --output results/`."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see train.py

import torch
from rich.console import Console
from rich.table import Table

from body.figures import draw_bars, draw_histograms, draw_poses
from configs.base import UserError
from configs.cli import run
from configs.writing import write_json
from datamodules.base import DataConfig, PoseDataModule, load_poses
from priors.base import Prior
from priors.checkpoint import load_prior, read_checkpoint
from priors.comparison import auroc, precision_recall
from priors.joint_flow import JointFlow
from priors.scores import energies_of, evaluate

log = logging.getLogger("evaluate")

_MAX_SAMPLES = 10_000
_NUM_DRAWN = 12


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Evaluates, and returns what it wrote to `metrics.json`: the scores of each checkpoint by its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", nargs="+", required=True)
    parser.add_argument("--data", help="a file, folder or glob of poses; without it, the test split of the first checkpoint's own data")
    parser.add_argument("--output", type=Path, required=True, help="a folder for metrics.json and the plots")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    priors = {path: load_prior(path, options.device) for path in options.checkpoint}
    poses = _held_out(options.checkpoint, options.data).to(options.device)
    metrics = {path: _score(prior, poses) for path, prior in priors.items()}
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "metrics.json", metrics)
    _plot(priors, poses, options.output)
    _print_table(metrics)
    if len({tuple(m["joints"]) for m in metrics.values()}) > 1:
        log.warning("the checkpoints score different joints: their likelihoods cannot be compared")
    return metrics


def _held_out(checkpoints: Sequence[str], data: str | None) -> torch.Tensor:
    """(N, 55, 3): the poses of `data`, or the test split that the first checkpoint's configuration describes."""
    contents = [read_checkpoint(path)["prior"] for path in checkpoints]
    experiment = contents[0]["experiment"]
    trained_on = DataConfig.model_validate(experiment["data"])
    if data is not None:
        return torch.from_numpy(load_poses(data, trained_on)[:])
    module = PoseDataModule(trained_on, batch_size=1, seed=experiment["seed"])
    module.setup()
    strangers = [path for path, content in zip(checkpoints, contents, strict=True) if content["data_fingerprint"] != module.fingerprint]
    if strangers:
        raise UserError(f"{strangers[0]}: was trained on other data than the test split of {checkpoints[0]}: say which poses with --data")
    return torch.from_numpy(module.test_poses[:])


def _score(prior: Prior, poses: torch.Tensor) -> dict[str, Any]:
    num_samples = min(_MAX_SAMPLES, max(1000, len(poses)))
    samples = prior.sample(num_samples, torch.Generator(poses.device).manual_seed(0))
    precision, recall = precision_recall(prior.select(samples), prior.select(poses))
    return evaluate(prior, poses) | auroc(prior, poses) | {"precision": precision, "recall": recall}


def _print_table(metrics: dict[str, dict[str, Any]]) -> None:
    columns = [key for key, value in next(iter(metrics.values())).items() if key not in ("joints", "num_poses")]
    columns += [key for m in metrics.values() for key in m if key not in (*columns, "joints", "num_poses")]
    num_poses = next(iter(metrics.values()))["num_poses"]
    table = Table(title=f"{num_poses} poses; nats against normalised Haar measure over the joints scored")
    table.add_column("checkpoint")
    for column in ("joints", *dict.fromkeys(columns)):
        table.add_column(column, justify="right")
    for path, values in metrics.items():
        cells = [values.get(column) for column in dict.fromkeys(columns)]
        table.add_row(
            path, str(len(values["joints"])), *("-" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in cells)
        )
    console = Console()
    Console(width=max(console.width, 220) if not console.is_terminal else None).print(table)


def _plot(priors: dict[str, Prior], poses: torch.Tensor, output: Path) -> None:
    names = {path: f"{i}: {Path(path).parent.name}" for i, path in enumerate(priors)}
    energies = {names[path]: energies_of(prior, poses) for path, prior in priors.items()}
    draw_histograms(energies, "energy [nats]").savefig(output / "energies.png", dpi=120)
    for i, (path, prior) in enumerate(priors.items()):
        samples = prior.sample(_NUM_DRAWN, torch.Generator(poses.device).manual_seed(1))
        draw_poses(samples, part=prior.drawn_part).savefig(output / f"samples_{i}_{Path(path).parent.name}.png", dpi=120)
    draw_poses(poses[torch.linspace(0, len(poses) - 1, _NUM_DRAWN).long()]).savefig(output / "data.png", dpi=120)
    flows = {names[path]: prior for path, prior in priors.items() if isinstance(prior, JointFlow)}
    if flows and len({prior.joints for prior in flows.values()}) == 1:
        with torch.no_grad():
            bars = {name: -prior.joint_log_prob(poses).mean(0) for name, prior in flows.items()}
        draw_bars(bars, next(iter(flows.values())).joints, "NLL [nats]").savefig(output / "joint_nll.png", dpi=120)


if __name__ == "__main__":
    run(main)
