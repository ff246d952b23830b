"""What a result says of itself, read from its file, in order of how much it needs a look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pose_priors.refinement.result.told import Told, told_by, told_in


@pytest.mark.parametrize("content", [{}, {"quality": None}, {"quality": {"verdict": "great"}}, {"quality": ["good"]}])
def test_results_without_a_verdict_say_nothing(content: dict[str, object]) -> None:
    assert told_by(content) == Told()
    assert Told().markdown() == []


def test_a_verdict_is_read_with_its_reasons(tmp_path: Path) -> None:
    for verdict, reasons in (("poor", ["a", "b"]), ("check", ["c"]), ("good", [])):
        folder = tmp_path / verdict
        folder.mkdir()
        (folder / "refinement_results.json").write_text(json.dumps({"quality": {"verdict": verdict, "reasons": reasons}}))
        assert told_in(folder) == Told(verdict, tuple(reasons))
    (tmp_path / "empty").mkdir()
    names = ["good", "empty", "check", "poor"]
    assert sorted(names, key=lambda name: told_in(tmp_path / name).rank) == ["poor", "check", "good", "empty"]
    assert told_in(tmp_path / "poor").markdown() == ["quality: **poor**", "", "- quality: a", "- quality: b"]
