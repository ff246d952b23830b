"""Stand-ins for the programs of stages 1 to 3, a config that calls them, and what they have done."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

import pipeline

ROOT = Path(pipeline.__file__).parent
STAGE_FOLDERS = {1: "1_camera_estimation", 2: "2_tracking", 3: "3_pose_estimation"}
_LEFT = {1: "cameras.npz", 2: "tracks.npz", 3: "person_001/smpl_params_camera.npz"}
# One program for one video or many. It appends what it does to a log, and stops for good at the video that a file beside it names.
PROGRAM = """
import json, os, sys, time
from pathlib import Path
stage, left, *rest = sys.argv[1:]
here = Path(__file__).parent

def say(*words):
    with (here / "commands.log").open("a") as log:
        print(*words, file=log)

def work(name, video, output, done=None):
    output = Path(output)
    say("begin", stage, name)
    (output / left).parent.mkdir(parents=True, exist_ok=True)
    (output / "half").write_text("half")
    if (here / "stop").exists() and (here / "stop").read_text() == f"{stage} {name}":
        time.sleep(600)
    if Path(video).read_text() == "bad":
        sys.exit(f"{name} cannot be read")
    (output / left).write_text(Path(video).read_text())
    (output / "arguments.json").write_text(json.dumps(rest))
    (output / "environment.json").write_text(json.dumps({name: os.environ.get(name, "") for name in ("TORCH_HOME", "PYTHONPATH")}))
    say("end", stage, name)
    if done:
        Path(done).touch()

say("start", stage)
if rest[0] == "--list":
    for line in Path(rest[1]).read_text().splitlines():
        video = json.loads(line)
        work(video["name"], video["video"], video["output"], video["done"] if "--silent" not in rest else None)
else:
    work(Path(rest[0]).stem, rest[0], rest[1])
"""


def make_videos(folder: Path, number: int) -> list[str]:
    """Files that stand for videos; their names."""
    names = [f"clip_{i:02d}" for i in range(number)]
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.mp4").write_text(name)
    return names


def write_config(folder: Path, **more: Any) -> Path:
    """A pipeline whose stage 1 handles many videos in one process, and 2 and 3 one."""
    program = folder / "program of stages.py"
    program.write_text(PROGRAM)
    tree: dict[str, Any] = {"trainer": {"enable_progress_bar": False}}
    for stage, left in _LEFT.items():
        called = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} {stage} {left}"
        tree[f"stage{stage}"] = {"command": f"{called} {{video}} {{output}}", "person_ids": "--ids {person_ids}"}
    tree["stage1"] = {"command_many": tree["stage1"]["command"].replace("{video} {output}", "--list {list}")}
    tree |= more
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def said(folder: Path) -> list[str]:
    """What the programs have done so far."""
    path = folder / "commands.log"
    return path.read_text().splitlines() if path.exists() else []


def arguments_of(output: Path, name: str, stage: int) -> list[str]:
    """How the program of a stage was called."""
    called: list[str] = json.loads((output / name / STAGE_FOLDERS[stage] / "arguments.json").read_text())
    return called


def arguments(folder: Path, *more: str) -> list[str]:
    """Of `pipeline.py`, for the videos of a folder."""
    given = ["--config", folder / "pipeline.yaml", "--video-base-dir", folder / "videos", "--output-base-dir", folder / "out"]
    return [*map(str, given), "--skip-stages", "4", "5", *more]


def counted(folder: Path, what: str) -> Counter[str]:
    """How often the programs said so, by stage and video."""
    return Counter(line.removeprefix(f"{what} ") for line in said(folder) if line.startswith(f"{what} "))


def table(folder: Path) -> dict[str, dict[str, str]]:
    """What became of each video."""
    with (folder / "out" / "videos.csv").open(newline="") as stream:
        return {row["video"]: row for row in csv.DictReader(stream)}


def killed_at(folder: Path, where: str, *more: str) -> None:
    """Starts the pipeline, and kills it and its programs at a video of a stage."""
    (folder / "stop").write_text(where)
    command = [sys.executable, str(ROOT / "pipeline.py"), *arguments(folder, *more)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while f"begin {where}" not in said(folder):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (folder / "stop").unlink()
