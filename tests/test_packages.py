"""What is installed against requirements.lock and docs/licences.md."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
# What a package needs differs from one platform and Python to the next; the tables are of this one.
of_the_tables = pytest.mark.skipif(
    (sys.platform, platform.machine(), sys.version_info[:2]) != ("linux", "x86_64", (3, 11)), reason="the tables are of Linux, Python 3.11"
)


@pytest.fixture(scope="module")
def packages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packages", ROOT / ".ci" / "packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_holds_what_is_pinned_and_hashes_of_all(packages: ModuleType) -> None:
    from packaging.utils import canonicalize_name

    locked = packages.locked()
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert {name: version for name, version in pins.items() if name != "torch"}.items() <= {
        name: locked[canonicalize_name(name)][0] for name in pins if name != "torch"
    }.items()
    assert all(hashes and all(re.fullmatch("[0-9a-f]{64}", text) for text in hashes) for _, hashes in locked.values())
    assert not [name for name in locked if packages.TORCH.fullmatch(name)]


@of_the_tables
def test_what_is_installed_is_what_the_lock_says(packages: ModuleType) -> None:
    versions = {name: package.version for name, package in packages.installed().items() if name != "torch"}
    assert versions == {name: version for name, (version, _) in packages.locked().items()}, "run: python .ci/packages.py lock"


@of_the_tables
def test_licences_are_those_of_the_table(packages: ModuleType) -> None:
    table = packages.licence_table()
    assert packages.LICENCES.read_text() == table, "run: python .ci/packages.py licences, and look at what is new"
    assert not re.search(r"\| (|not stated|UNKNOWN) \|", table)
    # what would bind those who use this; smplx, for a benchmark alone, is known
    assert not re.search(r"\bA?GPL", table.replace("LGPL", ""))


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("build", ["", "cpu", "cuda"])
def test_what_is_installed_stays_unless_another_build_is_asked_for(build: str, tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / f".installed{build}").touch()

    def said(*words: str) -> str:
        return subprocess.run(["make", "-n", *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    for target in ("setup", "demo", "test", "site"):
        assert "pip install" not in said(target), target
    for other, index in {"": "", "cpu": "whl/cpu", "cuda": "whl/cu"}.items():
        commands = said("setup", f"TORCH={other}")
        assert ("pip install" in commands) == (other != build)
        assert other == build or index in commands
    os.utime(tmp_path / ".venv" / f".installed{build}", (0, 0))  # older than what it was installed by
    assert f"touch .venv/.installed{build}\n" in said("demo")
