"""How fast things are against the usual way of doing them, as ratios within one run: `python -m benchmarks.speed --output DIR`.

Every pair is timed in turns, a call of each after the other, and medians are compared, on `--threads` threads; results of the two are first
checked to be the same. Ratios carry over to other machines, seconds do not. Writes `speed.md` and `speed.json`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pose_priors.benchmarks.full_body import full_body, joints_of
from pose_priors.benchmarks.joint_flow_loop import JointFlowLoop, training_step
from pose_priors.benchmarks.reporting import report
from pose_priors.benchmarks.training_speed import BODY, measure_training
from pose_priors.body.model import forward_kinematics
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.exchange import check_writable
from pose_priors.datamodules.loader import PoseLoader
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.joint_flow import JointFlow, JointFlowConfig
from pose_priors.priors.networks.compiled import compiled
from pose_priors.refinement.given.floor import with_floor
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem, with_frames, with_people
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import NoiseLevels, estimate_noise
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.variables import Variables

_STAGES = ("1_camera_estimation", "2_tracking", "3_pose_estimation")
_BATCH, _POSES, _BODIES = 512, 100_000, 300
Row = dict[str, Any]


def paired(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of a call of each, called in turns after one call to warm up."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for function, seconds in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            function()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def alone(function: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _joint_flow(poses: Tensor) -> JointFlow:
    """One over 19 joints that knows its data and has learnt nothing."""
    prior = JointFlowConfig(kind="joint_flow").build(BODY)
    prior.fit_statistics(poses)
    return prior


def joint_flow_rows(poses: Tensor, repeats: int, batches: Sequence[int] = (_BATCH, 16)) -> list[Row]:
    """Whole training steps of a joint flow over 19 joints against the loop, with dropout in both."""
    prior = _joint_flow(poses)
    loop = JointFlowLoop(prior)
    with torch.no_grad():
        torch.testing.assert_close(prior.eval().loss(poses)["loss"], loop.eval().loss(poses), atol=1e-4, rtol=1e-4)
    models = {prior.train(): lambda batch: prior.loss(batch)["loss"], loop.train(): loop.loss}
    optimizers = {model: torch.optim.AdamW(model.parameters()) for model in models}
    rows = []
    for size in batches:
        ours, theirs = (
            lambda model=model, loss=loss, batch=poses[:size]: training_step(model, lambda: loss(batch), optimizers[model])
            for model, loss in models.items()
        )
        rows.append(
            _row(f"joint flow, training step, {size} poses", "separate nflows flows in a loop over joints", *paired(ours, theirs, repeats))
        )
    return rows


def compiled_rows(poses: Tensor, repeats: int) -> list[Row]:
    """Training steps of a joint flow with compiled layers against steps without, after one of each has told the same loss."""
    prior = _joint_flow(poses)
    batch, optimizer = poses[:_BATCH], torch.optim.AdamW(prior.train().parameters())

    def loss_within(block: Callable[[], AbstractContextManager[None]]) -> Tensor:
        with block():
            return prior.loss(batch)["loss"]

    losses = []
    for block in (compiled, nullcontext):
        torch.manual_seed(0)
        losses.append(loss_within(block).detach())
    torch.testing.assert_close(*losses)
    ours, theirs = (partial(training_step, prior, partial(loss_within, block), optimizer) for block in (compiled, nullcontext))
    return [_row(f"joint flow, compiled, training step, {_BATCH} poses", "the same, not compiled", *paired(ours, theirs, repeats))]


class _Items(Dataset[dict[str, Tensor]]):
    """One pose at a time, as data sets of this field are usually written."""

    def __init__(self, poses: np.ndarray) -> None:
        self.poses = poses

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pose": torch.tensor(self.poses[index], dtype=torch.float32)}


def loader_rows(poses: Tensor, repeats: int) -> list[Row]:
    """An epoch of the index loader against torch's, shuffled, without workers."""
    poses = poses[:, 1:22].contiguous()
    ours = PoseLoader(poses.numpy(), _BATCH, shuffle=True, seed=0)
    others = {
        "DataLoader over a TensorDataset": DataLoader(TensorDataset(poses), _BATCH, shuffle=True),
        "DataLoader over a per-item Dataset": DataLoader(_Items(poses.numpy()), _BATCH, shuffle=True),
    }
    rows = []
    for name, loader in others.items():
        both = paired(lambda: sum(len(b) for b in ours), partial(_count, loader), repeats)
        rows.append(_row(f"an epoch of {len(poses)} poses from the index loader", name, *both))
    return rows


def _count(loader: DataLoader[Any]) -> int:
    return sum(1 for _ in loader)


def kinematics_rows(repeats: int, num_bodies: int = _BODIES) -> list[Row]:
    """Joints of SMPL-X bodies, forward and backward, against smplx's own forward pass with its mesh."""
    model = full_body(num_bodies)
    generator = torch.Generator().manual_seed(0)
    pose = 0.3 * torch.randn(num_bodies, 55, 3, generator=generator)
    regressor, template = model.get_buffer("J_regressor"), model.get_buffer("v_template")
    rest = regressor @ template
    torch.testing.assert_close(forward_kinematics(pose, rest)[0], joints_of(model, pose), atol=2e-5, rtol=0)

    def ours() -> None:
        turned = pose.clone().requires_grad_()
        forward_kinematics(turned, rest)[0].square().sum().backward()

    def theirs() -> None:
        turned = pose.clone().requires_grad_()
        joints_of(model, turned).square().sum().backward()

    return [_row(f"kinematics of {num_bodies} bodies, forward and backward", "smplx's full forward pass", *paired(ours, theirs, repeats))]


def piece(problem: Problem, people: slice, frames: slice) -> Problem:
    """A problem of some of its people and frames only."""
    some = with_people(problem, problem.person_ids[people], lambda _, value: value[people])
    return with_frames(some, problem.frame_ids[frames], lambda _, value, dim: value[(slice(None),) * dim + (frames,)])


def objective_of(problem: Problem, noise: NoiseLevels) -> Objective:
    """The objective of the final sub-stage."""
    config = RefinementConfig()
    variables = Variables(problem, noise, config.alpha_change_threshold, problem.bodies.body_joints)
    return Objective(variables, make_stages(config, noise)[-1].terms, problem)


def _evaluate(objective: Objective) -> None:
    objective.forget()
    objective()


def _size(problem: Problem) -> tuple[int, int]:
    num_people, num_frames = problem.visible.shape
    return num_people, num_frames


def refinement_rows(problem: Problem, repeats: int) -> list[Row]:
    """An evaluation of the refinement's objective with its gradient against a loop over people and frames; and how it grows."""
    noise, size = estimate_noise(problem), _size(problem)
    whole = objective_of(problem, noise)
    seen = problem.visible.nonzero().tolist()
    parts = [objective_of(piece(problem, slice(p, p + 1), slice(t, t + 1)), noise) for p, t in seen]

    def evaluate_parts() -> None:
        for part in parts:
            _evaluate(part)

    ours, theirs = paired(partial(_evaluate, whole), evaluate_parts, repeats)
    rows = [_row(f"refinement, an evaluation, {size[0]} people x {size[1]} frames", "a loop over people and frames", ours, theirs)]
    half = objective_of(piece(problem, slice(None), slice(0, size[1] // 2)), noise)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeats):
        for changes, seconds in times.items():
            _evaluate(half if changes else whole)
            start = time.perf_counter()
            _evaluate(whole)
            seconds.append(time.perf_counter() - start)
    again, after = (statistics.median(seconds) for seconds in times.values())
    return [*rows, _row("refinement, an evaluation like the one before", "one after a change of shape: nothing is compiled", again, after)]


def growth_rows(problem: Problem, poses: Tensor, repeats: int) -> list[Row]:
    """Fitted exponents of the cost in frames, people and poses: 1 is linear, 0 is for nothing."""
    noise, size = estimate_noise(problem), _size(problem)
    long = _repeated(problem, people=1, frames=8)
    crowd = _repeated(problem, people=8, frames=1)
    prior = GlobalFlowConfig(kind="global_flow").build(range(1, 22))
    prior.fit_statistics(poses[:4096])
    prior.eval()
    costs: dict[str, dict[int, Callable[[], object]]] = {"frames": {}, "people": {}, "poses, energy of a global flow": {}}
    for factor in (1, 2, 4, 8):
        frames = objective_of(piece(long, slice(None), slice(0, factor * size[1])), noise)
        people = objective_of(piece(crowd, slice(0, factor * size[0]), slice(None)), noise)
        costs["frames"][factor] = partial(_evaluate, frames)
        costs["people"][factor] = partial(_evaluate, people)
        costs["poses, energy of a global flow"][factor] = partial(prior.energy, poses[: 512 * factor])
    rows = []
    for name, calls in costs.items():
        seconds = [alone(call, repeats) for call in calls.values()]
        exponent = float(np.polyfit(np.log(list(calls)), np.log(seconds), 1)[0])
        rows.append({"what": f"cost against {name}", "against": "1 to 8 times as many", "exponent": exponent, "seconds": seconds[-1]})
    return rows


def _repeated(problem: Problem, people: int, frames: int) -> Problem:
    """A problem of so many times the people and frames, the same ones again."""
    person_ids = tuple(range(1, people * len(problem.person_ids) + 1))
    crowd = with_people(problem, person_ids, lambda _, value: torch.cat([value] * people))
    return with_frames(crowd, tuple(range(frames * len(problem.frame_ids))), lambda _, value, dim: torch.cat([value] * frames, dim))


def _row(what: str, against: str, ours: float, theirs: float) -> Row:
    return {"what": what, "against": against, "ratio": theirs / ours, "seconds": ours, "their_seconds": theirs}


def _table(rows: Sequence[Row], threads: int) -> str:
    lines = [f"{threads} thread(s), medians; how many times as long the other takes", "", "| | against | ratio | ms |", "|---|---|---|---|"]
    for row in rows:
        value = f"x {row['ratio']:.1f}" if "ratio" in row else f"exponent {row['exponent']:.2f}"
        lines.append(f"| {row['what']} | {row['against']} | {value} | {1000 * row['seconds']:.1f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measures, prints and writes the table; returns its rows."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a folder for speed.md and speed.json")
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--repeats", type=at_least(1), default=7, help="calls of each of a pair")
    parser.add_argument("--poses", type=at_least(1), default=_POSES, help="rows that the loaders draw from")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="instead: how fast each prior trains there, on one device")
    parser.add_argument("--compiled", action="store_true", help="instead: what compiled layers gain in training, after a minute")
    options = parser.parse_args(arguments)
    check_writable(options.output)
    torch.set_num_threads(options.threads)
    if options.device is not None:
        return measure_training(options.device, options.output, options.repeats)
    poses, repeats = synthetic_poses(max(4096, min(options.poses, 8192)), seed=0), options.repeats
    if options.compiled:
        rows = compiled_rows(poses, repeats)
        report(options.output, "compiled_speed", _table(rows, options.threads), rows)
        return rows
    with tempfile.TemporaryDirectory() as folder:
        root, _ = write_builtin_scene(Path(folder) / "scene", 0)
        cameras, tracks, bodies = (root / stage for stage in _STAGES)
        problem = with_floor(load_problem(cameras, tracks, bodies, None).to(torch.float32))
    many = poses.repeat(-(-options.poses // len(poses)), 1, 1)[: options.poses]
    rows = joint_flow_rows(poses, repeats) + loader_rows(many, repeats) + kinematics_rows(min(repeats, 5))
    rows += refinement_rows(problem, min(repeats, 5)) + growth_rows(problem, poses, repeats)
    report(options.output, "speed", _table(rows, options.threads), rows)
    return rows


if __name__ == "__main__":
    run(main)
