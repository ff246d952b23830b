"""Runs of training that are compared bit for bit, and gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from test_train import run

STEPS = 5
"""An epoch's: 320 poses in batches of 64."""
QUIET = "logging.figures_every_n_epochs=1000"
EACH_STEP = "training.save_every_minutes=0"


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    """Bit for bit, through dicts and lists."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f"{where}[{i}]")
    else:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, where


STATE = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "random_states", "global_step")


def assert_same_run(a: Path, b: Path, names: tuple[str, ...] = ("best", "last")) -> None:
    for name in names:
        whole, parts = read(a / "ckpt" / f"{name}.ckpt"), read(b / "ckpt" / f"{name}.ckpt")
        for key in STATE:
            if key in whole:
                assert_equal(whole[key], parts[key], key)


def go_on(finished: Path, folder: Path, *options: str) -> dict[str, Any]:
    """The last checkpoint of a run that goes on in a copy of the folder."""
    shutil.copytree(finished, folder / "ckpt")
    last = folder / "ckpt" / "last.ckpt"
    run("gaussian_prior", folder, "training.ema_decay=0.9", QUIET, "training.max_epochs=4", *options, resume=last)
    return read(last)


def rate(content: dict[str, Any]) -> float:
    return content["optimizer_states"][0]["param_groups"][0]["lr"]
