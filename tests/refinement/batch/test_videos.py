"""Which videos of a folder are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_priors.configs.base import UserError
from pose_priors.refinement.batch.experiment import InputConfig
from pose_priors.refinement.batch.videos import find_videos, select_videos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = ["jump_01.mp4", "jump_02/cam01/00001.jpg", "jump_02/cam01/00002.jpg", "run_01/00001.png", "two/cam01/1.jpg", "two/cam02/1.jpg"]
    for name in [*files, ".hidden.mp4", "notes.txt", "empty/readme.txt", "walk.MOV"]:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "videos"


def test_both_layouts(folder: Path) -> None:
    found = {video.name: video for video in find_videos(folder, Path("out"))}
    places = {name: video.path.relative_to(folder).as_posix() for name, video in found.items()}
    assert places == {
        "jump_01": "jump_01.mp4",
        "jump_02": "jump_02/cam01",
        "run_01": "run_01",
        "two_cam01": "two/cam01",
        "two_cam02": "two/cam02",
        "walk": "walk.MOV",
    }
    assert found["jump_02"].root == Path("out/jump_02")
    assert list(found["jump_02"].files()) == ["video/00001.jpg", "video/00002.jpg"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pattern": "jump"}, ["jump_01", "jump_02"]),
        ({"pattern": "jump_01"}, ["jump_01"]),
        ({"pattern": "*_01"}, ["jump_01", "run_01"]),
        ({"pattern": "*_0?", "start_idx": 1, "end_idx": 3}, ["jump_02", "run_01"]),
    ],
)
def test_patterns_and_ranges(folder: Path, given: dict[str, object], expected: list[str]) -> None:
    assert [video.name for video in select_videos(folder, Path("out"), InputConfig.model_validate(given))] == expected


def test_two_of_one_name_and_none_at_all(folder: Path) -> None:
    (folder / "jump_02.avi").touch()
    with pytest.raises(UserError, match=r"jump_02\.avi: cam01 there would have the same results, out/jump_02; rename"):
        find_videos(folder, Path("out"))
    with pytest.raises(UserError, match=r"empty: holds no videos .* it holds: readme\.txt"):
        find_videos(folder / "empty", Path("out"))
    with pytest.raises(UserError, match="none: no such folder"):
        find_videos(folder / "none", Path("out"))
