"""`docs/extending.md`, to the letter: its listings are the package that is installed, its commands are run, its edits are made."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import evaluate
import train
from pose_priors import load_prior
from pose_priors.configs import command
from pose_priors.configs.base import UserError
from pose_priors.refinement.batch.experiment import PriorConfig, RefinementExperiment
from pose_priors.refinement.batch.many import SequenceRefiner
from pose_priors.refinement.formats import recognize

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_IGNORED = (".git", ".venv", "checkpoints", "results", "demo", "lightning_logs", "dist", "build", "__pycache__", ".*_cache")

LISTINGS = {
    text.partition("\n")[0].removeprefix("# "): text.partition("\n")[2]
    for language, text in _BLOCK.findall(PAGE)
    if language in ("python", "yaml", "toml")
}
"""The page's files by their paths, without the line that names them."""
EDITS = [text for language, text in _BLOCK.findall(PAGE) if language == "diff"]
COMMANDS = [line for language, text in _BLOCK.findall(PAGE) if language == "bash" for line in text.splitlines()]
FEW = [f"refinement.{stage}_iterations=2" for stage in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")]
SMALL = {
    "train": [
        "--override",
        "data.path=built_in",
        "data.num_poses=400",
        "training.max_epochs=1",
        "logging.logger=csv",
        "trainer.enable_progress_bar=false",
    ],
    "refine": ["--override", *FEW, "trainer.enable_progress_bar=false"],
    "evaluate": [],
}
# where each listing of the package goes inside the project
INSIDE = {
    "my_package/mean_pose.py": "priors/mean_pose.py",
    "mean_pose.yaml": "configs/mean_pose.yaml",
    "my_package/top_speed.py": "refinement/solve/terms/top_speed.py",
    "my_package/capture.py": "refinement/formats/tools/capture.py",
}


def write_capture(path: Path) -> Path:
    """Two people who walk past a camera at 2 m/s, as the page's tool would write them."""
    frames = np.arange(12)
    transl = np.zeros((2, 12, 3))
    transl[..., 0] = 2.0 * frames / 30 + np.array([[-0.8], [0.4]])
    camera = np.concatenate([np.diag([1.0, -1.0, -1.0]), [[0.0], [0.5], [4.0]]], 1)
    arrays = {
        "poses": np.zeros((2, 12, 24, 3)),
        "transl": transl,
        "world_to_camera": np.tile(camera, (12, 1, 1)),
        "intrinsics": np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]]),
        "fps": np.array(30.0),
    }
    np.savez(path, **arrays)
    return path


def commands(program: str) -> list[list[str]]:
    """The page's calls of one of the scripts, their arguments with those that keep them short."""
    words = [shlex.split(line, comments=True) for line in COMMANDS]
    return [[*call[2:], *SMALL[program]] for call in words if call[:2] == ["pose-priors", program]]


@pytest.fixture
def package(install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's package, installed, and the folder of somebody who uses it, in which the test runs."""
    project = tomllib.loads(LISTINGS["pyproject.toml"])["project"]
    files = {path: text for path, text in LISTINGS.items() if path.startswith("my_package/")}
    install(project["name"], files, project["entry-points"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    for path, text in LISTINGS.items():
        if path.endswith(".yaml"):
            (tmp_path / path).write_text(text)
    return tmp_path


def test_the_page_has_all_that_it_promises() -> None:
    assert set(LISTINGS) == {"pyproject.toml", "my_package/__init__.py", *INSIDE, "top_speed.yaml"}
    assert {edit.partition("\n")[0].removeprefix("--- ") for edit in EDITS} == {
        "priors/mean_pose.py",
        "priors/registry.py",
        "refinement/solve/terms/__init__.py",
        "refinement/formats/__init__.py",
    }
    assert sorted(line.split()[1] for line in COMMANDS) == ["evaluate", *["refine"] * 5, "train"]


def test_a_prior_of_another_package_is_trained_evaluated_and_used(package: Path) -> None:
    (arguments,) = commands("train")
    for kind in ("mean_pose", "my_package.mean_pose:MeanPoseConfig"):
        command._dispatch(["train", *arguments, f"model.kind={kind}"])
        path = package / "checkpoints" / "mean_pose" / "best.ckpt"
        assert torch.load(path, weights_only=True)["prior"]["experiment"]["model"] == {"kind": kind, "initial_scale": 0.5}
        prior = load_prior(path)
        assert type(prior).__module__ == "my_package.mean_pose"
        assert prior.config.kind == kind
        assert prior.energy(prior.sample(3)).shape == (3,)
    command._dispatch(["evaluate", *commands("evaluate")[0]])
    (scores,) = json.loads((package / "results" / "mean_pose" / "metrics.json").read_text()).values()
    assert scores["joints"] == list(prior.joints)
    assert scores["nll"] < 0  # a uniform distribution scores 0
    with pytest.raises(UserError, match=r"model\.inital_scale=1: unknown key; did you mean initial_scale\? allowed here: kind, initial"):
        command._dispatch(["train", *arguments, "model.inital_scale=1"])
    with_prior = next(call for call in commands("refine") if any("best.ckpt" in word for word in call))
    command._dispatch(["refine", *with_prior])
    results = json.loads((package / "results" / "built_in" / "5_refinement" / "refinement_results.json").read_text())
    assert results["status"] == "success"


def test_without_an_entry_point_whoever_uses_a_checkpoint_allows_the_package(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path: text for path, text in LISTINGS.items() if path.startswith("my_package/")}
    install("my-package", files)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mean_pose.yaml").write_text(LISTINGS["mean_pose.yaml"])
    (arguments,) = commands("train")
    path = train.main([*arguments, "model.kind=my_package.mean_pose:MeanPoseConfig"])
    monkeypatch.setattr(evaluate, "_evaluate_priors", lambda priors, *_: priors)
    config = RefinementExperiment(prior=PriorConfig(body=str(path)))
    allowed = RefinementExperiment(prior=PriorConfig(body=str(path), allow=["my_package"]))

    def in_a_new_process() -> None:
        for module in [module for module in sys.modules if module.startswith("my_package")]:
            monkeypatch.delitem(sys.modules, module)

    for refused in (lambda: evaluate.main(["--checkpoint", str(path), "--output", "x"]), lambda: SequenceRefiner(config)):
        in_a_new_process()
        with pytest.raises(UserError, match=r"evaluate\.py --allow my_package, refine\.py --override prior\.allow=\[my_package\]"):
            refused()
    (prior,) = evaluate.main(["--checkpoint", str(path), "--output", "x", "--allow", "my_package"]).values()
    assert type(prior).__name__ == "MeanPose"
    in_a_new_process()
    assert type(SequenceRefiner(allowed).refiner.priors.body).__name__ == "MeanPose"


def test_a_term_of_another_package_pulls(package: Path) -> None:
    arguments = next(arguments for arguments in commands("refine") if "top_speed.yaml" in arguments)
    command._dispatch(["refine", *arguments])
    metrics = json.loads((package / "results" / "built_in" / "5_refinement" / "optimization_metrics.json").read_text())
    losses = {stage: report["losses"] for stage, report in metrics["sub_stages"].items()}
    assert {stage for stage, values in losses.items() if "top_speed" in values} == {"root", "final"}
    assert losses["root"]["top_speed"][0] > 0


def test_a_format_of_another_package_is_read(package: Path) -> None:
    path = write_capture(package / "capture.npz")
    assert recognize(path) == recognize(package) == "Capture"
    calls = [arguments for arguments in commands("refine") if any("capture.npz" in word for word in arguments)]
    for arguments in calls:
        command._dispatch(["refine", *arguments])
    for output in ("capture/5_refinement", "results/named", "results/by_module"):
        results = json.loads((package / output / "refinement_results.json").read_text())
        assert (results["status"], results["num_people"], results["num_frames"]) == ("success", 2, 12)


def edited(root: Path, edit: str) -> None:
    """Makes one of the page's edits in a checkout; each of its parts has one place there."""
    name, _, text = edit.partition("\n")
    path = root / name.removeprefix("--- ")
    content = path.read_text()
    for part in text.split("@@\n"):
        lines = part.splitlines()
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", sign)) for sign in "-+")
        assert content.count(before) == 1, f"{name}: docs/extending.md changes what is not there: {before}"
        content = content.replace(before, after)
    path.write_text(content)


ADDED = """
import json
from pathlib import Path
from pose_priors import refine
from pose_priors.refinement.formats import recognize


def test_top_speed_and_capture(tmp_path: Path) -> None:
    assert recognize(Path("{capture}")) == "Capture"
    refine.main(["--config", "{config}", "--override", "input.path={capture}", f"output.path={{tmp_path}}", *{few}])
    metrics = json.loads((tmp_path / "optimization_metrics.json").read_text())
    assert metrics["sub_stages"]["root"]["losses"]["top_speed"][0] > 0
"""


def test_inside_the_project_the_same_files_and_a_few_lines_do(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*_IGNORED))
    for listing, path in INSIDE.items():
        (checkout / path).write_text(LISTINGS[listing])
    for edit in EDITS:
        edited(checkout, edit)
    (tmp_path / "top_speed.yaml").write_text(LISTINGS["top_speed.yaml"])
    few = [*FEW, "trainer.enable_progress_bar=false"]
    added = ADDED.format(capture=write_capture(tmp_path / "capture.npz"), config=tmp_path / "top_speed.yaml", few=few)
    (checkout / "tests" / "test_added.py").write_text(added)
    assert yaml.safe_load(LISTINGS["mean_pose.yaml"])["model"]["kind"] == "mean_pose"
    # the page's own calls, in one: what all priors and all terms promise, and what every module owes its reader
    named = re.findall(r"python -m pytest (\S+) -k (\w+)`", PAGE)
    assert [name for _, name in named] == ["mean_pose", "top_speed"]
    files = [*(file for file, _ in named), "tests/test_doors.py", "tests/test_added.py"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", "mean_pose or top_speed or capture"],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) >= 60
