"""Ids below zero, which trackers give to what they follow as nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from romp_writer import write_romp
from upstream_truth import IDS, make_truth
from upstream_world_writers import write_comotion, write_human3r
from upstream_writers import write_phalp, write_prompthmr, write_wham

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats import read_upstream
from pose_priors.refinement.formats.assembly import is_nobodys, person_id
from pose_priors.refinement.formats.source import Fields
from pose_priors.refinement.formats.tools.sam3d_body import _by_person
from pose_priors.refinement.formats.tracks import Tracks, _read_detections


def _array(name: str) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content[name][content[name] == IDS[1]] = -1

    return change


def _tids(content: Any) -> None:
    for frame in content.values():
        frame["tid"] = [-1 if value == IDS[1] else value for value in frame["tid"]]


def _key(content: Any) -> None:
    people = content.get("people", content)
    people[-1] = people.pop(IDS[1] if IDS[1] in people else str(IDS[1]))


CASES: list[tuple[Callable[..., Path], Callable[[Any], None]]] = [
    (write_phalp, _tids),
    (write_comotion, _array("id")),
    (write_human3r, _array("smpl_id")),
    (write_romp, _array("track_ids")),
    (write_wham, _key),
    (write_prompthmr, _key),
]


@pytest.mark.parametrize(("write", "change"), CASES, ids=[write.__name__ for write, _ in CASES])
def test_what_is_nobodys_is_left_out_and_told_once(write: Callable[..., Path], change: Callable[[Any], None], tmp_path: Path) -> None:
    warnings: list[str] = []
    clip = read_upstream(write(tmp_path / "walk", make_truth(), change), warnings)
    assert (clip.camera_bodies or clip.world_bodies).keys() == {IDS[0]}
    told = [line for line in warnings if "below 0" in line]
    assert len(told) == 1
    # lines name files, and a folder's name may hold "-1"
    assert not [line for line in warnings if "-1" in line.replace(str(tmp_path), "")]


@pytest.mark.parametrize("write", [write_phalp, write_wham])
def test_a_clip_of_nobodys_says_why_nobody_is_left(write: Callable[..., Path], tmp_path: Path) -> None:
    def change(content: Any) -> None:
        if write is write_phalp:
            for frame in content.values():
                frame["tid"] = [-1.0] * len(frame["tid"])
        else:
            for number, key in enumerate(list(content)):
                content[-1 - number] = content.pop(key)

    with pytest.raises(UserError, match=r"holds nobody who is seen on a frame; .* with an id below 0"):
        read_upstream(write(tmp_path / "walk", make_truth(), change), [])


def test_whole_numbers_are_ids_in_any_type() -> None:
    assert [person_id(value, "file") for value in (3, "3", 3.0, np.float32(3), "3.0")] == [3] * 5
    for value in (-1.0, 2.5, np.nan, np.inf, "x"):
        with pytest.raises(UserError, match="is no number from 0 on"):
            person_id(value, "file")


def test_rows_of_sam_3d_body() -> None:
    rows = [Fields({"track_id": np.array(value)}, "frame") for value in (-1, 3)]
    warnings: list[str] = []
    assert _by_person([(0, rows), (1, rows[:1])], warnings).keys() == {3}
    assert [line for line in warnings if "2 with an id below 0" in line] == warnings


def test_detections_of_stage_2(tmp_path: Path) -> None:
    path, tracks = tmp_path / "frame_000000.pkl", Tracks()
    joblib.dump([{"track_id": value, "bbox": np.ones(4)} for value in (-1, 4)], path)
    _read_detections(path, 0, tracks, True)
    assert tracks.boxes.keys() == {4}


@pytest.mark.parametrize(
    ("value", "nobodys"),
    [(-1, True), ("-7", True), (np.float32(-2), True), ("-1.0", True), (0, False), (3.0, False), ("x", False), (np.nan, False)],
)
def test_what_is_below_zero(value: object, nobodys: bool) -> None:
    assert is_nobodys(value) is nobodys
