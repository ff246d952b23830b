"""Thousands of command lines, overrides and configs for every command, in this process, up to where its work would begin."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fuzzing import anything, changes, damaged, survives, volume

import pose_priors
from pose_priors.configs import cli, command
from pose_priors.configs.load import find_config

WORDS = [
    "",
    "-",
    "--",
    "a",
    "-1",
    "0",
    "1",
    "2.5",
    "1e400",
    "nan",
    "a=b",
    "=",
    "x=[",
    "\x00",
    "é\n\x1b[31m",
    "~nobody/x",
    "*",
    "a" * 5000,
    "{}",
]
KEYS = ["seed", "model", "model.kind", "model.hidden", "data.path", "data.num_poses", "data.trim", "training.batch_size", "trainer.devices"]
KEYS += ["training.learning_rate", "logging.logger", "slurm.options", "input.path", "input.format", "input.person_ids", "output.path"]
KEYS += ["refinement.lambda_depth", "prior.body", "stages", "record", "stage1.command", "background.command", "trainer.precision", "a.b.c"]
NAMES = ["joint_flow", "motion_prior", "refinement", "pipeline", "trackers", "no_such", "Joint_Flow", "joint_flow.yaml"]
SWITCHES = {
    "train": ["--config", "--override", "--resume", "--launcher"],
    "evaluate": ["--checkpoint", "--data", "--device", "--allow", "--scene", "--gt", "--refined", "--output"],
    "refine": ["--config", "--override", "--launcher"],
    "pipeline": ["--config", "--video", "--output", "--video-base-dir", "--output-base-dir", "--pattern", "--start-idx", "--end-idx"],
    "clean": ["--output", "--prior", "--preview", "--config", "--override", "--launcher"],
    "score": ["--output", "--keep", "--prior", "--pose-prior", "--config", "--override", "--launcher"],
    "describe": ["--allow"],
    "export-model": ["--format", "--output", "--std", "--dtype", "--allow"],
    "body": ["--compare"],
    "record": ["--output", "--input", "--prior", "--body-model", "--images", "--points"],
    "review": ["--input", "--port", "--host"],
    "export": ["--format", "--output", "--fps", "--body-model"],
    "instances": ["split", "combine", "query", "process", "--output", "--config", "--override", "--device"],
}
SWITCHES["pipeline"] += ["--skip-existing", "--max-frames", "--skip-stages", "--launcher", "--override"]
BUILT_IN_SCENE = ("datamodules.synthetic.scenes.builtin", "write_builtin_scene")
# what begins to work, by module and name: it is not called
WORK = {
    "train": [("train", "fit")],
    "evaluate": [("evaluate", "_evaluate_priors")],
    "refine": [("refine", "SequenceRefiner"), ("refine", "refine_many"), ("refine", "_launch"), BUILT_IN_SCENE],
    "pipeline": [("pipeline", "process_videos"), ("pipeline", "_in_jobs"), ("pipeline", "StageRunner")],
    "clean": [("clean", "_clean"), ("clean", "clean_all"), ("configs.launch", "launch")],
    "score": [("score", "_score"), ("score", "score_all"), ("configs.launch", "launch")],
    "describe": [],
    "export-model": [],
    "body": [],
    "record": [("refinement.show.record", "write_recordings")],
    "review": [("refinement.show.review", "serve")],
    "export": [("refinement.export.__main__", "export")],
    "instances": [],
}


class Reached(BaseException):
    """The command line was understood."""


def _reached(*_: object, **__: object) -> None:
    raise Reached


def _value(rng: random.Random, places: list[str]) -> str:
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(places)
    if kind < 0.45:
        return rng.choice(NAMES)
    if kind < 0.6:
        return f"{rng.choice(KEYS)}={anything(rng)}"[:6000]
    return rng.choice(["slurm", "local", "amass", "glb", "bvh", "cpu", "3", *WORDS])


@volume
@pytest.mark.parametrize("name", SWITCHES)
def test_command_lines(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = importlib.import_module(command._COMMANDS[name])
    for module, work in WORK[name]:
        monkeypatch.setattr(importlib.import_module(f"{pose_priors.__name__}.{module}"), work, _reached)
    monkeypatch.setattr(sys, "argv", [f"pose-priors {name}"])
    given = tmp_path / "given"  # apart from where the processes write
    (given / "folder").mkdir(parents=True)
    np.savez(given / "poses.npz", poses=np.zeros((3, 72)))
    (given / "file.yaml").write_text("model: {kind: joint_flow}\ntraining: {batch_size: 8}\n")
    places = [str(given / inner) for inner in ("", "folder", "poses.npz", "file.yaml", "nothing", "file.yaml/x")]
    configs = ("joint_flow", "motion_prior", "refinement", "pipeline", "motions")
    shipped = {config: yaml.safe_load(find_config(config).read_text()) for config in configs}

    def trial(rng: random.Random, scratch: Path) -> None:
        monkeypatch.chdir(scratch)
        written = scratch / "own.yaml"
        tree: Any = shipped[rng.choice(list(shipped))]
        text = yaml.safe_dump(tree).encode()
        written.write_bytes(damaged(rng, text) if rng.random() < 0.3 else _dumped(changes(rng, tree)))
        arguments = []
        for _ in range(rng.randrange(6)):
            switch = rng.choice(SWITCHES[name])
            arguments += [switch, str(written)] if switch == "--config" and rng.random() < 0.7 else [switch]
            arguments += [_value(rng, places) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        if name in ("train", "refine", "pipeline", "clean", "score") and rng.random() < 0.7:
            arguments = ["--config", str(written), *arguments]
        if name == "export-model" and rng.random() < 0.8:
            arguments = ["--format", rng.choice(["torch", "onnx", "safetensors"]), *arguments]
        if name in ("clean", "score", "export-model") and rng.random() < 0.7:
            arguments = ["--output", rng.choice([*places, "out"]), *arguments]
        if name in ("clean", "score", "describe", "export-model", "record", "review", "export") and rng.random() < 0.7:
            arguments = [rng.choice(places), *arguments]
        script.main(arguments)

    survives(trial, tmp_path, also=(Reached, SystemExit))


def _dumped(tree: Any) -> bytes:
    try:
        return yaml.safe_dump(tree).encode("utf-8", "surrogatepass")
    except yaml.YAMLError:  # of arrays and tuples, which YAML does not hold
        return repr(tree).encode("utf-8", "surrogatepass")


@volume
def test_names_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for main in (*command._COMMANDS.values(), *command._BENCHMARKS.values()):
        monkeypatch.setattr(importlib.import_module(main), "main", _reached)
    monkeypatch.setattr(cli, "set_up_console", lambda: None)

    def trial(rng: random.Random, _: Path) -> None:
        words = [*command._COMMANDS, *command._BENCHMARKS, "benchmark", "--help", "-V", *WORDS]
        command._dispatch([rng.choice(words) for _ in range(rng.randrange(4))])

    survives(trial, tmp_path, also=(Reached,))
