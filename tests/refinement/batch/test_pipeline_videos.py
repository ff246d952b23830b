"""Many videos through stages 1 to 3: each is done once, whatever is killed or fails meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from stand_in_stages import ROOT, STAGE_FOLDERS, arguments, arguments_of, counted, killed_at, make_videos, said, table, write_config

import pipeline
from pose_priors.configs.base import UserError


@pytest.mark.slow
def test_twelve_videos_killed_twice_are_each_done_once(tmp_path: Path) -> None:
    names = make_videos(tmp_path / "videos", 12)
    write_config(tmp_path)
    killed_at(tmp_path, "1 clip_06")
    assert sum(counted(tmp_path, "end").values()) == 6
    killed_at(tmp_path, "2 clip_04")
    pipeline.main(arguments(tmp_path))
    # nothing that was complete was done again, and what was cut off was
    assert counted(tmp_path, "end") == Counter(f"{stage} {name}" for stage in (1, 2, 3) for name in names)
    again = {begun: number for begun, number in counted(tmp_path, "begin").items() if number > 1}
    assert again == {"1 clip_06": 2, "2 clip_04": 2}
    # the models of the batched stage were loaded once a run, of the others for each video
    assert counted(tmp_path, "start")["1"] == 2
    rows = table(tmp_path)
    assert list(rows) == names
    assert {row["stage3"] for row in rows.values()} == {"done"}
    assert {name: row["stage2"] for name, row in rows.items()} == {name: "skipped" if name < "clip_04" else "done" for name in names}
    before = said(tmp_path)
    pipeline.main(arguments(tmp_path))
    assert said(tmp_path) == before
    assert {row["stage3"] for row in table(tmp_path).values()} == {"skipped"}


def test_what_is_outdated_is_done_again_and_nothing_else(tmp_path: Path) -> None:
    make_videos(tmp_path / "videos", 3)
    write_config(tmp_path)
    pipeline.main(arguments(tmp_path))

    def done_again() -> list[str]:
        before = len(said(tmp_path))
        pipeline.main(arguments(tmp_path))
        return [line.removeprefix("end ") for line in said(tmp_path)[before:] if line.startswith("end ")]

    # another video of the same length and name
    (tmp_path / "videos" / "clip_01.mp4").write_text("CLIP_01")
    assert done_again() == ["1 clip_01", "2 clip_01", "3 clip_01"]
    # a file of an output that is gone, and one that was changed
    (tmp_path / "out" / "clip_02" / STAGE_FOLDERS[3] / "half").unlink()
    (tmp_path / "out" / "clip_00" / STAGE_FOLDERS[1] / "cameras.npz").write_text("CLIP_00")
    assert done_again() == ["2 clip_00", "3 clip_00", "3 clip_02"]
    # another command; what somebody else has put beside its output stays
    own = tmp_path / "out" / "clip_00" / STAGE_FOLDERS[3] / "notes.txt"
    own.write_text("mine")
    write_config(tmp_path, input={"person_ids": "001 012"})
    assert done_again() == [f"{stage} clip_{i:02d}" for stage in (2, 3) for i in range(3)]
    assert arguments_of(tmp_path / "out", "clip_00", 3)[-3:] == ["--ids", "001", "012"]
    assert own.read_text() == "mine"


def test_an_outdated_output_does_not_mix_with_the_new_one(tmp_path: Path) -> None:
    make_videos(tmp_path / "videos", 1)
    path = write_config(tmp_path)
    pipeline.main(arguments(tmp_path))
    path.write_text(path.read_text().replace("3 person_001/", "3 person_002/"))
    pipeline.main(arguments(tmp_path))
    assert [entry.parent.name for entry in (tmp_path / "out").glob("*/*/person_*/*.npz")] == ["person_002"]


@pytest.mark.parametrize("stage", [1, 2])
def test_a_video_that_fails_does_not_stop_the_others(stage: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a program for each video and, for the videos that it has completed, in one for many."""
    make_videos(tmp_path / "videos", 3)
    (tmp_path / "videos" / "clip_02.mp4").write_text("bad")
    path = write_config(tmp_path)
    if stage == 2:  # stage 1 by a program for each
        path.write_text(path.read_text().replace("command_many", "command").replace("--list {list}", "{video} {output}"))
    with pytest.raises(SystemExit) as end:
        pipeline.main(arguments(tmp_path))
    assert end.value.code == 1
    shown = capsys.readouterr().err
    assert "error: 1 of 3 videos failed: clip_02\n" in shown
    assert "  clip_02: stage 1 (camera estimation) failed with exit code 1; its last words: 'clip_02 cannot" in shown
    rows = table(tmp_path)
    assert [row["stage3"] for row in rows.values()][:2] == ["done", "done"]
    assert rows["clip_02"]["stage1"].startswith("failed: stage 1")
    assert rows["clip_02"]["stage2"] == "missed: stage 2 (tracking) needs stage 1 (camera estimation), which is not complete"
    (tmp_path / "videos" / "clip_02.mp4").write_text("good")
    before = len(said(tmp_path))
    pipeline.main(arguments(tmp_path))
    assert [line for line in said(tmp_path)[before:] if line.startswith("end")] == [f"end {n} clip_02" for n in (1, 2, 3)]


def test_a_program_that_marks_nothing_is_believed_when_it_ends_well(tmp_path: Path) -> None:
    names = make_videos(tmp_path / "videos", 3)
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("--list {list}", "--list {list} --silent"))
    pipeline.main(arguments(tmp_path))
    assert counted(tmp_path, "end") == Counter(f"{stage} {name}" for stage in (1, 2, 3) for name in names)
    (listed,) = (tmp_path / "out" / "logs").glob("stage1-*.jsonl")
    first = json.loads(listed.read_text().splitlines()[0])
    assert first["video"] == str(tmp_path / "videos" / "clip_00.mp4")
    assert first["stage2"] == str(tmp_path / "out" / "clip_00" / "2_tracking")


def test_everything_is_done_again_on_request(tmp_path: Path) -> None:
    make_videos(tmp_path / "videos", 2)
    write_config(tmp_path)
    pipeline.main(arguments(tmp_path))
    pipeline.main(arguments(tmp_path, "--no-skip-existing"))
    assert set(counted(tmp_path, "end").values()) == {2}


def test_a_program_that_outlives_its_pipeline_is_waited_for(tmp_path: Path) -> None:
    """Two of them do not write to the same folder."""
    make_videos(tmp_path / "videos", 1)
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("command_many", "command").replace("--list {list}", "{video} {output}"))
    program = tmp_path / "program of stages.py"
    program.write_text(program.read_text().replace("time.sleep(600)", "time.sleep(2), say('late')"))
    (tmp_path / "stop").write_text("1 clip_00")
    command = [sys.executable, str(ROOT / "pipeline.py"), *arguments(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while "begin 1 clip_00" not in said(tmp_path):
        time.sleep(0.02)
    process.kill()
    process.wait()
    (tmp_path / "stop").unlink()
    pipeline.main(arguments(tmp_path))
    assert said(tmp_path)[:6] == ["start 1", "begin 1 clip_00", "late", "end 1 clip_00", "start 1", "begin 1 clip_00"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--video", "a.mp4"], "--video-base-dir goes with --output-base-dir, and without --video and --output"),
        (["--override", "input.format=GVHMR"], r"input\.format: .*leave it out"),
        (["--override", "slurm.stage6.time_min=3"], r"slurm\.stage6: unknown key; did you mean stage"),
        (["--pattern", "jump"], r"input\.pattern=jump: no video of .* has such a name; there are clip_00, clip_01"),
        (["--start-idx", "5"], r"start_idx\.\.end_idx=5\.\.: 2 videos"),
    ],
)
def test_what_cannot_be_meant_is_refused(more: list[str], said: str, tmp_path: Path) -> None:
    make_videos(tmp_path / "videos", 2)
    write_config(tmp_path)
    with pytest.raises(UserError, match=said) as error:
        pipeline.main(arguments(tmp_path, *more))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_told_before_the_work(tmp_path: Path) -> None:
    make_videos(tmp_path / "videos", 2)
    write_config(tmp_path)
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match=r"out/logs: cannot be made \(Not a directory\)"):
        pipeline.main(arguments(tmp_path))
    assert said(tmp_path) == []


@pytest.mark.parametrize("override", ["input.pattern=zzz", "input.start_idx=7", "input.end_idx=7"])
def test_one_video_has_nothing_to_choose_from(override: str, tmp_path: Path) -> None:
    write_config(tmp_path)
    given = ["--config", tmp_path / "pipeline.yaml", "--video", tmp_path / "a.mp4", "--output", tmp_path / "out", "--override", override]
    with pytest.raises(UserError, match=rf"{override.partition('=')[0]} chooses from a folder of videos, and this is one"):
        pipeline.main(list(map(str, given)))
