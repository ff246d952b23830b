"""What is installed against requirements.lock and docs/licences.md."""

from __future__ import annotations

import importlib.util
import platform
import re
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
