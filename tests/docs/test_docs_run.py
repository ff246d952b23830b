"""What docs say can be run: programs run as they stand there, commands know the flags that they are shown with, links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path

import pytest

import train
from pose_priors.configs import command

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"\]\(([^)#\s]+?)(?:#([^)\s]+))?\)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but `demo/joint_flow/best.ckpt`."""
    path = tmp_path_factory.mktemp("docs")
    small = ["data.path=built_in", "data.num_poses=600", "training.max_epochs=1", "training.batch_size=64", "model.hidden=16"]
    quiet = ["logging.logger=csv", f"logging.log_dir={path / 'logs'}", f"logging.checkpoint_dir={path / 'demo' / 'joint_flow'}"]
    train.main(["--config", "joint_flow", "--override", *small, *quiet, "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"])
    return path


@pytest.mark.parametrize("page", ["README.md", "docs/fit_your_own.md"])
def test_programs_of_a_page_run(page: str, folder: Path) -> None:
    blocks = _BLOCK.findall((ROOT / page).read_text())
    assert blocks
    (folder / "page.py").write_text("\n".join(blocks))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "page.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    if found := re.search(r"(\S+) -> (\S+) nats, ends off by (\d+) mm", ended.stdout):
        assert float(found[2]) < float(found[1])
        assert int(found[3]) < 60  # of ends that are seen within 35 mm in each direction


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The module and the flags of each command of this project in the blocks of a page that are no Python."""
    found = []
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in [] if kind == "python" else block.replace("\\\n", " ").splitlines():
            words = re.sub(r"\s#.*", "", line).split()
            for before, name, rest in zip(words, words[1:], [words[i:] for i in range(2, len(words) + 1)], strict=False):
                module = None
                if re.fullmatch(r"(.*/)?python3?", before) and (ROOT / name).is_file() and name.endswith(".py"):
                    module = f"pose_priors.{name.removesuffix('.py')}"
                elif before == "-m" and (ROOT / name.split(".")[0]).is_dir():
                    module = f"pose_priors.{name}"
                elif before.endswith("pose-priors") and name in command._COMMANDS:
                    module = command._COMMANDS[name]
                if module is not None:
                    flags = [word.partition("=")[0] for word in rest if re.match(r"--\w", word)]
                    found.append((module, flags))
                    break
    return found


@cache
def helped(module: str) -> str:
    """What a command prints for --help."""
    importable = module if importlib.util.find_spec(module).submodule_search_locations is None else f"{module}.__main__"  # type: ignore[union-attr]
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        importlib.import_module(importable).main(["--help"])
    return said.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_know_their_flags(page: Path) -> None:
    for module, flags in commands(page):
        known = helped(module)
        assert known, module
        for flag in flags:
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", known), f"{page.name}: {module} has no {flag}"


def test_commands_are_found() -> None:
    found = [module for module, _ in commands(ROOT / "README.md")]
    assert {f"pose_priors.{name}" for name in ("train", "evaluate", "refine", "clean", "score")} <= {*found}
    assert "pose_priors.refinement.export.__main__" in found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _NAMES.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path = page.parent / target
        assert path.exists(), f"{page.name} -> {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in known, f"{page.name} -> {target}#{anchor}"
