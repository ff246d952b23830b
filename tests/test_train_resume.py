"""Runs that end early and go on: what has changed counts or is refused, and the rest is as if nothing had happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kills import killed_at
from resume_cases import EACH_STEP, QUIET, STEPS, assert_equal, assert_same_run, go_on, read
from test_train import run
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pose_priors.configs.base import UserError
from pose_priors.priors import load_prior
from pose_priors.priors.module import PriorModule
from pose_priors.priors.training import schedule
from pose_priors.priors.training.schedule import replayed


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_run_killed_before_any_rename_goes_on_bit_for_bit(tmp_path: Path) -> None:
    options = ["training.ema_decay=0.9", "training.warmup_steps=3", QUIET, EACH_STEP]
    run("hand_vae", tmp_path / "whole", *options)
    number = 0
    while True:
        folder = tmp_path / str(number := number + 1)
        killed = killed_at(number, lambda folder=folder: run("hand_vae", folder, *options))
        last = folder / "ckpt" / "last.ckpt"
        for path in last.parent.glob("*.ckpt"):
            load_prior(path)
        run("hand_vae", folder, *options, resume=last if last.exists() else None)
        assert_same_run(tmp_path / "whole", folder)
        assert not list(last.parent.glob(".writing-*"))
        if not killed:
            break
    pictures = 2  # of the last epoch
    assert number == 2 * (STEPS - 1 + 2) + pictures + 1 + 1  # the last is the card's


@pytest.mark.slow
def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["training.ema_decay=0.9", QUIET, EACH_STEP]
    run("motion_prior", tmp_path / "whole", *options)
    step = PriorModule.training_step

    def stopped(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 1:
            raise RuntimeError("stopped")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PriorModule, "training_step", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        run("motion_prior", tmp_path / "parts", *options)
    last = tmp_path / "parts" / "ckpt" / "last.ckpt"
    kept = shutil.copy(last, tmp_path / "kept.ckpt")
    seen: list[int] = []

    def recorded(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
        seen.append(batch_idx)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PriorModule, "training_step", recorded)
    assert read(last)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"] == 1
    run("motion_prior", tmp_path / "parts", *options, resume=last)
    assert seen[0] == 1
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    shutil.copy(kept, last)
    with pytest.raises(UserError, match=r"training\.batch_size: the checkpoint is in the middle of an epoch"):
        run("motion_prior", tmp_path / "parts", *options, "training.batch_size=100", resume=last)


def test_a_plateau_schedule_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["training.scheduler_type=plateau", "training.learning_rate=0.5", "training.patience=4", QUIET]
    monkeypatch.setattr(
        schedule,
        "plateau",
        lambda optimizer, patience: ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=1e6, threshold_mode="abs"),
    )
    run("gaussian_prior", tmp_path / "whole", "training.max_epochs=5", *options)
    run("gaussian_prior", tmp_path / "parts", "training.max_epochs=3", *options)
    run("gaussian_prior", tmp_path / "parts", "training.max_epochs=5", *options, resume=tmp_path / "parts" / "ckpt" / "last.ckpt")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert read(tmp_path / "whole" / "ckpt" / "last.ckpt")["optimizer_states"][0]["param_groups"][0]["lr"] < 0.5


def test_last_is_the_last_epoch_and_best_the_best(tmp_path: Path) -> None:
    best = run("gaussian_prior", tmp_path, "training.learning_rate=0.5", "training.max_epochs=12", "training.patience=2", QUIET)
    last = read(best.with_name("last.ckpt"))
    assert last["global_step"] == (last["epoch"] + 1) * STEPS
    assert read(best)["global_step"] == last["global_step"] - 2 * STEPS


BASE = 1e-3
TOTAL = 4 * STEPS


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("training.max_epochs=3", ("learning_rate", "cosine", 3 * STEPS, 0)),
        ("training.learning_rate=2e-4", (2e-4, "cosine", TOTAL, 0)),
        ("training.scheduler_type=step", ("learning_rate", "step", TOTAL, 0)),
        ("training.warmup_steps=12", ("learning_rate", "cosine", TOTAL, 12)),
        ("training.batch_size=32", ("learning_rate", "cosine", 2 * TOTAL, 0)),
    ],
)
def test_a_changed_schedule_is_that_of_a_run_that_had_it_from_the_start(
    option: str, expected: tuple[Any, ...], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning_rate = read(finished / "last.ckpt")["prior"]["experiment"]["training"]["learning_rate"]
    expected = tuple(learning_rate if part == "learning_rate" else part for part in expected)
    rates: list[float] = []
    step = PriorModule.training_step

    def recorded(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PriorModule, "training_step", recorded)
    content = go_on(finished, tmp_path, option)
    position = expected[2] - len(rates)  # half of the new epochs are behind it, whatever they were made of
    for number, found in enumerate(rates):
        assert found == pytest.approx(replayed(*expected, position + number)[0], rel=1e-9, abs=1e-12), number
    history = content["history"]
    assert [entry["step"] for entry in history] == [2 * STEPS]
    key, value = option.split("=")
    assert str(history[0]["changed"][key][1]) in (value, str(float(value)) if value[0].isdigit() else value)
    assert content["prior"]["experiment"]["training"][key.split(".")[1]] == history[0]["changed"][key][1]


def test_a_changed_average_and_gradient_count(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    step = PriorModule.training_step

    def recorded(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
        seen["clip"] = self.trainer.gradient_clip_val
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PriorModule, "training_step", recorded)
    content = go_on(finished, tmp_path / "a", "training.grad_clip_val=0.2", "training.ema_decay=0.5")
    assert seen["clip"] == 0.2
    same = go_on(finished, tmp_path / "b", "training.grad_clip_val=0.2")
    assert not all(torch.equal(value, same["state_dict"][name]) for name, value in content["state_dict"].items())
    assert_equal(content["current_model_state"], same["current_model_state"])


def test_a_run_without_averaging_goes_on_with_what_was_trained(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start: dict[str, torch.Tensor] = {}
    begin = PriorModule.on_train_start

    def recorded(self: PriorModule) -> None:
        begin(self)
        start.update({name: value.clone() for name, value in self.state_dict().items()})

    monkeypatch.setattr(PriorModule, "on_train_start", recorded)
    content = go_on(finished, tmp_path, "training.ema_decay=0")
    assert_equal(dict(start), dict(read(finished / "last.ckpt")["current_model_state"]))
    assert "current_model_state" not in content


def test_a_changed_patience_counts(tmp_path: Path) -> None:
    options = ["training.learning_rate=0.5", "training.max_epochs=12", QUIET]
    run("gaussian_prior", tmp_path, *options, "training.patience=1")
    last = tmp_path / "ckpt" / "last.ckpt"
    stopped = read(last)["epoch"]
    assert stopped < 8
    run("gaussian_prior", tmp_path, *options, "training.patience=1", resume=last)
    assert read(last)["epoch"] == stopped
    run("gaussian_prior", tmp_path, *options, "training.patience=3", resume=last)
    assert read(last)["epoch"] >= stopped + 2


def test_what_cannot_be_gone_on_with_is_refused(finished: Path, tmp_path: Path) -> None:
    refused = {
        "training.max_epochs=1": r"has 2 epochs behind it, training\.max_epochs=1 is fewer",
        "seed=3": "seed=0 there, 3 here",
        "data.num_poses=500": "its data differs",
    }
    for number, (option, message) in enumerate(refused.items()):
        with pytest.raises(UserError, match=message) as caught:
            go_on(finished, tmp_path / str(number), option)
        assert "\n" not in str(caught.value)
        assert "to go on" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("optimizer_states"),
        lambda c: c.pop("loops"),
        lambda c: c.pop("callbacks"),
        lambda c: c["loops"].pop("fit_loop"),
        lambda c: c["loops"]["fit_loop"].update({"epoch_progress": 3}),
        lambda c: c["loops"]["fit_loop"].update({"epoch_loop.batch_progress": {"a": 1}}),
        lambda c: c.update(optimizer_states=[]),
        lambda c: c["optimizer_states"][0].pop("state"),
        lambda c: c.update(lr_schedulers=[]),
        lambda c: c.update(lr_schedulers=[7]),
        lambda c: c.update(global_step="three"),
        lambda c: c["prior"].pop("data_fingerprint"),
        lambda c: c["prior"].update(experiment=None),
        lambda c: c["prior"]["experiment"].pop("training"),
        lambda c: c["state_dict"].popitem(),
        lambda c: c.update(averaging_state={}),
        lambda c: c["callbacks"].update({key: {} for key in c["callbacks"]}),
    ],
)
def test_a_checkpoint_with_missing_parts_is_one_line(damage: Callable[[dict[str, Any]], Any], finished: Path, tmp_path: Path) -> None:
    content = read(finished / "last.ckpt")
    damage(content)
    torch.save(content, tmp_path / "broken.ckpt")
    options = ["training.ema_decay=0.9", QUIET, "training.max_epochs=2"]  # nothing left to do, so that all has to be read
    with pytest.raises(UserError, match=r"--resume .*broken\.ckpt") as caught:
        run("gaussian_prior", tmp_path, *options, "training.max_epochs=3", resume=tmp_path / "broken.ckpt")
    assert "\n" not in str(caught.value)
