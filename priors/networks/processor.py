"""What the processor is good at, as far as Linux tells."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_INFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@cache
def is_intel() -> bool:
    """Whether this processor is Intel's, which MKL was made for; not where that cannot be told."""
    return "GenuineIntel" in _told()


@cache
def multiplies_bfloat16() -> bool:
    """Whether it has instructions for products of bfloat16, with sums in float32; not where that cannot be told. They take a half to a
    quarter of the time of those of float32, and where they are lacking many times as long."""
    flags = (line.partition(":")[2].split() for line in _told().splitlines() if line.startswith("flags"))
    return not _BFLOAT16.isdisjoint(next(flags, []))


def _told() -> str:
    try:
        return _INFO.read_text()
    except OSError:
        return ""
