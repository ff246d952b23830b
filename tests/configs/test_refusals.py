"""One clear line for every mistake in a config, blamed on the file or on the override that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from config_cases import BASE, Circle, Experiment, refused

from pose_priors.configs.base import Config, UserError, counted, reason_of
from pose_priors.configs.load import available_configs, load_config
from pose_priors.configs.validation import Source, validate


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (("training.lerning_rate=1",), ("did you mean learning_rate", "batch_size, grad_clip_val")),
        (("trainin.batch_size=1",), (": trainin: ", "did you mean training", "model, data, training, trainer")),
        (("model.radiu=1",), ("did you mean radius", "kind, radius")),
        (("model.kind=box", "model.widht=1"), ("did you mean width", "kind, width, corner, holds")),
        (("model.kind=crate", "model.widht=1"), ("did you mean width", "kind, width, corner, holds")),
        (("model.kind=box", "model.corner.kind=circle", "model.corner.size=1"), ("kind, radius",)),
        (("model={kind: box, holds: [{kind: circle}, {kind: box, wdth: 1}]}",), (": model.holds.1.wdth:", "mean width")),
        (("training.zzz=1",), ("learning_rate, batch_size, grad_clip_val",)),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_what_is_allowed(
    tmp_path: Path, overrides: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = refused(tmp_path, BASE, *overrides)
    assert message.startswith(f"--override {overrides[-1]}: ")
    for part in ("unknown key", *parts):
        assert part in message
    assert "experiment.yaml" not in message
    assert ".circle." not in message
    assert ".box." not in message
    if "zzz" in overrides[0]:
        assert "did you mean" not in message


def test_an_unknown_key_is_reported_before_what_it_causes(tmp_path: Path) -> None:
    message = refused(tmp_path, "model: {kind: circle, raduis: -1, radius: -1}\ntraining: {batch_size: x}\n")
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
    message = refused(tmp_path, text)
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
        (("data.trim=1",), ("data.trim", "true or false", "1")),
        (("training=5",), ("dictionary", "5")),
        (("data.trim=true",), (": data: ", "trim needs a path")),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected_and_found(
    tmp_path: Path, overrides: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = refused(tmp_path, BASE, *overrides)
    assert message.startswith(f"--override {overrides[-1]}: ")
    for part in parts:
        assert part in message
    assert "experiment.yaml" not in message
    assert ".circle" not in message


def test_blame_goes_to_what_holds_the_mistake(tmp_path: Path) -> None:
    wrong = BASE + "training: {batch_size: x}\n"
    assert refused(tmp_path, wrong).startswith(f"{tmp_path}/experiment.yaml: training.batch_size: ")
    assert refused(tmp_path, wrong, "data.trim=false").startswith(f"{tmp_path}/experiment.yaml: training.batch_size: ")
    # the last one counts, and the other spelling is quoted as it was given
    assert refused(tmp_path, wrong, "training.batch_size=3", "data.batch_size=y").startswith(
        "--override data.batch_size=y: training.batch_size:"
    )
    # a section of the file that an override has made impossible
    both = refused(tmp_path, BASE + "data: {trim: true, path: a}\n", "data.path=null")
    assert both.startswith(f"{tmp_path}/experiment.yaml with --override data.path=null: data: trim needs a path")
    assert refused(tmp_path, "data: {}\n", "training.batch_size=3").startswith(f"{tmp_path}/experiment.yaml: model: ")


def test_part_of_a_list_is_given_with_the_whole(tmp_path: Path) -> None:
    text = "model: {kind: box, holds: [{kind: circle}]}\n"
    message = refused(tmp_path, text, "model.holds.0.radius=2")
    assert message == "--override model.holds.0.radius=2: model.holds is a list, which is given as a whole, model.holds=[...]"
    assert refused(tmp_path, text, "model.kind.name=2").endswith(": model.kind is a value, not a section")


def test_what_is_quoted_is_short_and_shown_not_obeyed(tmp_path: Path) -> None:
    message = refused(tmp_path, BASE, "training.batch_size=" + "x" * 100_000)
    assert len(message) < 600
    message = refused(tmp_path, BASE, 'data.trim="\\e[31m\\nerror: all is well"')
    assert "\x1b" not in message
    assert "\\x1b[31m\\nerror: all is well" in message
    assert "\\n" in refused(tmp_path, BASE, "data.\n\x1b[2J=1")


def test_one_line_stays_one_line() -> None:
    assert str(UserError("a\nb\x1b[2Jc\udcff\u2028")) == "a\\nb\\x1b[2Jc\\udcff\\u2028"
    assert str(UserError("häuser/\N{SNOWMAN}.npz")) == "häuser/\N{SNOWMAN}.npz"
    assert len(str(UserError("x" * 1_000_000))) < 5000


def test_a_missing_section(tmp_path: Path) -> None:
    assert "model" in refused(tmp_path, "training: {batch_size: 2}\n")


@pytest.mark.parametrize("override", ["training.batch_size", "=3", "", "training.batch_size:3"])
def test_a_malformed_override_says_how_one_looks(tmp_path: Path, override: str) -> None:
    message = refused(tmp_path, BASE, override)
    assert "key=value" in message


def test_an_override_below_a_value_or_of_broken_yaml(tmp_path: Path) -> None:
    assert "training.batch_size" in refused(tmp_path, BASE + "training: {batch_size: 2}\n", "training.batch_size.more=1")
    assert "YAML" in refused(tmp_path, BASE, "data.path=[1, 2")
    assert "YAML" in refused(tmp_path, BASE, "data={a: 1, a: 2}")


@pytest.mark.parametrize(
    "text", ["model: {kind: circle\n", "a: b: c\n", "\tmodel: x\n", "model: !!python/object/apply:os.getcwd []\n", "a: \x00\n"]
)
def test_text_that_is_not_yaml(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, text)
    assert "experiment.yaml" in message
    assert "YAML" in message


@pytest.mark.parametrize(("text", "found"), [("", "NoneType"), ("- 1\n- 2\n", "list"), ("word\n", "str")])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, found: str) -> None:
    assert found in refused(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(UserError, match=r"experiment\.yaml"):
        load_config(Experiment, str(path))


@pytest.mark.parametrize("text", ["model: {kind: circle}\nmodel: {kind: circle}\n", "model: {kind: circle, radius: 1, radius: 2}\n"])
def test_a_key_given_twice(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, text)
    assert "twice" in message
    assert "model" in message or "radius" in message


def test_a_missing_config_lists_those_that_exist() -> None:
    with pytest.raises(UserError) as caught:
        load_config(Experiment, "joint_flwo")
    assert "joint_flwo" in str(caught.value)
    assert available_configs()
    for name in available_configs():
        assert name in str(caught.value)


def test_a_tree_is_validated_with_its_source_in_the_message() -> None:
    assert validate(Experiment, {"model": {"kind": "circle"}}, Source("here")) == Experiment(model=Circle(kind="circle"))
    with pytest.raises(UserError, match=r"^here: model"):
        validate(Experiment, {}, Source("here"))


class _Several(Config):
    either: Literal["auto"] | bool = "auto"
    sizes: int | list[float] | None = None
    weights: dict[str, float] | None = None


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"either": "maybe"}, "either: input should be 'auto' or true or false, found 'maybe'"),
        ({"sizes": "big"}, "sizes: input should be a valid integer or a valid list, found 'big'"),
        ({"weights": {"either": "x"}}, "weights.either: input should be a valid number, found 'x'"),
    ],
)
def test_all_that_a_key_may_be_is_named(tree: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        validate(_Several, tree, Source("some.yaml"))
    assert str(error.value) == f"some.yaml: {message}"


def test_messages_say_what_an_error_means_and_count_one_as_one() -> None:
    assert reason_of(KeyError("root")) == "no 'root' in it"
    assert reason_of(KeyError("Unable to open the group")) == "Unable to open the group"
    assert reason_of(ValueError("two\nlines")) == "two lines"
    assert reason_of(ValueError()) == "ValueError"
    assert [counted(1, "mask"), counted(2, "mask"), counted(1000, "mask")] == ["1 mask", "2 masks", "1,000 masks"]
    assert [counted(number, "person", "people") for number in (1, 0)] == ["1 person", "0 people"]
