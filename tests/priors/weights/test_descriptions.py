"""What a prior's file says of itself is checked alike in a checkpoint and in a folder of weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from weight_cases import content_of, prior_of

import evaluate
from pose_priors import load_prior
from pose_priors.configs.base import UserError
from pose_priors.priors.evaluation.card import card, main
from pose_priors.priors.weights.folder import CONFIG, write_folder

# where it stands in a checkpoint's entry, what stands there, and a word of the refusal
WRONG: list[tuple[tuple[str, ...], Any, str]] = [
    (("joints",), ["left_hip", "left_hip"], "left_hip more than once"),
    (("joints",), ["tail"], "tail"),
    (("joints",), [1], "joints.0"),
    (("format",), 1.0, "format 1.0"),
    (("format",), True, "format True"),
    (("code_version",), 1, "code_version"),
    (("data_fingerprint",), None, "data_fingerprint"),
    (("experiment", "data"), "x", "experiment.data"),
    (("experiment", "data"), [1], "experiment.data"),
    (("experiment", "data", "licence"), [1], "experiment.data.licence"),
    (("experiment", "data", "path"), 3, "experiment.data.path"),
    (("experiment", "data", "include_root"), "yes", "experiment.data.include_root"),
    (("experiment", "seed"), "x", "experiment.seed"),
    (("experiment", "seed"), -1, "experiment.seed"),
    (("experiment", "seed"), True, "experiment.seed"),
    (("experiment", "training"), 3, "experiment.training"),
    (("experiment", "training", "batch_size"), {}, "experiment.training.batch_size"),
    (("experiment", "trainer"), "cpu", "experiment.trainer"),
]
WRONG_ENDS: list[tuple[tuple[str, ...], Any, str]] = [
    (("history",), "x", "history"),
    (("history",), [{"step": 1}], "history.0"),
    (("global_step",), -1, "global_step"),
    (("epoch",), "three", "epoch"),
    (("schedule",), {"steps_an_epoch": 1.5}, "schedule.steps_an_epoch"),
    (("best_scores",), {"nll": "low"}, "best_scores.nll"),
    (("command",), ["train"], "command"),
]


def _changed(content: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    at = changed
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return changed


@pytest.fixture(params=["checkpoint", "folder"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes a Gaussian with something changed in what it says of itself, and returns the path."""

    def write(keys: tuple[str, ...] = (), value: Any = None, of: str = "prior") -> Path:
        content = content_of("gaussian-full")
        if request.param == "checkpoint":
            if keys:
                content = _changed(content, ("prior", *keys) if of == "prior" else keys, value)
            torch.save(content, tmp_path / "best.ckpt")
            return tmp_path / "best.ckpt"
        write_folder(prior_of("gaussian-full"), content, tmp_path)
        about = json.loads((tmp_path / CONFIG).read_text())
        (tmp_path / CONFIG).write_text(
            json.dumps(_changed(about, ("trained", *keys) if of == "trained" else keys, value) if keys else about)
        )
        return tmp_path

    return write


@pytest.mark.parametrize(("keys", "value", "word"), WRONG, ids=[f"{'.'.join(keys)}={value!r}" for keys, value, _ in WRONG])
def test_what_cannot_be_is_refused_in_a_line(written: Any, keys: tuple[str, ...], value: Any, word: str) -> None:
    path = written(keys, value)
    for use in (load_prior, card):
        with pytest.raises(UserError) as caught:
            use(path)
        assert word in str(caught.value)


@pytest.mark.parametrize(("keys", "value", "word"), WRONG_ENDS, ids=[f"{'.'.join(keys)}={value!r}" for keys, value, _ in WRONG_ENDS])
def test_a_card_says_nothing_that_cannot_be(written: Any, keys: tuple[str, ...], value: Any, word: str) -> None:
    with pytest.raises(UserError, match=word):
        card(written(keys, value, "trained"))


def test_what_is_of_another_version_is_kept(written: Any) -> None:
    load_prior(written(("experiment", "data", "a_later_key"), [1, {"a": None}]))
    load_prior(written(("experiment", "a_later_section"), {"a": 1}))
    load_prior(written(("experiment", "data"), None))
    card(written(("experiment", "training", "batch_size"), "auto"))


def test_cards_of_both_are_alike(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(written())])
    text = capsys.readouterr().out
    for line in ("licence of the data | CC0", "40 steps of 8, 4 epochs", "changed at step 12", "-12.500 nats", "`python train.py"):
        assert line in text


def test_data_that_this_version_does_not_know_are_no_test_split(written: Any, tmp_path: Path) -> None:
    path = written(("experiment", "data", "a_later_key"), 1)
    with pytest.raises(UserError, match=r"does not say what data it was trained on \(a_later_key"):
        evaluate.main(["--checkpoint", str(path), "--output", str(tmp_path / "out")])
