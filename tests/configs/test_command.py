"""The console script, and how every script ends: dispatch, help, one line and an exit code for whatever a user can mend."""

from __future__ import annotations

import ast
import errno
import importlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pose_priors.configs import command
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import EXTRAS, Parser, run, set_up_console

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Lightning imports them where they are asked for by name
OPTIONAL_LOGGERS = {"tensorboard", "wandb"}
DISTRIBUTION = {
    "body_models": "body-models",
    "pxr": "usd-core",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "rerun": "rerun-sdk",
    "pytorch_lightning": "pytorch-lightning",
    "lightning_fabric": "pytorch-lightning",
}


def ended(main: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what stands on stderr, which is one line."""
    with pytest.raises(SystemExit) as caught:
        run(main)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return int(caught.value.code), said.strip()


def raising(error: BaseException) -> Callable[[], object]:
    def main() -> None:
        raise error

    return main


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], str]]:
    """What the console script would have run: the module, its arguments, and the name of the program."""
    calls: list[tuple[str, list[str], str]] = []

    class Module:
        def __init__(self, name: str) -> None:
            self.name = name

        def main(self, arguments: list[str]) -> None:
            calls.append((self.name, list(arguments), sys.argv[0]))

    monkeypatch.setattr(command.importlib, "import_module", Module)
    return calls


@pytest.mark.parametrize(
    ("words", "module", "rest"),
    [
        (["train", "--config", "joint_flow"], "pose_priors.train", ["--config", "joint_flow"]),
        (["evaluate"], "pose_priors.evaluate", []),
        (["record", "a", "b"], "pose_priors.refinement.show.record", ["a", "b"]),
        (["benchmark", "speed", "--quick"], "pose_priors.benchmarks.speed", ["--quick"]),
    ],
)
def test_a_command_gets_its_arguments_and_its_name(
    words: list[str], module: str, rest: list[str], called: list[tuple[str, list[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pose-priors", *words])
    command.main()
    program = " ".join(["pose-priors", *words[: len(words) - len(rest)]])
    assert called == [(module, rest, program)]


@pytest.mark.parametrize("module", sorted({*command._COMMANDS.values(), *command._BENCHMARKS.values()}))
def test_every_command_is_there(module: str) -> None:
    path = ROOT / (module.removeprefix("pose_priors.").replace(".", "/") + ".py")
    functions = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert len(functions["main"].args.args) == 1


def test_every_script_is_a_command() -> None:
    scripts = {path.stem for path in ROOT.glob("*.py")} - {"pose_priors", "__main__"}
    assert scripts <= set(command._COMMANDS)


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["benchmark"], ["benchmark", "--help"]])
def test_help_lists_what_there_is(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pose-priors", *words])
    command.main()
    said = capsys.readouterr().out
    assert said.startswith("usage: pose-priors ")
    names = command._BENCHMARKS if "benchmark" in words else [*command._COMMANDS, "benchmark"]
    assert all(re.search(rf"\b{name}\b", said) for name in names)


@pytest.mark.parametrize(("words", "names"), [(["trian"], ["train", "benchmark"]), (["benchmark", "sped"], ["speed"])])
def test_an_unknown_command_lists_those_that_exist(
    words: list[str], names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pose-priors", *words])
    code, said = ended(command.main, capsys)
    assert code == 2
    kind = "benchmark" if words[0] == "benchmark" else "command"
    assert said.startswith(f"error: pose-priors {' '.join(words)}: no such {kind}")
    assert all(name in said for name in names)


def test_a_library_that_is_missing_is_named_with_its_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    code, said = ended(lambda: importlib.import_module("rerun"), capsys)
    assert (code, said) == (2, "error: rerun is not installed; it comes with: pip install 'pose-priors[view]'")
    monkeypatch.setitem(sys.modules, "yaml", None)
    code, said = ended(lambda: importlib.import_module("yaml"), capsys)
    assert "pip install 'pose-priors[train]' or pip install 'pose-priors[refine]' or" in said
    with pytest.raises(ModuleNotFoundError):  # a mistake of ours, which a traceback tells
        run(lambda: importlib.import_module("pose_priors.no_such_module"))


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(UserError("a\nb\x1b[2J")), capsys) == (2, "error: a\\nb\\x1b[2J")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/a.npz")
    assert ended(raising(full), capsys) == (2, "error: no space left at out/a.npz; make room and give the same command again")
    with pytest.raises(PermissionError):
        run(raising(PermissionError(errno.EACCES, "no")))


def test_ctrl_c_is_one_line_with_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = ended(raising(KeyboardInterrupt()), capsys)
    assert code == 130
    assert said.startswith("stopped; ")
    assert ended(raising(KeyboardInterrupt("go on with --resume a.ckpt")), capsys) == (130, "stopped; go on with --resume a.ckpt")

    def as_lightning_does() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert ended(as_lightning_does, capsys)[0] == 130
    with pytest.raises(SystemExit, match="3"):
        run(lambda: sys.exit(3))


def test_a_process_that_is_interrupted(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(
        "import time\nfrom pose_priors.configs.cli import run\ndef main():\n    print('begun', flush=True)\n    time.sleep(60)\nrun(main)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.startswith("stopped; ")
    assert said.count("\n") == 1


def test_a_forgotten_override_is_guessed() -> None:
    parser = Parser()
    parser.add_argument("--override", nargs="*")
    with pytest.raises(UserError, match=r"^unrecognized arguments: training\.max_epochs=1; did you forget --override"):
        parser.parse_args(["training.max_epochs=1"])
    for words in (["--training.max_epochs=1"], ["a.npz"]):
        with pytest.raises(UserError, match="see --help"):
            parser.parse_args(words)
    with pytest.raises(UserError, match="see --help"):
        Parser().parse_args(["a=1"])


def test_log_lines_stay_lines() -> None:
    handlers = logging.root.handlers[:]
    try:
        logging.root.handlers.clear()
        set_up_console()
        record = logging.LogRecord("a", logging.WARNING, __file__, 1, "skipped: %s", ("a\nb\x1b[0m",), None)
        assert logging.root.handlers[0].format(record) == "skipped: a\\nb\\x1b[0m"
    finally:
        logging.root.handlers[:] = handlers


def _imported() -> dict[str, list[str]]:
    """The libraries that modules of the package import anywhere, and where."""
    rooms = [path for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").is_file() and path.name != "tests"]
    found: dict[str, list[str]] = {}
    for path in [*ROOT.glob("*.py"), *(file for room in rooms for file in room.rglob("*.py")), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], []).append(str(path.relative_to(ROOT)))
    return {name: where for name, where in found.items() if name not in {*sys.stdlib_module_names, "pose_priors"}}


def _named(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", requirement)[0].lower() for requirement in requirements}


def test_every_library_is_a_dependency_of_the_core_or_comes_with_extras() -> None:
    imported, core = _imported(), _named(PROJECT["dependencies"])
    assert {"torch", "yaml", "rerun"} <= set(imported)
    assert {name: where for name, where in imported.items() if name not in core | set(EXTRAS)} == {}
    assert set(EXTRAS) == set(imported) - core | OPTIONAL_LOGGERS


@pytest.mark.parametrize("library", EXTRAS)
def test_the_extras_that_are_named_are_those_that_bring_it(library: str) -> None:
    distribution = DISTRIBUTION.get(library, library).lower()
    extras = {extra: _named(required) for extra, required in PROJECT["optional-dependencies"].items() if extra != "dev"}
    assert [extra for extra, names in extras.items() if distribution in names] == list(EXTRAS[library])


def test_what_an_extra_brings_is_used() -> None:
    brought = {
        name for extra, required in PROJECT["optional-dependencies"].items() if extra not in ("dev", "docs") for name in _named(required)
    }
    assert brought == {DISTRIBUTION.get(library, library).lower() for library in EXTRAS}


@pytest.mark.parametrize("name", ["train", "evaluate", "refine", "pipeline"])
def test_help_calls_a_command_as_it_was_called(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = {}
    for called in (f"{name}.py", f"pose-priors {name}"):
        monkeypatch.setattr(sys, "argv", [called, "--help"])
        with pytest.raises(SystemExit):
            importlib.import_module(name).main(["--help"])
        said[called] = " ".join(capsys.readouterr().out.split())
    assert f"python {name}.py" in said[f"{name}.py"]
    assert f"python {name}.py" not in said[f"pose-priors {name}"]
    assert f"`pose-priors {name} --" in said[f"pose-priors {name}"]


def test_the_package_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "pose_priors", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pose-priors ")
    wrong = subprocess.run([sys.executable, "-m", "pose_priors", "trian"], cwd=ROOT, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean train?" in wrong.stderr
