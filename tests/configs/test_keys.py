"""What `--help` says of sections and keys, against what configurations take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import clean
import pipeline
import refine
import train
from pose_priors.configs.keys import about_keys
from pose_priors.configs.load import available_configs, load_config
from pose_priors.configs.schema import ExperimentConfig, MotionExperimentConfig, load_experiment
from pose_priors.priors.training.config import TrainingConfig
from pose_priors.refinement.batch.commands import PipelineConfig
from pose_priors.refinement.batch.experiment import RefinementExperiment

ROOT = Path(__file__).parents[2]


def shipped(text: str) -> list[str]:
    found = re.search(r"YAMLs that come with it: (.*)\nWhat", text, re.DOTALL)
    assert found is not None
    return re.split(r",\s+", found[1])


def test_sections_name_their_keys_and_kinds() -> None:
    text = about_keys(ExperimentConfig, MotionExperimentConfig, pages=("docs/training.md",))
    sections = dict(re.findall(r"^  (or \w+|\w+)\s+(\S.*(?:\n {16}\S.*)*)", text, re.MULTILINE))
    assert sections["training"].split() == list(TrainingConfig.model_fields)
    assert "joint_flow" in sections["model"]
    assert "num_poses" in sections["data"].split()
    assert "motion_flow" in sections["or model"]
    assert "num_clips" in sections["or data"].split()
    assert sections["alone"] == "seed"
    assert "or training" not in sections  # told once
    assert text.endswith("What each key means: docs/training.md")


def test_yamls_are_those_that_can_be_loaded() -> None:
    named = shipped(about_keys(ExperimentConfig, MotionExperimentConfig, pages=("docs",)))
    assert {"joint_flow", "motion_flow"} <= set(named)
    for name in named:
        load_experiment(name)
    assert shipped(about_keys(RefinementExperiment, pages=("docs",))) == ["refinement"]
    of_pipeline = shipped(about_keys(PipelineConfig, pages=("docs",)))
    for name in of_pipeline:
        load_config(PipelineConfig, name)
    rest = set(available_configs()) - {*named, *of_pipeline, "refinement"}
    assert rest == {"motions", "trackers"}


@pytest.mark.parametrize("script", [train, refine, clean, pipeline])
def test_help_ends_with_pages_that_exist(script: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script.main(["--help"])
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 120
    pages = re.search(r"What each key means: (.*)", said)
    assert pages is not None
    for page in pages[1].split(", "):
        assert (ROOT / page).is_file()
