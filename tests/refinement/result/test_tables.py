"""Tables that a spreadsheet shows and does not run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pose_priors.refinement.result.tables import quoted, unquoted, write_table
from pose_priors.refinement.show.page.verdicts import Verdicts

RUN = ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x", "=HYPERLINK(0)"]
STAY = ["walk", "-0.5", "+3", "-1e-3", "1.250000", "", "'", "it's", "a=b", "2026-01-31T12:00:00+00:00"]


@pytest.mark.parametrize("text", [*RUN, *STAY])
def test_what_would_run_is_quoted_and_comes_back(text: str) -> None:
    assert quoted(text) == (f"'{text}" if text in RUN else text)
    assert unquoted(quoted(text)) == text


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", ("name", "value", "none"), [{"name": "=x", "value": -1.5, "none": None}])
    with (tmp_path / "a.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["name", "value", "none"], ["'=x", "-1.5", ""]]


def test_verdicts_on_sequences_of_any_name_are_kept(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "review.csv")
    verdicts.mark("=cmd", "good", "-note")
    verdicts.mark("-walk", "bad", "=1+1")
    assert "\n'=cmd,good" in (tmp_path / "review.csv").read_text()
    again = Verdicts(tmp_path / "review.csv")
    assert again.mark("@x", "good", "").sequence == "@x"
    marks = {name: Verdicts(tmp_path / "review.csv").of(name) for name in ("=cmd", "-walk", "@x")}
    assert [mark and (mark.sequence, mark.note) for mark in marks.values()] == [("=cmd", "-note"), ("-walk", "=1+1"), ("@x", "")]
