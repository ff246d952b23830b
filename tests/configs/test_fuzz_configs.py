"""Random configs and overrides, the same on every run: a config, or one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from config_cases import Experiment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.configs.schema import load_experiment
from pose_priors.configs.yaml_text import parse_yaml

fuzzed = settings(
    max_examples=400, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

WORDS = [
    *("kind", "circle", "box", "radius", "width", "corner", "holds", "model", "data", "training", "trainer", "path", "trim", "folders"),
    *(
        "batch_size",
        "learning_rate",
        "grad_clip_val",
        "gradient_clip_val",
        "true",
        "null",
        "~",
        ".nan",
        ".inf",
        "1e400",
        "-0",
        "0x1_",
        "1e5",
    ),
    *(
        "2020-13-45",
        "12:30:45",
        str(2**70),
        "-1",
        "0.5",
        "<<",
        "=",
        "*a",
        "&a",
        "*b",
        "&b",
        "!!str",
        "!!int",
        "!!binary",
        "!foo",
        "%YAML 9",
    ),
    *("[", "]", "{", "}", ", ", ": ", ":", "- ", "? ", "\n", "\n  ", "|\n", ">-\n ", '"', "'", "#", "---\n", "...\n", "\t", " ", "@", "`"),
]
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=40).map("".join)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
names = st.sampled_from(WORDS[:20])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12)
keys = st.lists(names, min_size=1, max_size=4).map(".".join)
overrides = st.lists(st.builds("{}={}".format, keys, texts | values.map(repr)) | texts, max_size=3)


def complaint(call: Callable[[], object], kind: type[Exception] = UserError) -> str:
    """What is said of the input, if it is refused."""
    try:
        call()
    except kind as error:
        return str(error)
    return ""


def is_config_or_one_line(path: Path, given_overrides: list[str]) -> None:
    said = complaint(lambda: load_config(Experiment, str(path), given_overrides))
    assert said.isprintable()
    assert len(said) < 5000


@fuzzed
@given(st.binary(max_size=60) | texts.map(lambda text: text.encode("utf-8", "surrogatepass")), overrides)
def test_any_file(tmp_path: Path, content: bytes, given_overrides: list[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    is_config_or_one_line(path, given_overrides)


@fuzzed
@given(st.dictionaries(names, values, max_size=5), overrides)
def test_any_tree_of_known_keys(tmp_path: Path, tree: dict[str, object], given_overrides: list[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps({"model": {"kind": "circle"}} | tree))  # JSON is YAML
    is_config_or_one_line(path, given_overrides)


@fuzzed
@given(texts)
def test_any_text(text: str) -> None:
    assert "\n" not in complaint(lambda: parse_yaml(text), ValueError)


FIELDS = ["seed", "model", "model.kind", "model.hidden", "model.K", "data", "data.path", "data.val_fraction", "data.num_poses", "training"]
FIELDS += ["training.batch_size", "training.learning_rate", "trainer", "trainer.devices", "slurm.options", "logging", "logging.logger"]


@settings(fuzzed, max_examples=300)
@given(st.sampled_from(["joint_flow", "motion_prior"]), st.lists(st.tuples(st.sampled_from(FIELDS), texts | values.map(repr)), max_size=3))
def test_any_override_of_an_experiment(name: str, given_overrides: list[tuple[str, str]]) -> None:
    assert complaint(lambda: load_experiment(name, [f"{key}={value}" for key, value in given_overrides])).isprintable()


def test_the_fuzz_reaches_both_outcomes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {kind: circle}")
    assert load_config(Experiment, str(tmp_path / "a.yaml"), ["model.radius=2"]).model.radius == 2
    with pytest.raises(UserError):
        load_config(Experiment, str(tmp_path / "a.yaml"), ["model.radius=x"])
