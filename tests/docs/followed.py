"""Follows pages: each command in this process, each program where it stands, scaled down, in the order of the page."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from follow import PROGRAM, blocks, follow
from looked_at import Checked, is_elsewhere, module_of
from newcomer import GIVEN, NAMES, Newcomer
from not_followed import GROUPS, NOT_FOLLOWED
from scaled_down import scaled

ROOT = Path(__file__).parents[2]
_DEMO = re.compile(r"OMP_WAIT_POLICY=PASSIVE \.venv/bin/(python .*)")


class Followed:
    """Runs each command of a page, and looks at those that are listed as not to be run.

    Attributes:
        num_run, num_listed: commands and programs that were run, and that were looked at alone.
        said: what those that ran have printed.
    """

    def __init__(self, page: str, programs: list[str]) -> None:
        self.page, self.programs = page, programs
        self.names: dict[str, Any] = {"__name__": "page", **NAMES.get(page, {})}
        self.num_run = self.num_listed = 0
        self.said = io.StringIO()
        self.look = Checked()

    def __call__(self, words: list[str], given: str, cwd: Path) -> None:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(self.said):
            self._follow(words, given, cwd)

    def _follow(self, words: list[str], given: str, cwd: Path) -> None:
        if words == ["make", "demo"]:
            self._follow_demo(cwd)
        elif is_elsewhere(words) or words[0] == "make" or any(part in " ".join(words) for part in NOT_FOLLOWED.get(self.page, {})):
            self.num_listed += 1
            self.look(words, given, cwd)
            assert words[0] != "rerun" or all((cwd / file).is_file() for file in words[1:]), words
        else:
            self.num_run += 1
            self._run(words, given)

    def _run(self, words: list[str], given: str) -> None:
        if words[0] == PROGRAM:
            exec(compile(self.programs[int(words[1])], self.page, "exec"), self.names)
        elif words[:2] == ["python", "-"]:
            exec(compile(given, self.page, "exec"), {"__name__": "page"})
        else:
            module, rest = module_of(words)
            importlib.import_module(module).main(scaled(module, rest))

    def _follow_demo(self, cwd: Path) -> None:
        said = subprocess.run(["make", "-n", "demo"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        commands = [found[1].split() for line in said.replace("\\\n", " ").splitlines() if (found := _DEMO.match(line))]
        assert len(commands) == 5
        for words in commands:
            self._follow(words, "", cwd)


def follow_page(page: str, folder: Path, data: Path, tools: Path) -> Followed:
    """Follows a page in a folder, with what it takes as given; one shell for the page, so that later blocks know earlier variables."""
    script, programs = "", []
    for kind, text in blocks(ROOT / page):
        if kind == "commands":
            script += text
        elif kind == "python":
            script += f"{PROGRAM} {len(programs)}\n"
            programs.append(text)
    (folder / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    (folder / ".venv" / "bin" / "activate").touch()
    GIVEN.get(page, lambda _: None)(Newcomer(folder, data))
    done = Followed(page, programs)
    follow(script.replace("/data/AMASS", str(folder / "amass")), folder, done, tools)
    return done


def to_their_ends(group: str) -> Callable[..., None]:
    """The test that follows each page of a group. Groups have modules of their own, which workers share out among them."""

    @pytest.mark.slow
    @pytest.mark.parametrize("page", GROUPS[group])
    def follows(page: str, follow_to_the_end: Callable[[str], Followed]) -> None:
        done = follow_to_the_end(page)
        assert done.num_run + done.num_listed > 0

    return follows
