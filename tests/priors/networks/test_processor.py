"""What is made of what Linux tells of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_priors.priors.networks import processor

CASES = {
    "GenuineIntel fpu sse amx_bf16 amx_tile": (True, True),
    "GenuineIntel fpu avx512f avx512_vnni": (True, False),
    "AuthenticAMD fpu avx512f avx512_bf16": (False, True),
    "AuthenticAMD fpu avx2": (False, False),
    "AuthenticAMD": (False, False),
}


@pytest.mark.parametrize("told", CASES)
def test_vendor_and_instructions_are_read(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor, _, flags = told.partition(" ")
    core = f"vendor_id\t: {vendor}\nmodel name\t: bf16\n" + (f"flags\t\t: {flags}\n" if flags else "")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{core}\nprocessor\t: 1\n{core}")
    monkeypatch.setattr(processor, "_INFO", tmp_path / "cpuinfo")
    assert (processor.is_intel.__wrapped__(), processor.multiplies_bfloat16.__wrapped__()) == CASES[told]


def test_where_nothing_is_told_nothing_is_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_INFO", tmp_path / "none")
    assert not processor.is_intel.__wrapped__()
    assert not processor.multiplies_bfloat16.__wrapped__()
