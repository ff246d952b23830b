"""The folder of a run's checkpoints: nothing good in it is lost, whatever happens to the run."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from resume_cases import EACH_STEP, QUIET, STEPS, go_on, read
from test_train import run

from pose_priors.configs import fitting
from pose_priors.configs.base import UserError
from pose_priors.configs.writing import written_aside
from pose_priors.priors import load_prior
from pose_priors.priors.module import PriorModule
from pose_priors.priors.training.saving import LastCheckpoint


def test_a_copied_folder_knows_its_best(finished: Path, tmp_path: Path) -> None:
    score = next(v for k, v in read(finished / "best.ckpt")["callbacks"].items() if k.startswith("ModelCheckpoint"))["best_model_score"]
    before = (finished / "best.ckpt").read_bytes()
    go_on(finished, tmp_path / "worse", "training.learning_rate=10.0", "training.patience=1")
    assert (tmp_path / "worse" / "ckpt" / "best.ckpt").read_bytes() == before
    elsewhere = run(
        "gaussian_prior", tmp_path / "b", "training.ema_decay=0.9", QUIET, "training.max_epochs=4", "training.learning_rate=10.0",
        resume=finished / "last.ckpt",
    )  # fmt: skip
    assert elsewhere == tmp_path / "b" / "ckpt" / "best.ckpt"
    assert elsewhere.read_bytes() == before
    state = next(v for k, v in read(elsewhere.with_name("last.ckpt"))["callbacks"].items() if k.startswith("ModelCheckpoint"))
    assert torch.equal(state["best_model_score"], score)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(finished / "last.ckpt", alone)
    best = run("gaussian_prior", tmp_path / "c", "training.ema_decay=0.9", QUIET, "training.max_epochs=3", resume=alone / "last.ckpt")
    assert best.is_file()


def test_a_short_run_keeps_the_best_of_an_earlier_one(finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(finished, tmp_path / "ckpt")
    before = (finished / "best.ckpt").read_bytes()
    run("gaussian_prior", tmp_path, "trainer.fast_dev_run=true", QUIET)
    assert (tmp_path / "ckpt" / "best.ckpt").read_bytes() == before
    assert "fast_dev_run: nothing is saved" in caplog.text
    run("gaussian_prior", tmp_path, "training.max_epochs=1", QUIET)
    (kept,) = (tmp_path / "ckpt" / "earlier").glob("*/best.ckpt")
    assert kept.read_bytes() == before
    assert str(kept.parent) in caplog.text


@pytest.mark.parametrize("option", ["trainer.max_steps=3", "trainer.limit_val_batches=0", "trainer.check_val_every_n_epoch=5"])
def test_without_a_validation_the_last_is_kept(option: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = run("gaussian_prior", tmp_path, option, QUIET)
    assert path == tmp_path / "ckpt" / "last.ckpt"
    load_prior(path)
    assert "no validation has run" in caplog.text


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("trainer.precision=bf16-true", r"trainer\.precision=bf16-true: .*allowed: 32-true"),
        ("trainer.precision=8", r"trainer\.precision=8: "),
        ("trainer.accelerator=tpu", "trainer.*torch_xla"),
        ("trainer.accelerator=abacus", "trainer.*abacus"),
        ("trainer.strategy=magic", "trainer.*magic"),
        ("trainer.devices=-7", "trainer"),
        ("trainer.max_epochs=3", "trainer.*max_epochs"),
        ("trainer.val_check_interval=700", "trainer.*val_check_interval"),
        ("trainer.limit_train_batches=-3", "trainer.*limit_train_batches"),
    ],
)
def test_what_lightning_refuses_is_one_line(option: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run("gaussian_prior", tmp_path, option, QUIET)
    assert "\n" not in str(caught.value)


def test_advice_about_a_loss_that_is_not_finite_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = PriorModule.training_step

    def from_step(number: int) -> None:
        def spoilt(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
            if self.global_step == number:
                with torch.no_grad():
                    next(self.parameters()).fill_(float("nan"))
            return step(self, batch, batch_idx)

        monkeypatch.setattr(PriorModule, "training_step", spoilt)

    from_step(0)
    with pytest.raises(UserError, match=r"at step 0: lower training\.learning_rate or training\.grad_clip_val$"):
        run("gaussian_prior", tmp_path / "a", QUIET)
    from_step(7)
    with pytest.raises(UserError, match=r"at step 7: .*; to go on: python train\.py --config gaussian_prior .* --resume (\S+)$") as caught:
        run("gaussian_prior", tmp_path / "b", QUIET)
    last = Path(str(caught.value).split()[-1])
    assert read(last)["global_step"] == STEPS
    monkeypatch.setattr(PriorModule, "training_step", step)
    run("gaussian_prior", tmp_path / "b", QUIET, "training.learning_rate=1e-4", resume=last)


def test_weights_that_are_not_finite_do_not_replace_good_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = LastCheckpoint.on_train_batch_end

    def spoilt(self: LastCheckpoint, trainer: Any, module: PriorModule, *given: Any) -> None:
        if trainer.global_step == 3:
            with torch.no_grad():
                next(module.parameters()).fill_(float("nan"))
        end(self, trainer, module, *given)

    monkeypatch.setattr(LastCheckpoint, "on_train_batch_end", spoilt)
    with pytest.raises(UserError, match="at step 3"):
        run("gaussian_prior", tmp_path, QUIET, EACH_STEP)
    assert read(tmp_path / "ckpt" / "last.ckpt")["global_step"] == 2


def test_an_interrupt_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = PriorModule.training_step

    def interrupted(self: PriorModule, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 7:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PriorModule, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^to go on: python train\.py --config \S+ --override .* --resume (\S+)$"):
        run("gaussian_prior", tmp_path, QUIET)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    class Full(fitting.WholeCheckpoints):
        def save_checkpoint(self, *given: Any, **options: Any) -> None:
            nonlocal written
            written += 1
            if written == 4:
                with written_aside(Path(given[1])):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().save_checkpoint(*given, **options)

    monkeypatch.setattr("train.WholeCheckpoints", Full)
    with pytest.raises(
        UserError, match=r"best\.ckpt: cannot be written \(No space left on device\).*--resume|last\.ckpt: cannot be written"
    ):
        run("gaussian_prior", tmp_path, QUIET)
    for name in ("best", "last"):
        load_prior(tmp_path / "ckpt" / f"{name}.ckpt")
    assert not list((tmp_path / "ckpt").glob(".writing-*"))


def test_two_runs_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = PriorModule.on_train_start
    refusals: list[str] = []

    def meanwhile(self: PriorModule) -> None:
        started(self)
        monkeypatch.setattr(PriorModule, "on_train_start", started)
        with pytest.raises(UserError, match="another run writes its checkpoints there") as caught:
            run("gaussian_prior", tmp_path, QUIET)
        refusals.append(str(caught.value))

    monkeypatch.setattr(PriorModule, "on_train_start", meanwhile)
    run("gaussian_prior", tmp_path, QUIET)
    assert len(refusals) == 1
