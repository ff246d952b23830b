"""Whether priors are finite on rotations of any length: `python -m benchmarks.any_rotation --checkpoints CKPT [CKPT ...]`.

Rotations turn by nothing, by 1e-40 to 1e30 rad and by whole and half turns, mixed within a pose. Energies, log-densities and their
gradients are taken in each precision: of the poses (float32, float16, bfloat16), of prior and poses (float64), and of networks alone
(autocast). Printed is how many are NaN or infinite. Nothing is written; the exit code is 1 if any is.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.body.motion_state import NUM_JOINTS as NUM_MOVING
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.priors import MotionCVAE, MotionFlow, Prior, load_prior
from pose_priors.priors.base import DensityPrior

PRECISIONS = ("float32", "float64", "float16", "bfloat16", "autocast-bfloat16", "autocast-float16")
"""In which energies are taken."""
_EXPONENTS = (-40, -30, -20, -8, -4, -2, 0, 1, 3, 5, 7, 8, 10, 12, 15, 16, 19, 20, 25, 30)
_HALF_TURNS = (1, 2, 3, 10, 1000, 10**6)
_BATCH = 64  # poses, or windows of motions: densities of many more take gigabytes
_FRAMES = 8  # more than windows of motion priors have


def hostile_rotations(*shape: int, generator: torch.Generator) -> Tensor:
    """Rotation vectors (*shape, 3) about random axes, float64, by up to 1e30 rad."""
    powers = 10.0 ** torch.tensor(_EXPONENTS, dtype=torch.float64)
    turns = math.pi * torch.tensor(_HALF_TURNS, dtype=torch.float64)
    lengths = torch.cat([powers, turns, torch.zeros(1, dtype=torch.float64)])
    drawn = torch.randint(len(lengths), shape, generator=generator)
    share = torch.rand(shape, generator=generator, dtype=torch.float64)
    angle = lengths[drawn] * torch.where(drawn < len(powers), share, 1.0)  # turns stay whole or half
    axis = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    return angle.unsqueeze(-1) * torch.nn.functional.normalize(axis, dim=-1)


def count_not_finite(prior: Prior | MotionCVAE | MotionFlow, precision: str, num_rotations: int, seed: int = 0) -> tuple[int, int, int]:
    """How many rotations were scored, at least as many as asked for, and how many poses or windows had values, and gradients, that are not
    finite."""
    generator = torch.Generator().manual_seed(seed)
    moving = not isinstance(prior, Prior)
    shape = (_FRAMES, NUM_MOVING) if moving else (NUM_JOINTS,)
    scored = prior.num_joints if isinstance(prior, Prior) else math.prod(shape)
    if precision == "float64":
        prior = copy.deepcopy(prior).double()
    dtype = torch.float32 if precision.startswith("autocast-") else getattr(torch, precision)
    num_rows = -(-num_rotations // scored)
    bad_values = bad_gradients = 0
    for first in range(0, num_rows, _BATCH):
        pose = hostile_rotations(min(_BATCH, num_rows - first), *shape, generator=generator)
        longest = torch.finfo(dtype).max / 2
        pose = pose.where(pose.abs().amax(-1, keepdim=True) < longest, 1.0).to(dtype).requires_grad_()
        for function in _functions(prior):
            with nullcontext() if not precision.startswith("autocast-") else torch.autocast("cpu", getattr(torch, precision[9:])):
                values = function(pose)
            (gradient,) = torch.autograd.grad(values.sum(), pose)
            bad_values += int((~values.detach().isfinite()).sum())
            bad_gradients += int((~gradient.isfinite()).flatten(1).any(1).sum())
    return num_rows * scored, bad_values, bad_gradients


def _functions(prior: Prior | MotionCVAE | MotionFlow) -> Iterator[Callable[[Tensor], Tensor]]:
    """What is scored of poses (N, 55, 3), or of the poses of windows (N, T, 22, 3)."""
    if isinstance(prior, Prior):
        yield prior.energy
        if isinstance(prior, DensityPrior) and not prior.energy_is_nll:
            yield prior.log_prob
        return

    def of_windows(pose: Tensor) -> Tensor:
        rest = rest_joints()[:NUM_MOVING].to(pose)
        pelvis = torch.linspace(0, 0.3, pose.shape[1]).to(pose)[:, None] * rest.new_tensor([1.0, 0.0, 0.0]) + rest.new_tensor([0, 0, 0.9])
        contacts = torch.zeros(*pose.shape[:2], len(CONTACT_JOINTS), dtype=torch.bool)
        return prior.energy(MotionWindows(pose, pelvis.expand(len(pose), -1, -1), (rest - rest[:1]).expand(len(pose), -1, -1), contacts))

    yield of_windows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", nargs="+", required=True, help="trained priors, of poses or of motions")
    parser.add_argument("--rotations", type=at_least(1), default=1_000_000, help="for each prior and precision")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--threads", type=at_least(1), default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    table = Table("prior", "precision", "rotations", "values not finite", "gradients not finite", "CPU seconds")
    total = 0
    for path in options.checkpoints:
        prior = load_prior(path)
        if not isinstance(prior, Prior | MotionCVAE | MotionFlow):
            raise UserError(f"{path}: a {type(prior).__name__}, which scores neither poses nor windows of motions")
        for precision in options.precisions:
            began = time.process_time()
            rotations, *bad = count_not_finite(prior, precision, options.rotations)
            total += sum(bad)
            table.add_row(path, precision, f"{rotations:,}", *(f"{number:,}" for number in bad), f"{time.process_time() - began:.0f}")
    Console(width=160).print(table)
    if total:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
