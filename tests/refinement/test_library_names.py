"""What programs import from the room itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from problems import make_problem

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


def test_a_refinement_does_not_wait_for_the_compiler_of_torch(tmp_path: Path) -> None:
    """Nor for sympy; in a process of its own, as RoMa, which makes the problem, brings the compiler."""
    path = tmp_path / "problem.pickle"
    path.write_bytes(pickle.dumps(make_problem(frames=8)[0]))
    program = f"""
import pickle, sys
from pathlib import Path
from pose_priors.refinement.alone import run_alone
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
names = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
config = RefinementConfig(**{{name + "_iterations": 1 for name in names}})
module = RefinementModule(pickle.loads(Path({str(path)!r}).read_bytes()), config)
run_alone(module, None, shown=False)
assert len(module.reports) == len(names)
assert not {{"torch._dynamo", "sympy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
