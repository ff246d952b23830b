"""What programs import from the room itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pose_priors import refinement
from pose_priors.refinement.refiner import Stage5Refiner
from pose_priors.refinement.solve.scene import Scene


@pytest.mark.parametrize("name", refinement.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(refinement, name).__doc__


def test_they_are_the_very_things_of_their_modules() -> None:
    assert refinement.Stage5Refiner is Stage5Refiner
    assert refinement.OptimizationState is Scene
    with pytest.raises(AttributeError, match=r"no attribute 'Stage6Refiner'; it has .*Stage5Refiner"):
        refinement.Stage6Refiner  # noqa: B018


def test_nothing_heavy_is_imported_before_a_name_is_asked_for() -> None:
    program = """
import sys
import pose_priors.refinement
assert not {"torch", "pytorch_lightning"} & set(sys.modules)
from pose_priors.refinement import LoadOptions, load_problem, load_priors
assert "pytorch_lightning" not in sys.modules
from pose_priors.refinement import run_refinement
assert "pytorch_lightning" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_do_not_wait_for_what_they_rarely_need() -> None:
    """Torch's compiler, Lightning and what it brings, RoMa, which brings the first: each takes as long as torch itself."""
    rare = (
        "torch._dynamo pytorch_lightning torchmetrics roma sympy matplotlib tensorboard rich scipy.signal scipy.interpolate scipy.optimize"
    )
    program = f"import sys, refine, clean, score; print(*(name for name in {rare.split()} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_steps_and_poses_do_not_wait_for_the_compiler_of_torch() -> None:
    program = """
import sys
import torch
from pose_priors.body.model import forward_kinematics
from pose_priors.refinement.solve.curvature.white import WhiteLBFGS
forward_kinematics(torch.zeros(2, 55, 3), torch.zeros(55, 3))
at = torch.ones(2, requires_grad=True)
solver = WhiteLBFGS([at], max_iter=1)
def closure():
    at.grad = None
    (loss := at.square().sum()).backward()
    return loss
solver.step(closure)
assert at.abs().max() < 1
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
