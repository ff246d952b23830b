"""The table of many sequences, and what is left of one that was damaged."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from pose_priors.refinement.batch.outcomes import SequenceOutcome, write_summary

HEADER = "sequence,frames,people,iterations,seconds,scale,status\n"


def names(path: Path) -> list[str]:
    with path.open(newline="") as stream:
        return [row["sequence"] for row in csv.DictReader(stream)]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (b"b,12,2,5,1.0", ["a"]),
        (b"b,12,2,5,1.0,1.0,success,more\n", ["a"]),
        (b'b,12,2,5,1.0,1.0,"' + b"x" * 200_000, ["a"]),
        (b"\xff\xfe,12,2,5,1.0,1.0,success\n", ["a", "\ufffd\ufffd"]),
        (b"b,12,\0,5,1.0,1.0,success\n", ["a", "b"]),
    ],
    ids=["cut off", "too long", "endless cell", "not text", "zero"],
)
def test_a_damaged_summary_is_kept_beside_and_stops_nothing(
    tmp_path: Path, damage: bytes, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "summary.csv"
    content = f"{HEADER}a,8,2,5,1.0,1.0,success\n".encode() + damage
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        write_summary(path, [SequenceOutcome("c", "success")])
    assert names(path) == sorted([*kept, "c"])
    aside = tmp_path / "summary.csv.damaged"
    if len(kept) == 1:
        assert aside.read_bytes() == content
        assert "damaged" in caplog.text
    else:
        assert not aside.exists()


def test_the_verdict_and_its_reasons_stand_in_the_table_beside_rows_of_before(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text(f"{HEADER}a,8,2,5,1.0,1.0,success\n")
    quality = {"quality": {"verdict": "check", "reasons": ["=1 is off", "two"]}}
    write_summary(path, [SequenceOutcome("b", "success", results=quality), SequenceOutcome("c", "failed", "no file")])
    with path.open(newline="") as stream:
        rows = {row["sequence"]: row for row in csv.DictReader(stream)}
    assert [rows[name]["quality"] for name in "abc"] == ["", "check", ""]
    assert rows["b"]["reasons"] == "'=1 is off; two"
    assert rows["a"]["status"] == "success"
    write_summary(path, [SequenceOutcome("d", "success")])
    with path.open(newline="") as stream:
        assert {row["sequence"]: row for row in csv.DictReader(stream)}["b"] == rows["b"]
