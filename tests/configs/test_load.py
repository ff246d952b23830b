"""From YAML and overrides to a validated config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_cases import BASE, Box, Circle, Data, Experiment, Training, load, refused
from pydantic import ValidationError

from pose_priors.configs.load import load_config
from pose_priors.configs.schema import ExperimentConfig


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("-1E5", -1e5), ("1e-4", 1e-4), ("1e4", 1e4), ("+2E+3", 2e3), ("1.5e-3", 1.5e-3), (".5e1", 5.0), ("1.e2", 100.0)],
)
def test_numbers_with_an_exponent(tmp_path: Path, text: str, value: float) -> None:
    for config in (
        load(tmp_path, BASE + f"training: {{learning_rate: {text}}}\n"),
        load(tmp_path, BASE, f"training.learning_rate={text}"),
    ):
        assert isinstance(config.training.learning_rate, float)
        assert config.training.learning_rate == value


@pytest.mark.parametrize("text", ["1e", "e5", "1e-3x", "v1e3", "'1e-3'", "010", "007"])
def test_what_only_looks_like_a_number_stays_text(tmp_path: Path, text: str) -> None:
    assert isinstance(load(tmp_path, BASE + f"data: {{path: {text}}}\n").data.path, str)


def test_defaults_and_everything_given(tmp_path: Path) -> None:
    assert load(tmp_path, BASE) == Experiment(model=Circle(kind="circle"))
    config = load(
        tmp_path,
        "model: {kind: crate, width: 2, corner: {kind: circle, radius: 3}}\ndata: {path: a, trim: true}\n",
        "trainer.devices=2",
        "trainer.strategy=ddp",
        "data.path=folder/*.npz",
        "training.grad_clip_val=null",
    )
    assert config.model == Box(kind="crate", width=2.0, corner=Circle(kind="circle", radius=3.0))
    assert config.data == Data(path="folder/*.npz", trim=True)
    assert config.trainer == {"devices": 2, "strategy": "ddp"}
    assert config.training.grad_clip_val is None


def test_an_override_changes_one_key_and_makes_sections_that_are_missing(tmp_path: Path) -> None:
    config = load(tmp_path, BASE + "training: {batch_size: 4, learning_rate: 0.5}\n", "training.batch_size=8", "model.radius=2.5")
    assert config.training == Training(batch_size=8, learning_rate=0.5)
    assert config.model.radius == 2.5
    assert load(tmp_path, BASE, "training.batch_size=8", "training.batch_size=9").training.batch_size == 9
    assert load(tmp_path, BASE, "data.path=a=b").data.path == "a=b"


@pytest.mark.parametrize(
    ("key", "canonical"), [("data.batch_size", "training.batch_size"), ("training.gradient_clip_val", "training.grad_clip_val")]
)
class TestTwoSpellingsOfOneField:
    def _value(self, config: Experiment, canonical: str) -> Any:
        return getattr(config.training, canonical.split(".")[1])

    def _yaml(self, *entries: tuple[str, Any]) -> str:
        sections: dict[str, list[str]] = {}
        for key, value in entries:
            section, name = key.split(".")
            sections.setdefault(section, []).append(f"{name}: {value}")
        return BASE + "".join(f"{section}: {{{', '.join(lines)}}}\n" for section, lines in sections.items())

    def test_both_are_read(self, tmp_path: Path, key: str, canonical: str) -> None:
        for spelling in (key, canonical):
            assert self._value(load(tmp_path, self._yaml((spelling, 7))), canonical) == 7
            assert self._value(load(tmp_path, BASE, f"{spelling}=7"), canonical) == 7

    def test_an_override_wins_over_the_file_whatever_the_spelling(self, tmp_path: Path, key: str, canonical: str) -> None:
        for in_file in (key, canonical):
            for spelling in (key, canonical):
                assert self._value(load(tmp_path, self._yaml((in_file, 7)), f"{spelling}=9"), canonical) == 9

    def test_the_last_override_wins(self, tmp_path: Path, key: str, canonical: str) -> None:
        assert self._value(load(tmp_path, BASE, f"{key}=3", f"{canonical}=5"), canonical) == 5
        assert self._value(load(tmp_path, BASE, f"{canonical}=5", f"{key}=3"), canonical) == 3

    def test_a_file_with_both_has_to_agree_with_itself(self, tmp_path: Path, key: str, canonical: str) -> None:
        assert self._value(load(tmp_path, self._yaml((key, 7), (canonical, 7))), canonical) == 7
        message = refused(tmp_path, self._yaml((key, 7), (canonical, 8)))
        assert key in message
        assert canonical in message


def test_nothing_changes_after_validation(tmp_path: Path) -> None:
    config = load(tmp_path, BASE)
    with pytest.raises(ValidationError):
        config.training.batch_size = 3
    with pytest.raises(ValidationError):
        config.model = None


def test_the_other_spelling_is_found_in_an_override_of_a_whole_section() -> None:
    config = load_config(ExperimentConfig, "joint_flow", ["data={batch_size: 8, num_poses: 50}"])
    assert (config.training.batch_size, config.data.num_poses) == (8, 50)


def test_an_override_may_begin_with_a_star() -> None:
    """YAML would take it for an alias."""
    from pose_priors.refinement.batch.experiment import RefinementExperiment

    assert load_config(RefinementExperiment, "refinement", ["input.pattern=*jump*"]).input.pattern == "*jump*"
