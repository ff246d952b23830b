"""Looks at what a page says without running it: each command is parsed by its own parser, its YAML and overrides make the configuration
that they would, and programs compile and import what there is."""

from __future__ import annotations

import ast
import importlib
import subprocess
from pathlib import Path

from command_parsers import parser_of

from pose_priors.configs import command
from pose_priors.configs.load import load_config
from pose_priors.configs.schema import load_experiment
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.instances.trackers import TrackersConfig
from pose_priors.refinement.motions.config import MotionsConfig

ROOT = Path(__file__).parents[2]
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
    "pre-commit": "needs git's hooks",
    "scripts/smplx_to_robot.py": "GMR", "data_utils/prep_amass_smplx_for_rt.py": "holosoma", "examples/robot_retarget.py": "holosoma",
}  # fmt: skip


def is_elsewhere(words: list[str]) -> bool:
    """Whether a command calls a program of others."""
    return words[0] in ELSEWHERE or (words[0] == "python" and len(words) > 1 and words[1] in ELSEWHERE)


def module_of(words: list[str]) -> tuple[str, list[str]]:
    """The module of this project that a command calls, and what it hands over. Raises `AssertionError` where it is somebody else's."""
    if words[0] == "pose-priors":
        table = command._BENCHMARKS if words[1] == "benchmark" else command._COMMANDS
        rest = words[2:] if words[1] == "benchmark" else words[1:]
        return table[rest[0]], rest[1:]
    if words[1] == "-m":
        package = ROOT.joinpath(*words[2].split("."))
        return f"pose_priors.{words[2]}{'.__main__' if package.is_dir() else ''}", words[3:]
    is_script = words[1].endswith(".py") and (ROOT / words[1]).is_file()
    assert is_script, f"{' '.join(words)}: no command of this project; ELSEWHERE lists those of others"
    return f"pose_priors.{words[1].removesuffix('.py')}", words[2:]


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
        elif not is_elsewhere(words):
            parsed(*module_of(words))
