"""Every page is followed somewhere, what is not run is listed with its reason, and what is wrong on a page is found."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from follow import PROGRAMS, blocks, follow
from looked_at import ELSEWHERE, Checked
from not_followed import ELSEWHERE_FOLLOWED, GROUPS, NOT_FOLLOWED

from pose_priors.configs.base import UserError

ROOT = Path(__file__).parents[2]
PAGES = [str(path.relative_to(ROOT)) for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])]
NUM_LINES, NUM_PROGRAMS = 180, 20  # of commands and of programs, at least


def commands_of(page: str) -> str:
    return "".join(text for kind, text in blocks(ROOT / page) if kind == "commands")


def programs_of(page: str) -> list[str]:
    return [text for kind, text in blocks(ROOT / page) if kind == "python"]


def test_every_page_is_followed_in_one_place() -> None:
    followed = [page for pages in GROUPS.values() for page in pages]
    assert sorted([*followed, *ELSEWHERE_FOLLOWED]) == [page for page in PAGES if commands_of(page) or programs_of(page)]
    for group in GROUPS:
        assert (Path(__file__).parent / f"test_followed_{group}.py").is_file()
    assert sum(len(commands_of(page).splitlines()) for page in followed) >= NUM_LINES
    assert sum(len(programs_of(page)) for page in followed) >= NUM_PROGRAMS


def test_what_is_listed_as_not_run_stands_on_its_page() -> None:
    for page, parts in NOT_FOLLOWED.items():
        for part in parts:
            assert part in commands_of(page), f"{page}: {part}"
    for program in ELSEWHERE:
        assert any(program in commands_of(page) for page in PAGES), program


@pytest.mark.parametrize("page", PAGES)
def test_no_command_is_taken_for_a_listing(page: str) -> None:
    for kind, text in blocks(ROOT / page):
        if kind in ("", "bash", "console"):
            words = [line.split()[:1] for line in text.splitlines()]
            assert not [word for word in words if word and word[0] in PROGRAMS], text


def test_contributing_calls_what_there_is(tools: Path, tmp_path: Path) -> None:
    checked = Checked()
    follow(re.sub(r"(?m)^\.venv/bin/python .*$", "", commands_of("CONTRIBUTING.md")), tmp_path, checked, tools)
    assert checked.num >= 5


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
    text: str, error: type[Exception], tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        follow(text, tmp_path, Checked(), tools)
