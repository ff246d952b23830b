"""Configs that nobody means well: every one is a value or one line, soon and in little memory."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest
from config_cases import BASE, load, refused

from pose_priors.configs.base import UserError
from pose_priors.configs.load import find_config, read_config
from pose_priors.configs.schema import load_experiment
from pose_priors.configs.yaml_text import MOST_BYTES, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases counted"),
        (MERGE_BOMB, "aliases counted"),
        ("a: &a [*a]", "inside what it stands for"),
        ("a: &a {b: *a}", "inside what it stands for"),
        ("a: &a {<<: *a}", "inside what it stands for"),
        ("[" * 50_000, "nested deeper"),
        ("{a: " * 20_000, "nested deeper"),
        ("- " * 50_000, "nested deeper"),
        ("? " * 50_000, "nested deeper"),
        ("\n".join(" " * i + "a:" for i in range(400)), "nested deeper"),
        ("a: !!python/object/apply:os.system [true]", "tag"),
        ("a: !!binary YQ==", "tag"),
        ("a: !!timestamp 2020-13-45", "tag"),
        ("a: !!set {b, c}", "tag"),
        ("a: !foo 1", "tag"),
        ("a: *b", "undefined alias"),
        ("a: 1\nb: 2\na: 3", "the key a stands twice"),
        ("a: " + "9" * 5000, "digits"),
        ("a: 1\n---\na: 2", "single document"),
        ("? [a, b]\n: c", "unhashable"),
        ("a: \x07", "not allowed"),
        ("x" * (MOST_BYTES + 1), "longer than"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ValueError, match=says) as caught:
        parse_yaml(text)
    assert time.process_time() - started < 5
    assert tracemalloc.get_traced_memory()[1] < 2e8
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-13-45", "2020-13-45"),
        ("2020-12-24", "2020-12-24"),
        ("2020-12-24 10:00:00", "2020-12-24 10:00:00"),
        ("4:00:00", "4:00:00"),
        ("=", "="),
        ("08", "08"),
        ("0x", "0x"),
        ("-_", "-_"),
        ("0x1f", 31),
        ("1_000", 1000),
        (str(2**70), 2**70),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("!!str 5", "5"),
        ("null", None),
        ("true", True),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("{a: &x {k: 1, l: 2}, b: {<<: *x, l: 3}}", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
    ],
)
def test_what_is_read(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_two_places_never_share_a_value() -> None:
    tree = parse_yaml("a: &x {k: [1]}\nb: *x\nc: {d: *x}")
    assert tree["a"] is not tree["b"]
    assert tree["a"]["k"] is not tree["c"]["d"]["k"]


def test_an_override_changes_one_place_though_an_alias_stands_for_two(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: &x {k: 1}\ntrainer: *x\n")
    tree, _ = read_config(str(tmp_path / "a.yaml"), ["data.k=2"])
    assert tree == {"data": {"k": 2}, "trainer": {"k": 1}}


def test_many_keys_take_linear_time(tmp_path: Path) -> None:
    text = "trainer: {" + ", ".join(f"k{i}: {i}" for i in range(9000)) + "}\n"
    started = time.process_time()
    assert len(load(tmp_path, BASE + text).trainer) == 9000
    assert time.process_time() - started < 8
    assert "larger than" in refused(tmp_path, BASE + "".join(f"key_{i}: {i}\n" for i in range(30_000)))


def test_files_that_are_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "huge.yaml").write_bytes(b"a" * (MOST_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes("modèle: 1".encode("latin1"))
    with pytest.raises(UserError, match="no regular file"):
        read_yaml(tmp_path / "fifo.yaml")
    with pytest.raises(UserError, match="a folder"):
        read_yaml(tmp_path / "folder.yaml")
    with pytest.raises(UserError, match="larger than 128 KiB"):
        read_yaml(tmp_path / "huge.yaml")
    with pytest.raises(UserError, match="codec can't decode"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "pointer.yaml").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(UserError, match=r"pointer\.yaml: a pointer of Git LFS.*git lfs pull"):
        read_yaml(tmp_path / "pointer.yaml")
    for name in ("fifo.yaml", "folder.yaml"):
        with pytest.raises(UserError, match=r"no regular file, and pose-priors brings none of that name; it brings: .*joint_flow"):
            find_config(str(tmp_path / name))
    for name in ("x" * 5000, "a\0b", "", "/dev/zero", "..", "a\nb"):
        with pytest.raises(UserError, match="it brings: ") as caught:
            find_config(name)
        assert str(caught.value).isprintable()
    # a folder of that name beside the user does not hide the config
    monkeypatch.chdir(tmp_path)
    (tmp_path / "joint_flow").mkdir()
    assert find_config("joint_flow").suffix == ".yaml"


@pytest.mark.parametrize(
    "override",
    [
        "seed=2020-13-45",
        "seed=5000000000",
        f"seed={2**70}",
        "seed=.nan",
        "seed=-1",
        "seed=1e400",
        "seed={a: &a [*a]}",
        "seed=!!binary YQ==",
        "seed.a=1",
        "seed=" + "[" * 5000,
        "data.num_poses=1000000000000",
        "." * 50 + "=1",
        "a" + ".a" * 3000 + "=1",
        "trainer=" + "{a: " * 200,
    ],
)
def test_overrides_that_nobody_means_well(override: str) -> None:
    with pytest.raises(UserError, match=r"^--override ") as caught:
        load_experiment("joint_flow", [override])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_seeds_are_those_of_numpy_and_torch() -> None:
    assert load_experiment("joint_flow", [f"seed={2**32 - 1}"]).seed == 2**32 - 1
    with pytest.raises(UserError, match="less than 4294967296, found 4294967296"):
        load_experiment("joint_flow", [f"seed={2**32}"])
