"""Runs cut into rounds that are no passes, settings that follow the number of rows, and checkpoints of the first versions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from resume_cases import EACH_STEP, QUIET, assert_equal, assert_same_run, read
from test_train import run

from pose_priors.configs.base import UserError
from pose_priors.priors.evaluation import scores
from pose_priors.priors.module import PriorModule
from pose_priors.priors.training.parameters import decays

# five batches of 64 of 320 poses a pass, in rounds of three, of which the second begins in one pass and ends in the next
ROUNDS = ["training.max_epochs=null", "training.max_steps=12", "training.validation_interval=4", "training.ema_decay=0.9", QUIET]


def stopped_at(global_step: int, monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, *options: str) -> None:
    """A run that fails after so many steps."""
    step = PriorModule.training_step

    def stopped(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == global_step:
            raise RuntimeError("stopped")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PriorModule, "training_step", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            run(name, folder, *options)


def test_a_run_of_rounds_goes_on_bit_for_bit_from_the_middle_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("global_flow", tmp_path / "whole", *ROUNDS, EACH_STEP)
    whole = read(tmp_path / "whole" / "ckpt" / "last.ckpt")
    assert (whole["global_step"], whole["epoch"]) == (12, 3)
    assert whole["schedule"] == {"steps": 12, "steps_an_epoch": 3, "batches_an_epoch": 3, "batches_a_pass": 5}
    # the best is the last: twelve steps of the five of a pass
    assert "12 steps of 64, 2.4 passes over the data" in (tmp_path / "whole" / "ckpt" / "best.md").read_text()
    stopped_at(5, monkeypatch, "global_flow", tmp_path / "parts", *ROUNDS, EACH_STEP)
    last = tmp_path / "parts" / "ckpt" / "last.ckpt"
    for option, named in (("training.batch_size=32", "batch_size"), ("training.validation_interval=2", "validation_interval")):
        with pytest.raises(UserError, match=rf"training\.{named}.*rounds are of 3 of the 5 batches"):
            run("global_flow", tmp_path / "other", *ROUNDS, option, resume=last)
    run("global_flow", tmp_path / "parts", *ROUNDS, EACH_STEP, resume=last)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(UserError, match="has 4 rounds of 3 batches behind it, this run has 3"):
        run("global_flow", tmp_path / "parts", *ROUNDS, "training.max_steps=8", resume=last)


def test_settings_follow_the_rows_and_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (
        "[{rows: 80, batch_size: 8, learning_rate: 1e-3, max_epochs: 4}, {rows: 1280, batch_size: 32, learning_rate: 4e-3, max_epochs: 1}]"
    )
    automatic = [f"training.{name}=auto" for name in ("batch_size", "learning_rate", "max_epochs")]
    options = [*automatic, f"training.by_rows={sizes}", "training.validation_rows=30", "trainer.enable_progress_bar=true", QUIET]
    validated: list[int] = []
    summarize = scores.summarize

    def counted(prior: Any, energies: torch.Tensor) -> dict[str, Any]:
        validated.append(len(energies))
        return summarize(prior, energies)

    monkeypatch.setattr("pose_priors.priors.module.summarize", counted)
    with caplog.at_level(logging.INFO):
        run("gaussian_prior", tmp_path, *options)
    told = [line for line in caplog.messages if line.startswith("320 rows to learn from")]
    # halfway between the two sizes on logarithmic scales: batches of 16, twenty a pass
    expected = "320 rows to learn from, batch_size=16, learning_rate=0.002 (auto): 40 steps (2 passes), validated on 30 of 40; "
    assert [line.startswith(expected) for line in told] == [True]
    assert " a round, at most about " in told[0]
    assert set(validated) == {30}
    content = read(tmp_path / "ckpt" / "last.ckpt")
    training = content["prior"]["experiment"]["training"]
    kept = {key: training[key] for key in ("batch_size", "learning_rate", "max_epochs", "by_rows")}
    assert kept == {"batch_size": 16, "learning_rate": 2e-3, "max_epochs": 2, "by_rows": []}
    assert content["global_step"] == 40
    run("gaussian_prior", tmp_path, *options, "training.max_epochs=3", resume=tmp_path / "ckpt" / "last.ckpt")
    content = read(tmp_path / "ckpt" / "last.ckpt")
    assert content["global_step"] == 60
    assert [list(entry["changed"]) for entry in content["history"]] == [["training.max_epochs"]]


@pytest.mark.parametrize(
    "changed", [(), ("training.max_epochs=4", "training.warmup_steps=12"), ("training.scheduler_type=plateau", "training.patience=9")]
)
def test_a_checkpoint_of_one_group_of_parameters_goes_on(changed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first versions left them: the same run as one of today's where nothing decays."""
    options = ["training.weight_decay=0", "training.ema_decay=0", "training.warmup_steps=3", "training.max_epochs=3", QUIET, EACH_STEP]
    options += changed if "plateau" in str(changed) else ()
    stopped_at(10, monkeypatch, "joint_flow", tmp_path / "new", *options)
    last = tmp_path / "new" / "ckpt" / "last.ckpt"
    content = read(last)
    assert content["global_step"] == 10
    run("joint_flow", tmp_path / "new", *options, *changed, resume=last)
    state_dict = content["state_dict"]
    parameters = [(name, value) for name, value in state_dict.items() if name.rpartition(".")[2] in ("weight", "bias")]
    order = [i for which in (True, False) for i, named in enumerate(parameters) if decays(*named) is which]
    (state,) = content["optimizer_states"]
    state["state"] = {old: state["state"][new] for new, old in enumerate(order)}
    state["param_groups"] = [{**state["param_groups"][0], "params": list(range(len(order)))}]
    content["lr_schedulers"] = [_of_one_group(scheduler) for scheduler in content["lr_schedulers"]]
    del content["schedule"]["batches_a_pass"]
    del content["prior"]["experiment"]["training"]["validation_interval"]
    (tmp_path / "old").mkdir()
    torch.save(content, tmp_path / "old" / "last.ckpt")
    run("joint_flow", tmp_path / "gone_on", *options, *changed, resume=tmp_path / "old" / "last.ckpt")
    new, old = (read(tmp_path / name / "ckpt" / "last.ckpt") for name in ("new", "gone_on"))
    assert new["global_step"] == (20 if "training.max_epochs=4" in changed else 15)
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(new[key], old[key], key)
    assert len({group["lr"] for group in new["optimizer_states"][0]["param_groups"]}) == 1


def _of_one_group(state: dict[str, Any]) -> dict[str, Any]:
    state = {key: value[:1] if key in ("base_lrs", "_last_lr", "min_lrs") else value for key, value in state.items()}
    return state | ({"_schedulers": [_of_one_group(part) for part in state["_schedulers"]]} if "_schedulers" in state else {})


def test_a_changed_decay_counts_for_what_decays(tmp_path: Path) -> None:
    run("joint_flow", tmp_path, "training.weight_decay=0", QUIET)
    last = tmp_path / "ckpt" / "last.ckpt"
    run("joint_flow", tmp_path, "training.weight_decay=0.3", "training.max_epochs=3", QUIET, resume=last)
    assert [group["weight_decay"] for group in read(last)["optimizer_states"][0]["param_groups"]] == [0.3, 0.0]
