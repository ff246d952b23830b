"""Stages 1 to 3 by the commands of others, 4 and 5 here."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from scenes import make_clip

import pipeline
from pipeline import MultiTRAMPipeline
from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.refinement.batch.commands import PipelineConfig, StageCommand
from pose_priors.refinement.batch.stage_runner import StageRunner
from pose_priors.refinement.batch.videos import Video

STAGE_FOLDERS = {1: "1_camera_estimation", 2: "2_tracking", 3: "3_pose_estimation"}
SHORT = {"trainer": {"enable_progress_bar": False}, "refinement": {"max_total_iterations": 2}}
# Stands for the program of a stage: says how it was called, and copies what such a program would make.
PROGRAM = """
import json, shutil, sys
from pathlib import Path
stage, made, video, output, *rest = sys.argv[1:]
print("stage", stage, "of", video)
print("a word of warning", file=sys.stderr, flush=True)
Path(output, "arguments.json").write_text(json.dumps(sys.argv[3:]))
shutil.copytree(made, output, dirs_exist_ok=True)
"""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video whose name a shell would trip over."""
    path = tmp_path / "my video; it's $(touch pwned) {output}.mp4"
    path.write_bytes(b"frames")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A pipeline whose programs copy a generated clip."""
    clip = make_clip(tmp_path / "source", num_frames=8, double_inverted=True)
    program = tmp_path / "program of stages.py"
    program.write_text(PROGRAM)
    tree: dict[str, object] = dict(SHORT)
    for stage, made in zip((1, 2, 3), clip.stages, strict=False):
        command = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} {stage} {shlex.quote(str(made))} {{video}} {{output}}"
        arguments = command + (" --cameras={stage1}" if stage > 1 else "")
        tree[f"stage{stage}"] = {"command": arguments, "max_frames": "--max_frames {max_frames}"}
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def called(output: Path, stage: int) -> list[str]:
    return json.loads((output / STAGE_FOLDERS[stage] / "arguments.json").read_text())


def test_from_a_video_to_refined_people(config: Path, video: Path, tmp_path: Path) -> None:
    output = tmp_path / "results" / "my video"
    done = MultiTRAMPipeline(config, output).run_full_pipeline(video)
    assert list(done) == [1, 2, 3, 4, 5]
    assert done[5]["num_people"] == 2
    assert json.loads((output / "5_refinement" / "refinement_results.json").read_text())["num_frames"] == 8
    # stage 4 is our own: stage 5 finds nothing to mend in it
    assert not [line for line in done[5]["warnings"] if "tage 4" in line]
    assert called(output, 1) == [str(video), str(output / STAGE_FOLDERS[1])]
    assert called(output, 2) == [str(video), str(output / STAGE_FOLDERS[2]), f"--cameras={output / STAGE_FOLDERS[1]}"]
    printed = (output / "logs" / "stage2.log").read_text().splitlines()
    assert printed[1:] == ["stage 2 of " + str(video), "a word of warning"]
    assert not (tmp_path / "pwned").exists()
    assert not Path("pwned").exists()


def test_the_first_frames_alone(config: Path, video: Path, tmp_path: Path) -> None:
    """Programs are told, and what they make in excess is not used."""
    done = MultiTRAMPipeline(config, tmp_path / "out").run_full_pipeline(video, max_frames=4)
    assert called(tmp_path / "out", 1)[-2:] == ["--max_frames", "4"]
    assert done[4]["num_frames"] == done[5]["num_frames"] == 4
    with pytest.raises(UserError, match="max_frames is 0"):
        MultiTRAMPipeline(config, tmp_path / "out").run_full_pipeline(video, max_frames=0)


def test_stages_may_be_skipped_or_chosen(config: Path, video: Path, tmp_path: Path) -> None:
    runner = MultiTRAMPipeline(config, tmp_path / "out")
    assert list(runner.run_full_pipeline(video, skip_stages=[4, 5])) == [1, 2, 3]
    (tmp_path / "out" / "logs" / "stage1.log").unlink()
    # the video is for stages 1 to 3
    assert list(runner.run_stages(tmp_path / "none.mp4", [5, 4])) == [4, 5]
    assert not (tmp_path / "out" / "logs" / "stage1.log").exists()
    with pytest.raises(UserError, match=r"stage 6: no such stage; there are 1 \(camera estimation\)"):
        runner.run_stages(video, [1, 6])
    with pytest.raises(UserError, match=r"none\.mp4: no such video, which stage 1"):
        runner.run_stages(tmp_path / "none.mp4", [1])


@pytest.mark.parametrize(
    ("stages", "missing", "maker"),
    [
        ([3], "cameras.npz, which stage 3 (pose estimation)", "stage 1 (camera estimation)"),
        ([4], "cameras.npz, which stage 4 (world space)", "stage 1 (camera estimation)"),
        ([1, 5], "tracks.npz or detections/frame_*.pkl or", "stage 2 (tracking)"),
        ([1, 2, 4], "person_*/smpl_params_camera.npz, which stage 4", "stage 3 (pose estimation)"),
    ],
)
def test_a_missing_output_is_named_before_anything_runs(
    config: Path, video: Path, tmp_path: Path, stages: list[int], missing: str, maker: str
) -> None:
    with pytest.raises(UserError) as error:
        MultiTRAMPipeline(config, tmp_path / "out").run_stages(video, stages)
    assert missing in str(error.value)
    assert f"{maker} makes it" in str(error.value)
    assert not (tmp_path / "out").exists()


def run_stage_1(command: StageCommand, tmp_path: Path) -> None:
    (tmp_path / "video.mp4").touch()
    video = Video("out", tmp_path / "video.mp4", tmp_path / "out")
    StageRunner(PipelineConfig(stage1=command), 1, [1], tmp_path / "logs").one(video)


def python(code: str) -> StageCommand:
    return StageCommand(command=f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {{output}}")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (StageCommand(), r"stage1\.command is not given"),
        (StageCommand(command="no_such_program_anywhere {video}"), r"stage1\.command: no_such_program_anywhere cannot be started"),
        (
            python("print('one'); print('CUDA is out of memory'); raise SystemExit(3)"),
            "exit code 3; its last words: 'CUDA is out of memory'",
        ),
        (python("import os; os.kill(os.getpid(), 9)"), r"signal SIGKILL; its last words: 'none'; all are in .*stage1\.log"),
        (python("pass"), r"stage 1 \(camera estimation\) ended well but left no cameras\.npz"),
    ],
)
def test_a_stage_that_fails_says_how(command: StageCommand, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as error:
        run_stage_1(command, tmp_path)
    assert "\n" not in str(error.value)


def test_what_a_stage_prints_is_there_while_it_runs(tmp_path: Path) -> None:
    """The program sees its own words in the log before it ends."""
    log = tmp_path / "out" / "logs" / "stage1.log"
    code = f"import pathlib, sys; print('half way', flush=True); sys.exit(0 if 'half way' in pathlib.Path({str(log)!r}).read_text() else 1)"
    with pytest.raises(UserError, match="ended well"):
        run_stage_1(python(code), tmp_path)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"stage1": {"command": "run {vidoe}"}}, r"stage1\.command: \{vidoe\} stands for nothing; allowed: \{video\}, \{output\}"),
        ({"stage1": {"command": "run 'it"}}, r"stage1\.command: cannot be split into words"),
        ({"stage2": {"command": " "}}, r"stage2\.command: is empty"),
        ({"stage2": {"command": "run --max_frames {max_frames}"}}, r"stage2: \{max_frames\} belongs into max_frames"),
        ({"stage4": {"command": "run"}}, r"stage4: unknown key; did you mean stage"),
        ({"input": {"path": "results"}}, r"input\.path and output\.path are the pipeline's own"),
        ({"stages": [4]}, r"stages: which are run is said to the pipeline"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(tree: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match=said) as error:
        MultiTRAMPipeline(path, tmp_path / "out")
    assert "\n" not in str(error.value)


def test_the_config_that_comes_with_the_project_needs_commands_only(config: Path, video: Path, tmp_path: Path) -> None:
    assert load_config(PipelineConfig, "pipeline").stage1.command is None
    commands = yaml.safe_load(config.read_text())
    given = [f"stage{stage}.command={json.dumps(commands[f'stage{stage}']['command'])}" for stage in (1, 2, 3)]
    arguments = [
        "--config",
        "pipeline",
        "--video",
        str(video),
        "--output",
        str(tmp_path / "out"),
        "--skip-stages",
        "5",
        "--max-frames",
        "5",
    ]
    done = pipeline.main([*arguments, "--override", *given])
    assert list(done) == [1, 2, 3, 4]
    assert done[4]["num_frames"] == 5
