"""Folders of weights wherever the path of a prior may stand, and results that know by which weights they were made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from weight_cases import checkpoint_of, content_of, prior_of

from pose_priors.configs.base import UserError
from pose_priors.priors.weights.folder import CARD, CONFIG, WEIGHTS, write_folder
from pose_priors.priors.weights.source import name_of
from pose_priors.refinement.batch.digest import config_digest
from pose_priors.refinement.batch.experiment import MotionPriorConfig, PriorConfig, RefinementExperiment
from pose_priors.refinement.given.priors import load_priors
from pose_priors.refinement.motions.config import LearnedConfig
from pose_priors.refinement.motions.learned.load import digest_of_priors, load_learned


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Paths of a prior of poses and of one of clips."""
    for name in ("gaussian-full", "motion_flow"):
        (tmp_path / name).mkdir()
        write_folder(prior_of(name), content_of(name), tmp_path / name)
    return {"body": str(tmp_path / "gaussian-full"), "motion": str(tmp_path / "motion_flow")}


def test_the_refinement_and_the_cleaning_take_them(folders: dict[str, str]) -> None:
    found = load_priors(body=folders["body"], motion=folders["motion"])
    assert (type(found.body).__name__, type(found.motion).__name__) == ("Gaussian", "MotionFlow")
    with pytest.raises(UserError, match=r"motion_prior\.path=.*a pose prior"):
        load_priors(motion=folders["body"])
    learned = load_learned(LearnedConfig(motion=folders["motion"]))
    assert type(learned.motion).__name__ == "MotionFlow"


def _touched(path: Path) -> None:
    """Other bytes that mean the same."""
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))


def test_results_know_weights_by_content(folders: dict[str, str], tmp_path: Path) -> None:
    of_files = LearnedConfig(**folders)
    of_scenes = RefinementExperiment(prior=PriorConfig(body=folders["body"]), motion_prior=MotionPriorConfig(path=folders["motion"]))
    before = digest_of_priors(of_files), config_digest(of_scenes)
    for folder in folders.values():
        (Path(folder) / CARD).write_text("a card says nothing of the outcome")
    assert (digest_of_priors(of_files), config_digest(of_scenes)) == before
    moved = Path(folders["body"]).rename(tmp_path / "elsewhere")
    there = {"body": str(moved / WEIGHTS), "motion": folders["motion"]}
    assert digest_of_priors(LearnedConfig(**there)) == before[0]
    assert config_digest(of_scenes.model_copy(update={"prior": PriorConfig(body=there["body"])})) == before[1]
    _touched(moved / CONFIG)
    assert digest_of_priors(LearnedConfig(**there)) != before[0]
    assert config_digest(of_scenes.model_copy(update={"prior": PriorConfig(body=there["body"])})) != before[1]
    with pytest.raises(UserError, match=r"prior\.motion=/none: cannot be read"):
        digest_of_priors(LearnedConfig(motion="/none"))


def test_names_in_tables(folders: dict[str, str], tmp_path: Path) -> None:
    checkpoint = checkpoint_of("gaussian-full", tmp_path)
    assert name_of(checkpoint) == tmp_path.name
    assert name_of(folders["body"]) == name_of(Path(folders["body"]) / WEIGHTS) == "gaussian-full"
    assert name_of("hf://someone/priors@v1") == "priors@v1"
