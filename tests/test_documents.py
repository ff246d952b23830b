"""`docs/from_the_documents.md`, row by row: what it says is here is here."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_parsers import parser_of

import train
from pose_priors.configs.base import UserError, flattened
from pose_priors.configs.load import load_config
from pose_priors.configs.schema import load_experiment
from pose_priors.configs.yaml_text import parse_yaml
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.refinement import run_refinement
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.instances.trackers import TrackersConfig

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "from_the_documents.md"
SCRIPTS = {
    "train": "train",
    "evaluate": "evaluate",
    "refine": "refine",
    "pipeline": "pipeline",
    "review": "pose_priors.refinement.show.review",
    "record": "pose_priors.refinement.show.record",
    "export": "pose_priors.refinement.export.__main__",
    "instances": "pose_priors.refinement.instances.__main__",
}
NUM_ROWS, NUM_TRIED = 172, 124  # at least


def rows() -> list[tuple[str, str, str]]:
    """What a document says, what it is here, and how that is tried, of each row."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]) for line in lines]
    return [(row[0], row[1], row[2]) for row in cells if row != ("they say", "here", "tried")]


ROWS = rows()


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def load(name: str, overrides: list[str]) -> Any:
    """A configuration of any sort."""
    stem = Path(name).stem
    schema = {"refinement": RefinementExperiment, "pipeline": PipelineConfig, "vggt": PipelineConfig, "trackers": TrackersConfig}.get(stem)
    return load_experiment(name, overrides) if schema is None else load_config(schema, name, overrides)


def try_command(here: str) -> int:
    commands = [text for text in quoted(here) if re.match(r"(python \w+\.py|pose-priors) ", text)]
    for command in commands:
        words = shlex.split(command)
        script = words[1].removesuffix(".py")
        options = parser_of(SCRIPTS[script]).parse_args(words[2:])
        if script in ("train", "refine", "pipeline"):
            load(options.config, options.override)
    return len(commands)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what is around it is no package
        return False


def try_import(here: str) -> int:
    names = [text for text in quoted(here) if text.startswith("pose_priors.")]
    for name in names:
        parts = name.split(".")
        known = next(n for n in range(len(parts), 0, -1) if _is_module(".".join(parts[:n])))
        found: Any = importlib.import_module(".".join(parts[:known]))
        for part in parts[known:]:
            found = getattr(found, part)
    return len(names)


def try_key(here: str) -> int:
    given = 0
    for text in quoted(here):
        name, *keys = text.split()
        if not keys or not all("." in key.partition("=")[0] for key in keys):
            continue
        settings = flattened(load(name, []).model_dump(mode="json"))
        for key in keys:
            path, found, value = key.partition("=")
            assert path in settings, key
            assert not found or settings[path] == parse_yaml(value), key
            given += 1
    return given


def try_file(here: str) -> int:
    files = [text for text in quoted(here) if re.fullmatch(r"[\w/]+\.(md|txt|yaml)", text)]
    assert all((ROOT / file).is_file() for file in files)
    return len(files)


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What a training logs."""
    folder = tmp_path_factory.mktemp("training")
    small = ["data.path=built_in", "data.num_poses=300", "training.max_epochs=1", "training.batch_size=100", "logging.logger=csv"]
    small += [f"logging.log_dir={folder / 'logs'}", f"logging.checkpoint_dir={folder / 'ckpt'}", "trainer.enable_progress_bar=false"]
    train.main(["--config", "gaussian_prior", "--override", *small])
    (table,) = folder.rglob("metrics.csv")
    return set(next(csv.reader(table.open())))


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of stage 5 of a refinement in a step each; the folder of stage 4 that it is told of does not exist."""
    clip, _ = write_builtin_scene(tmp_path_factory.mktemp("results") / "clip", 0)
    names = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
    stages = [clip / name for name in ("no_such_folder", "1_camera_estimation", "2_tracking", "3_pose_estimation", "5_refinement")]
    run_refinement(*stages, config={f"{name}_iterations": 1 for name in names}, trainer={"enable_progress_bar": False})
    return stages[-1]


WAYS: dict[str, Callable[[str], int]] = {"command": try_command, "import": try_import, "key": try_key, "file": try_file}


@pytest.mark.parametrize(("said", "here", "tried"), [row for row in ROWS if row[2] in WAYS], ids=lambda cell: cell[:40])
def test_what_is_here_is_here(said: str, here: str, tried: str) -> None:
    assert WAYS[tried](here) > 0, f"nothing to try by {tried} in: {here}"


def test_what_a_training_logs(tags: set[str]) -> None:
    for _, here, tried in ROWS:
        if tried == "tag":
            wanted = {text for text in quoted(here) if text.startswith(("val/", "best/"))}
            assert wanted
            assert wanted <= tags


def test_what_a_refinement_writes(refined: Path) -> None:
    for _, here, tried in ROWS:
        if tried != "written":
            continue
        wanted = [text for text in quoted(here) if ".json" in text or ".npz" in text]
        assert wanted
        for text in wanted:
            name, _, keys = text.partition(":")
            (file, *_) = refined.glob(name)
            content = json.loads(file.read_text()) if keys else {}
            for key in filter(None, keys.split(".")):
                content = content[key]


def test_the_page_is_whole() -> None:
    assert {tried for _, _, tried in ROWS} == {"", "tag", "written", *WAYS}
    assert len(ROWS) >= NUM_ROWS
    assert sum(bool(tried) for _, _, tried in ROWS) >= NUM_TRIED
    assert all(said and here for said, here, _ in ROWS)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([\w.]+)(?:#[\w-]+)?\)", PAGE.read_text())
    assert links
    assert all((PAGE.parent / link).is_file() for link in links)


@pytest.mark.parametrize(
    ("way", "here"),
    [
        ("import", "`pose_priors.priors.gaussian.Gausian`"),
        ("command", "`python train.py --config joint_flow --overide a=1`"),
        ("command", "`python train.py --config joint_flow --override model.hiden=1`"),
        ("key", "`joint_flow model.hidden=127`"),
        ("key", "`joint_flow model.hiden`"),
        ("file", "`configs/no_such.yaml`"),
    ],
)
def test_a_row_that_is_wrong_is_found(way: str, here: str) -> None:
    with pytest.raises((UserError, AttributeError, AssertionError)):
        WAYS[way](here)
