"""Trained priors compared on held-out poses: their scores, the table that is printed, and plots."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pose_priors.figures.drawing import PAPER_DPI, draw_bars, draw_histograms, draw_poses
from pose_priors.figures.priors import draw_joint_diagram, draw_real_against_corrupted, draw_sample_grid
from pose_priors.priors.base import DensityPrior, Prior
from pose_priors.priors.evaluation.attribution import nll_per_joint
from pose_priors.priors.evaluation.comparison import auroc, corruptions, precision_recall
from pose_priors.priors.evaluation.scores import energies_of, evaluate
from pose_priors.priors.evaluation.subset import Poses
from pose_priors.priors.joint_flow import JointFlow
from pose_priors.priors.weights.source import name_of

_MAX_SAMPLES = 10_000
_NUM_DRAWN = 12
_NUM_IN_GRID = 8
_NUM_ATTRIBUTED, _NUM_DRAWS = 24, 16
# Characters of a line where no terminal says how many it has.
_WIDTH = 200


def score(prior: Prior, poses: Poses) -> dict[str, Any]:
    """All scores of one prior over held-out poses, see `evaluation.scores` and `evaluation.comparison`."""
    compared = poses.compared
    num_samples = min(_MAX_SAMPLES, max(1000, len(compared)))
    samples = prior.sample(num_samples, torch.Generator(compared.device).manual_seed(0))
    precision, recall = precision_recall(prior.select(samples), prior.select(compared))
    scores = evaluate(prior, poses.scored, poses.of_density(prior), compared)
    return scores | auroc(prior, compared) | {"precision": precision, "recall": recall, "num_poses_compared": len(compared)}


def print_table(metrics: dict[str, dict[str, Any]], title: str) -> None:
    """Prints {checkpoint: its scores}: a row for each score, so that narrow terminals hold it, a column for each checkpoint.

    Lists among the scores are shown by how many they hold, tables not at all.
    """
    keys = dict.fromkeys(key for values in metrics.values() for key, value in values.items() if not isinstance(value, dict))
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for path in metrics:
        table.add_column(path, justify="right", overflow="fold")
    for key in keys:
        table.add_row(key, *(_cell(values.get(key)) for values in metrics.values()))
    console = Console()
    Console(width=None if console.is_terminal else _WIDTH).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def as_drawn(poses: torch.Tensor, samples: Iterable[torch.Tensor]) -> torch.Tensor:
    """Poses (N, 55, 3) to be drawn beside samples (M, 55, 3) of some priors: with their roots upright where those of all samples are."""
    if any(drawn[:, 0].any() for drawn in samples):
        return poses
    poses = poses.clone()
    poses[:, 0] = 0
    return poses


def plot(priors: dict[str, Prior], poses: torch.Tensor, output: Path) -> None:
    """Writes histograms of energies, samples of each prior, some of the poses, and each joint's likelihood under the joint flows."""
    names = {path: f"{i}: {name_of(path)}" for i, path in enumerate(priors)}
    energies = {names[path]: energies_of(prior, poses) for path, prior in priors.items()}
    draw_histograms(energies, "energy [nats]").savefig(output / "energies.png", dpi=120)
    samples = {path: prior.sample(_NUM_DRAWN, torch.Generator(poses.device).manual_seed(1)) for path, prior in priors.items()}
    for i, (path, prior) in enumerate(priors.items()):
        draw_poses(samples[path], part=prior.drawn_part).savefig(output / f"samples_{i}_{name_of(path)}.png", dpi=120)
    parts = {prior.drawn_part for prior in priors.values()}
    part = parts.pop() if len(parts) == 1 else "body"
    some = poses[torch.linspace(0, len(poses) - 1, _NUM_DRAWN).long()]
    draw_poses(as_drawn(some, samples.values()), part=part).savefig(output / "data.png", dpi=120)
    flows = {names[path]: prior for path, prior in priors.items() if isinstance(prior, JointFlow)}
    if flows and len({prior.joints for prior in flows.values()}) == 1:
        with torch.no_grad():
            bars = {name: -prior.joint_log_prob(poses).mean(0) for name, prior in flows.items()}
        draw_bars(bars, next(iter(flows.values())).joints, "NLL [nats]").savefig(output / "joint_nll.png", dpi=120)


@torch.no_grad()
def plot_for_paper(priors: dict[str, Prior], poses: torch.Tensor, output: Path) -> None:
    """Writes `figure_samples.png`, `figure_joint_nll.png` and `figure_real_corrupted.png`, for print and readable without colour.

    The joints' numbers are the mean over some of the poses of `evaluation.attribution.nll_per_joint`.
    """
    names = {path: name_of(path) if len({name_of(p) for p in priors}) == len(priors) else path for path in priors}
    parts = {prior.drawn_part for prior in priors.values()}
    some = torch.linspace(0, len(poses) - 1, _NUM_IN_GRID).long()
    samples = {names[path]: prior.sample(_NUM_IN_GRID, torch.Generator(poses.device).manual_seed(1)) for path, prior in priors.items()}
    rows = {"data": as_drawn(poses[some], samples.values())} | samples
    draw_sample_grid(rows, parts.pop() if len(parts) == 1 else "body").savefig(output / "figure_samples.png", dpi=PAPER_DPI)
    spread = torch.linspace(0, len(poses) - 1, min(_NUM_ATTRIBUTED, len(poses))).long()
    means = {names[path]: (prior.joint_indices, nll_per_joint(prior, poses[spread], _NUM_DRAWS).mean(0)) for path, prior in priors.items()}
    draw_joint_diagram(means, "NLL of each joint given all others, mean over poses [nats]").savefig(
        output / "figure_joint_nll.png", dpi=PAPER_DPI
    )
    energies = {}
    for path, prior in priors.items():
        corrupted_by_kind = corruptions(poses.cpu(), prior.joint_indices)
        energies[names[path]] = (
            energies_of(prior, poses),
            {kind: energies_of(prior, corrupted.to(poses.device)) for kind, corrupted in corrupted_by_kind.items()},
        )
    are_nll = all(isinstance(prior, DensityPrior) and prior.energy_is_nll for prior in priors.values())
    figure = draw_real_against_corrupted(energies, "NLL [nats]" if are_nll else "energy [nats]")
    figure.savefig(output / "figure_real_corrupted.png", dpi=PAPER_DPI)
