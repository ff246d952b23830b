"""From YAML and overrides to a validated config, and one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field, ValidationError, model_validator

from pose_priors.configs.base import Config, UserError
from pose_priors.configs.load import CONFIG_DIR, available_configs, load_config
from pose_priors.configs.schema import ExperimentConfig, MotionExperimentConfig, load_experiment
from pose_priors.configs.validation import validate


class Circle(Config):
    kind: Literal["circle"]
    radius: float = Field(1.0, gt=0)


class Box(Config):
    kind: Literal["box", "crate"]
    width: float = 1.0
    corner: Circle | None = None
    holds: list[Annotated[Circle | Box, Field(discriminator="kind")]] = Field(default_factory=list)


class Training(Config):
    learning_rate: float = 1e-3
    batch_size: int = 16
    grad_clip_val: float | None = 1.0


class Data(Config):
    path: str | None = None
    trim: bool = False
    folders: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Data:
        if self.trim and self.path is None:
            raise ValueError("trim needs a path")
        return self


class Experiment(Config):
    model: Annotated[Circle | Box, Field(discriminator="kind")]
    data: Data = Data()
    training: Training = Training()
    trainer: dict[str, Any] = Field(default_factory=dict)


BASE = "model: {kind: circle}\n"


def _load(tmp_path: Path, text: str, *overrides: str) -> Experiment:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    return load_config(Experiment, str(path), overrides)


def _refused(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        _load(tmp_path, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("-1E5", -1e5), ("1e-4", 1e-4), ("1e4", 1e4), ("+2E+3", 2e3), ("1.5e-3", 1.5e-3), (".5e1", 5.0), ("1.e2", 100.0)],
)
def test_numbers_with_an_exponent(tmp_path: Path, text: str, value: float) -> None:
    for config in (
        _load(tmp_path, BASE + f"training: {{learning_rate: {text}}}\n"),
        _load(tmp_path, BASE, f"training.learning_rate={text}"),
    ):
        assert isinstance(config.training.learning_rate, float)
        assert config.training.learning_rate == value


@pytest.mark.parametrize("text", ["1e", "e5", "1e-3x", "v1e3", "'1e-3'"])
def test_what_only_looks_like_a_number_stays_text(tmp_path: Path, text: str) -> None:
    assert isinstance(_load(tmp_path, BASE + f"data: {{path: {text}}}\n").data.path, str)


def test_defaults_and_everything_given(tmp_path: Path) -> None:
    assert _load(tmp_path, BASE) == Experiment(model=Circle(kind="circle"))
    config = _load(
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
    config = _load(tmp_path, BASE + "training: {batch_size: 4, learning_rate: 0.5}\n", "training.batch_size=8", "model.radius=2.5")
    assert config.training == Training(batch_size=8, learning_rate=0.5)
    assert config.model.radius == 2.5
    assert _load(tmp_path, BASE, "training.batch_size=8", "training.batch_size=9").training.batch_size == 9
    assert _load(tmp_path, BASE, "data.path=a=b").data.path == "a=b"


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
            assert self._value(_load(tmp_path, self._yaml((spelling, 7))), canonical) == 7
            assert self._value(_load(tmp_path, BASE, f"{spelling}=7"), canonical) == 7

    def test_an_override_wins_over_the_file_whatever_the_spelling(self, tmp_path: Path, key: str, canonical: str) -> None:
        for in_file in (key, canonical):
            for spelling in (key, canonical):
                assert self._value(_load(tmp_path, self._yaml((in_file, 7)), f"{spelling}=9"), canonical) == 9

    def test_the_last_override_wins(self, tmp_path: Path, key: str, canonical: str) -> None:
        assert self._value(_load(tmp_path, BASE, f"{key}=3", f"{canonical}=5"), canonical) == 5
        assert self._value(_load(tmp_path, BASE, f"{canonical}=5", f"{key}=3"), canonical) == 3

    def test_a_file_with_both_has_to_agree_with_itself(self, tmp_path: Path, key: str, canonical: str) -> None:
        assert self._value(_load(tmp_path, self._yaml((key, 7), (canonical, 7))), canonical) == 7
        message = _refused(tmp_path, self._yaml((key, 7), (canonical, 8)))
        assert key in message
        assert canonical in message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (("training.lerning_rate=1",), ("training.lerning_rate", "did you mean learning_rate", "batch_size, grad_clip_val")),
        (("trainin.batch_size=1",), ("trainin", "did you mean training", "model, data, training, trainer")),
        (("model.radiu=1",), ("model.radiu:", "did you mean radius", "kind, radius")),
        (("model.kind=box", "model.widht=1"), ("model.widht:", "did you mean width", "kind, width, corner, holds")),
        (("model.kind=crate", "model.widht=1"), ("model.widht:", "did you mean width", "kind, width, corner, holds")),
        (("model.kind=box", "model.corner.kind=circle", "model.corner.size=1"), ("model.corner.size:", "kind, radius")),
        (("model={kind: box, holds: [{kind: circle}, {kind: box, wdth: 1}]}",), ("model.holds.1.wdth:", "mean width")),
        (("training.zzz=1",), ("training.zzz", "learning_rate, batch_size, grad_clip_val")),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_what_is_allowed(
    tmp_path: Path, overrides: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = _refused(tmp_path, BASE, *overrides)
    for part in ("experiment.yaml", "unknown key", *parts):
        assert part in message
    assert ".circle." not in message
    assert ".box." not in message
    if "zzz" in overrides[0]:
        assert "did you mean" not in message


def test_an_unknown_key_is_reported_before_what_it_causes(tmp_path: Path) -> None:
    message = _refused(tmp_path, "model: {kind: circle, raduis: -1, radius: -1}\ntraining: {batch_size: x}\n")
    assert "model.raduis: unknown key" in message


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("model: {kind: sphere}\n", "model.kind"),
        ("model: {radius: 1}\n", "model.kind"),
        ("model: {kind: 3}\n", "model.kind"),
        ("model: {kind: box, holds: [{kind: sphere}]}\n", "model.holds.0.kind"),
        ("model: {kind: box, holds: [{}]}\n", "model.holds.0.kind"),
    ],
)
def test_an_unknown_or_missing_kind_lists_those_allowed(tmp_path: Path, text: str, path: str) -> None:
    message = _refused(tmp_path, text)
    assert f"{path}: " in message
    assert ("sphere" in message) == ("sphere" in text)
    for kind in ("circle", "box", "crate"):
        assert kind in message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (("training.batch_size=many",), ("training.batch_size", "integer", "'many'")),
        (("training.batch_size=1.5",), ("training.batch_size", "integer", "1.5")),
        (("training.batch_size='8'",), ("training.batch_size", "integer", "'8'")),
        (("training.batch_size=true",), ("training.batch_size", "integer", "True")),
        (("training.learning_rate=fast",), ("training.learning_rate", "number", "'fast'")),
        (("training.learning_rate=.nan",), ("training.learning_rate", "finite")),
        (("training.learning_rate=.inf",), ("training.learning_rate", "finite")),
        (("model.radius=-1",), ("model.radius", "greater than 0", "-1")),
        (("data.trim=1",), ("data.trim", "boolean", "1")),
        (("training=5",), ("training", "5")),
        (("data.trim=true",), ("data", "trim needs a path")),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected_and_found(
    tmp_path: Path, overrides: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = _refused(tmp_path, BASE, *overrides)
    for part in ("experiment.yaml", *parts):
        assert part in message
    assert ".circle" not in message


def test_a_missing_section(tmp_path: Path) -> None:
    assert "model" in _refused(tmp_path, "training: {batch_size: 2}\n")


@pytest.mark.parametrize("override", ["training.batch_size", "=3", "", "training.batch_size:3"])
def test_a_malformed_override_says_how_one_looks(tmp_path: Path, override: str) -> None:
    message = _refused(tmp_path, BASE, override)
    assert "key=value" in message


def test_an_override_below_a_value_or_of_broken_yaml(tmp_path: Path) -> None:
    assert "training.batch_size" in _refused(tmp_path, BASE + "training: {batch_size: 2}\n", "training.batch_size.more=1")
    assert "YAML" in _refused(tmp_path, BASE, "data.path=[1, 2")
    assert "YAML" in _refused(tmp_path, BASE, "data={a: 1, a: 2}")


@pytest.mark.parametrize(
    "text", ["model: {kind: circle\n", "a: b: c\n", "\tmodel: x\n", "model: !!python/object/apply:os.getcwd []\n", "a: \x00\n"]
)
def test_text_that_is_not_yaml(tmp_path: Path, text: str) -> None:
    message = _refused(tmp_path, text)
    assert "experiment.yaml" in message
    assert "YAML" in message


@pytest.mark.parametrize(("text", "found"), [("", "NoneType"), ("- 1\n- 2\n", "list"), ("word\n", "str")])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, found: str) -> None:
    assert found in _refused(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(UserError, match=r"experiment\.yaml"):
        load_config(Experiment, str(path))


@pytest.mark.parametrize("text", ["model: {kind: circle}\nmodel: {kind: circle}\n", "model: {kind: circle, radius: 1, radius: 2}\n"])
def test_a_key_given_twice(tmp_path: Path, text: str) -> None:
    message = _refused(tmp_path, text)
    assert "twice" in message
    assert "model" in message or "radius" in message


def test_a_missing_config_lists_those_that_exist() -> None:
    with pytest.raises(UserError) as caught:
        load_config(Experiment, "joint_flwo")
    assert "joint_flwo" in str(caught.value)
    assert available_configs()
    for name in available_configs():
        assert name in str(caught.value)


def test_nothing_changes_after_validation(tmp_path: Path) -> None:
    config = _load(tmp_path, BASE)
    with pytest.raises(ValidationError):
        config.training.batch_size = 3
    with pytest.raises(ValidationError):
        config.model = None


def test_a_tree_is_validated_with_its_source_in_the_message() -> None:
    assert validate(Experiment, {"model": {"kind": "circle"}}, "here") == Experiment(model=Circle(kind="circle"))
    with pytest.raises(UserError, match=r"^here: model"):
        validate(Experiment, {}, "here")


def _of_a_prior(name: str) -> bool:
    return "model" in yaml.safe_load((CONFIG_DIR / f"{name}.yaml").read_text())


PRIORS = [name for name in available_configs() if _of_a_prior(name)]


@pytest.mark.parametrize("name", available_configs())
def test_every_config_that_is_shipped_is_valid(name: str) -> None:
    from pose_priors.refinement.batch.commands import PipelineConfig
    from pose_priors.refinement.batch.experiment import RefinementExperiment
    from pose_priors.refinement.instances.trackers import TrackersConfig

    if name in PRIORS:
        assert load_experiment(str(CONFIG_DIR / f"{name}.yaml")) == load_experiment(name)
        return
    schema = {"pipeline": PipelineConfig, "trackers": TrackersConfig}.get(name, RefinementExperiment)
    config = load_config(schema, name)
    assert load_config(schema, str(CONFIG_DIR / f"{name}.yaml")) == config


@pytest.mark.parametrize("name", PRIORS)
def test_the_config_of_a_prior_survives_its_checkpoint(name: str) -> None:
    config = load_experiment(name)
    assert type(config).model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("name", PRIORS)
def test_unknown_keys_inside_each_kind_of_prior_list_what_that_kind_allows(name: str) -> None:
    fields = type(load_experiment(name).model).model_fields
    with pytest.raises(UserError) as caught:
        load_experiment(name, ["model.hiden=3"])
    message = str(caught.value)
    assert "model.hiden: unknown key" in message
    assert ", ".join(fields) in message
    assert ("did you mean hidden" in message) == ("hidden" in fields)


def test_the_kind_of_the_model_says_what_the_data_are() -> None:
    assert type(load_experiment("joint_flow")) is ExperimentConfig
    assert type(load_experiment("motion_prior")) is MotionExperimentConfig
    with pytest.raises(UserError, match=r"data\.num_poses: unknown key; did you mean num_clips\? allowed here: path, train, .*, num_clips"):
        load_experiment("motion_prior", ["data.num_poses=5"])
    with pytest.raises(UserError, match=r"data\.num_clips: unknown key; did you mean"):
        load_experiment("joint_flow", ["data.num_clips=5"])


@pytest.mark.parametrize("override", ["model.kind=motion_flow", "model.kind=[1]", "model.kind=null", "model={hidden: 3}", "model=3"])
def test_a_kind_of_neither_sort_lists_all_kinds(override: str) -> None:
    for name in ("joint_flow", "motion_prior"):
        with pytest.raises(UserError, match=r"motion_prior\.yaml|joint_flow\.yaml") as caught:
            load_experiment(name, [override])
        message = str(caught.value)
        assert "\n" not in message
        if "=3" not in override.replace("{hidden: 3}", ""):
            assert all(kind in message for kind in ("gaussian", "joint_flow", "hand_vae", "motion_cvae"))


def test_the_other_spelling_is_found_in_an_override_of_a_whole_section() -> None:
    config = load_config(ExperimentConfig, "joint_flow", ["data={batch_size: 8, num_poses: 50}"])
    assert (config.training.batch_size, config.data.num_poses) == (8, 50)


def test_an_override_may_begin_with_a_star() -> None:
    """YAML would take it for an alias."""
    from pose_priors.refinement.batch.experiment import RefinementExperiment

    assert load_config(RefinementExperiment, "refinement", ["input.pattern=*jump*"]).input.pattern == "*jump*"
