"""Every command and program of every page. README is followed to the letter, scaled down; elsewhere each command is parsed by its own
parser, its YAML and overrides make the configuration that they would, and programs compile and import what there is."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_parsers import parser_of
from follow import PROGRAMS, blocks, follow

from pose_priors.body.pose_vectors import from_poses
from pose_priors.configs import command
from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.configs.schema import load_experiment
from pose_priors.datamodules.synthetic.motions import synthetic_motions
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.instances.trackers import TrackersConfig
from pose_priors.refinement.motions.config import MotionsConfig

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BY_ITSELF = "docs/extending.md"  # tests/test_extending.py does it to the letter
_VARIABLES = re.findall(r"`\$(\w+)`", (ROOT / "docs" / "reproduce.md").read_text())
SCHEMAS = {
    "refine": RefinementExperiment,
    "pipeline": PipelineConfig,
    "instances": TrackersConfig,
    "clean": MotionsConfig,
    "score": MotionsConfig,
}
# programs of others, and what of this project never ends or has been done by whoever runs this
ELSEWHERE = {
    "pip": "installs", "rerun": "a viewer", "srun": "a cluster", "hf": "a hub",
    "pre-commit": "needs git's hooks", "jupytext": "notebooks",
    "scripts/smplx_to_robot.py": "GMR", "data_utils/prep_amass_smplx_for_rt.py": "holosoma", "examples/robot_retarget.py": "holosoma",
}  # fmt: skip
SERVES = ("pose_priors.refinement.show.review",)  # until it is stopped: tests/refinement/show looks at it
# appended to what README says, by script
SCALED = {
    "train": ["data.path=built_in", "data.num_poses=400", "training.max_epochs=1", "training.batch_size=64", "logging.logger=csv",
              "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"],
    "refine": [f"refinement.{name}_iterations=1" for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale")],
}  # fmt: skip
NUM_COMMANDS, NUM_PROGRAMS = 95, 20  # at least


def module_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The module of this project that a command calls, and what it hands over; None where it is somebody else's."""
    if words[0] == "pose-priors":
        table = command._BENCHMARKS if words[1] == "benchmark" else command._COMMANDS
        rest = words[2:] if words[1] == "benchmark" else words[1:]
        return table[rest[0]], rest[1:]
    if words[1] == "-m":
        package = ROOT.joinpath(*words[2].split("."))
        return f"pose_priors.{words[2]}{'.__main__' if package.is_dir() else ''}", words[3:]
    if words[1].endswith(".py") and (ROOT / words[1]).is_file():
        return f"pose_priors.{words[1].removesuffix('.py')}", words[2:]
    return None


def parsed(module: str, words: list[str]) -> None:
    """Parses a command by the parser of its module, and loads the configuration that it asks for. Raises `UserError`."""
    options = parser_of(module).parse_args(words)
    config, override = getattr(options, "config", None), getattr(options, "override", None)
    script = module.removeprefix("pose_priors.").removeprefix("refinement.").removesuffix(".__main__")
    if script in SCHEMAS:
        load_config(SCHEMAS[script], config or {"instances": "trackers"}.get(script, "motions"), override or [])
    elif config is not None:
        load_experiment(config, override or [])


def compiled(program: str) -> None:
    """Compiles a program, and looks up what it imports from this project. Raises `AssertionError` or `SyntaxError`."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pose_priors":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a newcomer's own files lie, as pages call them."""
    _lay_out(tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    path = tmp_path / "tools"
    path.mkdir()
    return path


def _lay_out(own: Path) -> None:
    """Where a newcomer works: what pages take as given."""
    (own / ".venv" / "bin").mkdir(parents=True)
    (own / ".venv" / "bin" / "activate").touch()
    shutil.copy(ROOT / "configs" / "pipeline.yaml", own / "my_pipeline.yaml")


class Checked:
    """Looks at each command, and runs none."""

    def __init__(self) -> None:
        self.num = 0

    def __call__(self, words: list[str], given: str, _: Path) -> None:
        self.num += 1
        if words[:2] == ["python", "-"]:
            compiled(given)
        elif words[0] == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)  # knows the target
        elif words[0] in ELSEWHERE or (words[0] == "python" and words[1] in ELSEWHERE):
            pass
        else:
            found = module_of(words)
            assert found is not None, f"{' '.join(words)}: no command of this project; ELSEWHERE lists those of others"
            parsed(*found)


def _look(page: Path, folder: Path, tools: Path) -> tuple[int, int]:
    """How many commands and programs a page holds, all of them looked at."""
    checked, programs, commands = Checked(), 0, ""
    for kind, text in blocks(page):
        if kind == "commands":
            commands += re.sub(r"(?m)^(bash|\.venv/bin/python) .*$", "", text)
        elif kind == "python":
            compiled(text)
            programs += 1
        elif kind in ("", "bash", "console"):
            words = [line.split()[:1] for line in text.splitlines()]
            assert not [word for word in words if word and word[0] in PROGRAMS], text  # no command is taken for a listing
    follow(commands, folder, checked, tools)  # one shell for a page: later blocks know the variables of earlier ones
    return checked.num, programs


@pytest.fixture(scope="module")
def counted() -> Iterator[list[tuple[int, int]]]:
    counts: list[tuple[int, int]] = []
    yield counts
    if len(counts) == len(PAGES) - 1:
        assert sum(count for count, _ in counts) >= NUM_COMMANDS
        assert sum(count for _, count in counts) >= NUM_PROGRAMS


@pytest.mark.parametrize("page", [page for page in map(str, (path.relative_to(ROOT) for path in PAGES)) if page != BY_ITSELF])
def test_what_a_page_says_can_be_run(
    page: str, folder: Path, tools: Path, counted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in (*_VARIABLES, "SLURM_CPUS_PER_TASK"):  # which docs/reproduce.md explains, and Slurm's; any other fails
        monkeypatch.setenv(name, f"/data/{name}")
    counted.append(_look(ROOT / page, folder, tools))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("python train.py --config joint_flow --override model.hiden=3", UserError),
        ("python train.py --config joint_flows", UserError),
        ("for c in a b; do python evaluate.py --checkpoints x; done", UserError),
        ("pose-priors record results --videos a.mp4", UserError),
        ("make dmeo", subprocess.CalledProcessError),
        ("python no_such_script.py", AssertionError),
        ("python -m benchmarks.speed --output a && no-such-program", AssertionError),
        ("python clean.py $NOWHERE_SAID --output a", AssertionError),
        ("python - <<END\nfrom pose_priors import load_priors\nEND", ModuleNotFoundError),
    ],
)
def test_what_is_wrong_on_a_page_is_found(
    text: str, error: type[Exception], folder: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(error):
        follow(text, folder, Checked(), tools)


class Followed:
    """Runs each command in this process, scaled down."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, words: list[str], given: str, cwd: Path) -> None:
        if words[0] == "make":
            said = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True, text=True).stdout
            for line in said.replace("\\\n", " ").splitlines() if words[1:] == ["demo"] else []:
                if found := re.match(r"OMP_WAIT_POLICY=PASSIVE \.venv/bin/(python .*)", line):
                    self(found[1].split(), "", cwd)
        elif words[0] not in ELSEWHERE and " ".join(words) not in self.done:
            found_module = module_of(words)
            assert found_module is not None
            self.done.append(" ".join(words))
            module, rest = found_module
            if module in SERVES:
                parsed(module, rest)
            else:
                scaled = SCALED.get(module.removeprefix("pose_priors."), [])
                with contextlib.chdir(cwd), contextlib.redirect_stdout(io.StringIO()):
                    importlib.import_module(module).main([*rest, *scaled])


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who has done what README says, from the first line to the last."""
    folder, tools, ran = tmp_path_factory.mktemp("newcomer"), tmp_path_factory.mktemp("tools"), Followed()
    _lay_out(folder)
    write_builtin_scene(folder / "results" / "my_video", 1)
    motion = next(motion for motion in synthetic_motions(12, 30.0, 1) if motion.kind == "walking")
    (folder / "motions").mkdir()
    poses = from_poses(torch.nn.functional.pad(motion.pose, (0, 0, 0, 33)), 156)
    about = {"betas": np.zeros(16), "gender": "neutral", "mocap_framerate": 30.0}
    np.savez(folder / "motions" / "walk.npz", poses=poses, trans=motion.pelvis, **about)
    with contextlib.chdir(folder):
        for kind, text in blocks(ROOT / "README.md"):
            if kind == "commands":
                follow(text, folder, ran, tools)
            else:
                assert kind == "python"
                exec(compile(text, "README.md", "exec"), {"__name__": "readme"})
    assert len(ran.done) >= 11
    return folder


def test_readme_is_followed_to_the_letter(followed: Path) -> None:
    made = (
        "demo/joint_flow/best.ckpt",
        "demo/scene/figure_paths.png",
        "demo/evaluation/metrics.json",
        "cleaned/walk.npz",
        "scores/keep.txt",
    )
    for path in made:
        assert (followed / path).is_file(), path
    assert (followed / "results" / "my_video" / "5_refinement" / "refinement_results.json").is_file()
    assert list((followed / "results" / "built_in").rglob("*.glb"))


def test_a_whole_fit_runs_as_it_stands(followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = [text for kind, text in blocks(ROOT / "docs" / "fit_your_own.md") if kind == "python"]
    with contextlib.chdir(followed):
        exec(compile("\n".join(programs), "fit_your_own.md", "exec"), {"__name__": "fit"})
    found = re.search(r"(\S+) -> (\S+) nats, ends off by (\d+) mm", capsys.readouterr().out)
    assert found is not None
    assert float(found[2]) < float(found[1])
    assert int(found[3]) < 60  # of ends that are seen within 35 mm in each direction
