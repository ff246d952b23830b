"""Commands keep freed memory for what comes next, unless their user has said what the C library is to do."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

_FAULTS = """
import resource
from pose_priors.configs.cli import run

def main():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for number in range(30):
        blocks = [b"x" * (2 << 20) for block in range(20)] + [b"y" * (64 << 20)]
        del blocks
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

run(main)
"""


def _faults(**environment: str) -> int:
    """How many pages the system had to give to a command that makes and frees 104 MiB thirty times."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    said = subprocess.run([sys.executable, "-c", _FAULTS], env=known | environment, capture_output=True, text=True, check=True)
    return int(said.stdout)


@pytest.mark.skipif(not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")), reason="of glibc alone")
def test_pages_of_freed_blocks_are_not_asked_for_again() -> None:
    anew = _faults(MALLOC_MMAP_THRESHOLD_="131072")  # the user's way: each block is of the system
    assert 4 * _faults() < anew
    assert 4 * _faults(GLIBC_TUNABLES="glibc.malloc.mmap_threshold=131072") > 3 * anew
