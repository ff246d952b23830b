"""The package as users get it: a wheel in a folder of its own, beside projects that have rooms of the same names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

from pose_priors.configs.cli import EXTRAS
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.weights.folder import CARD, CONFIG, WEIGHTS
from pose_priors.priors.weights.published import PUBLISHED

ROOT = Path(__file__).parents[1]
HEAVY = ("pytorch_lightning", "matplotlib", "smplx", "wandb", "viser", "rerun", "submitit", "sklearn", "yaml", "rich", "tensorboard")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the wheel's content."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project, whose rooms have the names of ours."""
    for room in ("configs", "priors", "body"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("MINE = True\n")
    return tmp_path


def test_an_editable_install_finds_the_checkout(tmp_path: Path) -> None:
    """It copies `pose_priors.py` to where packages are, which come before the checkout on the path."""
    (tmp_path / "site" / "pose_priors").mkdir(parents=True)
    shutil.copy(ROOT / "pose_priors.py", tmp_path / "site" / "pose_priors" / "__init__.py")
    path = [str(tmp_path / "site"), str(ROOT)]
    code = f"import sys; sys.path[:1] = {path!r}\nfrom pose_priors.configs import command\nprint(command.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(ROOT / "configs" / "command.py"), done.stderr


def run(code: str, installed: Path, folder: Path) -> str:
    """What a program prints that has only the wheel, not the checkout."""
    environment = {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HOME": str(folder)}
    # -S: no .pth, by which an editable checkout would be found
    packages = [path for path in sys.path if path.endswith("site-packages")]
    code = f"import sys; sys.path += {packages!r}\n{code}"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def checkpoint(folder: Path) -> Path:
    """A Gaussian prior's."""
    prior = GaussianConfig(kind="gaussian").build(tuple(range(1, 22)))
    experiment = {"model": {"kind": "gaussian"}}
    content = {
        "prior": describe(prior, experiment, ""),
        "state_dict": {f"prior.{name}": value for name, value in prior.state_dict().items()},
    }
    torch.save(content, folder / "gaussian.ckpt")
    return folder / "gaussian.ckpt"


def test_the_wheel_holds_what_a_user_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("pose_priors-")}
    rooms = ("benchmarks", "body", "configs", "datamodules", "figures", "priors", "refinement")
    here = {
        f"pose_priors/{path.relative_to(ROOT)}" for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".yaml")
    }
    scripts = {f"pose_priors/{path.name}" for path in ROOT.glob("*.py")} - {"pose_priors/pose_priors.py"}
    weights = {f"pose_priors/checkpoints/{name}/{file}" for name in PUBLISHED for file in (CONFIG, WEIGHTS, CARD)}
    assert names == here | scripts | weights | {"pose_priors/__init__.py", "pose_priors/py.typed"}


def test_the_package_runs_as_a_program(installed: Path, project: Path) -> None:
    code = "import runpy; sys.argv = ['pose_priors', '--version']; runpy.run_module('pose_priors', run_name='__main__', alter_sys=True)"
    assert run(code, installed, project).startswith("pose-priors ")


def test_the_package_is_light_until_something_is_asked_for(installed: Path, project: Path) -> None:
    code = f"import pose_priors; print(pose_priors.__file__); print([m for m in ('torch', *{HEAVY}) if m in sys.modules])"
    where, heavy = run(code, installed, project).splitlines()
    assert where == str(installed / "pose_priors" / "__init__.py")
    assert heavy == "[]"


def test_a_prior_is_used_in_a_project_with_rooms_of_the_same_names(installed: Path, project: Path) -> None:
    path = checkpoint(project)
    code = f"""
from pose_priors import load_prior
import configs, priors, torch
prior = load_prior({str(path)!r})
pose = torch.zeros(2, 55, 3, requires_grad=True)
prior.energy(pose).sum().backward()
print(configs.MINE, priors.MINE, bool(pose.grad.isfinite().all()), [m for m in {HEAVY} if m in sys.modules])
"""
    assert run(code, installed, project) == "True True True []\n"


def test_published_weights_travel_with_it(installed: Path, project: Path) -> None:
    code = f"""
from pose_priors import load_prior
for name in {PUBLISHED}:
    print(type(load_prior(name)).__name__, [m for m in {HEAVY} if m in sys.modules])
"""
    assert run(code, installed, project) == "MotionFlow []\n"


def test_configs_travel_with_it(installed: Path, project: Path) -> None:
    code = "from pose_priors.configs.load import available_configs; print(*available_configs())"
    assert set(run(code, installed, project).split()) == {path.stem for path in (ROOT / "configs").glob("*.yaml")}


@pytest.mark.parametrize("name", ["load_prior", "UserError"])
def test_names_of_the_package(name: str) -> None:
    import pose_priors

    assert getattr(pose_priors, name).__name__ == name
    with pytest.raises(AttributeError, match="load_prior"):
        _ = pose_priors.no_such_name


def test_a_checkout_s_modules_are_the_same_with_and_without_the_prefix(tmp_path: Path) -> None:
    code = """
from priors import load_prior
from configs.base import UserError
import priors.joint_flow, pose_priors.priors.joint_flow
import pose_priors.configs.base
assert priors.joint_flow is pose_priors.priors.joint_flow
assert UserError is pose_priors.configs.base.UserError
assert load_prior is pose_priors.load_prior
assert pose_priors.priors.joint_flow.__spec__.name == "pose_priors.priors.joint_flow"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run([sys.executable, "-m", "refinement.export", "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


COMMANDS = {
    "train": ["train", "evaluate", "benchmark priors", "benchmark same_results"],
    "refine": [
        *("refine", "pipeline", "clean", "score", "export", "evaluate"),
        *("benchmark refinement_ablation", "benchmark many_sequences", "benchmark speed"),
    ],
    "view": ["record", "review", "instances"],
}


@pytest.mark.parametrize("extra", COMMANDS)
def test_an_extra_alone_brings_what_its_commands_import(extra: str, installed: Path, project: Path) -> None:
    hidden = [library for library, extras in EXTRAS.items() if extra not in extras]
    code = f"""
import builtins
whole = builtins.__import__
def ours(name, globals=None, *more):
    if name.split(".")[0] in {hidden} and (globals or {{}}).get("__name__", "").startswith("pose_priors"):
        raise ModuleNotFoundError(name)
    return whole(name, globals, *more)
builtins.__import__ = ours
from pose_priors.configs import command
for words in {COMMANDS[extra]}:
    try:
        command._dispatch([*words.split(), "--help"])
    except SystemExit as end:
        assert end.code == 0, words
"""
    shown = run(code, installed, project)
    for words in COMMANDS[extra]:
        assert f"usage: pose-priors {words} " in shown


def test_threads_may_import_at_once(installed: Path, project: Path) -> None:
    code = """
import importlib, threading
names = ["pose_priors.priors.checkpoint", "pose_priors.priors", "pose_priors.refinement.given.problem", "pose_priors.priors.registry"] * 2
barrier, failures = threading.Barrier(len(names)), []
def load(name):
    barrier.wait()
    try:
        getattr(importlib.import_module(name), "load_prior", None)
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=load, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(failures)
"""
    assert run(code, installed, project) == "[]\n"


def test_what_was_tested_lies_within_the_ranges() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    for text in (*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)):
        wanted = Requirement(text)
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, text


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("dev = [")]
    lines = [line for line in section.splitlines() if re.search(r'"[A-Za-z0-9_-]+>=', line)]
    assert len(lines) > 15
    assert [line for line in lines if "#" not in line] == []
