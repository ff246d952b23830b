"""Which checkpoints a run may go on from, what has changed since, and the state that Lightning does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pose_priors.configs.base import UserError, flattened
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.checkpoint import describe, read_checkpoint
from pose_priors.priors.training.budget import rounds_done

_PARTS = {"loops": dict, "optimizer_states": list, "lr_schedulers": list, "callbacks": dict, "epoch": int, "global_step": int}
# what Lightning calls them, and something of each
_STATES = {"ModelCheckpoint": "best_model_score", "EarlyStopping": "wait_count"}
# what says nothing of how the weights came about
_UNRELATED = ("logging", "slurm")


def resumable(path: str | Path, experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint that a run of that configuration is to go on from.

    Raises:
        UserError: if it lacks what a run needs to go on, or is of another seed.
    """
    try:
        content = read_checkpoint(path)
    except UserError as error:
        raise UserError(f"--resume {error}") from error
    missing = [name for name, kind in _PARTS.items() if not isinstance(content.get(name), kind)]
    missing += [
        name for name in ("optimizer_states", "lr_schedulers") if name not in missing and [type(s) for s in content[name]] != [dict]
    ]
    if "callbacks" not in missing:
        states = content["callbacks"].items()
        missing += [f"the state of {n}" for n, part in _STATES.items() if not any(k.startswith(n) and part in s for k, s in states)]
    if missing:
        raise UserError(f"--resume {path}: lacks {', '.join(missing)}, so that no run can go on from it; last.ckpt of a run has all")
    before = content["prior"].get("experiment")
    if not isinstance(before, dict) or not isinstance(before.get("training"), dict):
        raise UserError(f"--resume {path}: does not say how it was trained; last.ckpt of a run does")
    if before.get("seed") != experiment["seed"]:
        raise UserError(f"--resume {path}: seed={before.get('seed')} there, {experiment['seed']} here: a run keeps its seed")
    try:
        rounds_done(content)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"--resume {path}: does not say how many epochs are behind it; last.ckpt of a run does") from error
    return content


def check_same(path: str | Path, content: Mapping[str, Any], prior: TrainablePrior, experiment: dict[str, Any], fingerprint: str) -> None:
    """Raises `UserError` if a checkpoint is of another model or other data than a run."""
    entry, of_this_run = content["prior"], describe(prior, experiment, fingerprint)
    try:
        now, then = (
            {"model": e["experiment"]["model"], "joints": e["joints"], "data": e["data_fingerprint"]} for e in (of_this_run, entry)
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"--resume {path}: does not say which {error} it is of; last.ckpt of a run does") from error
    for part in now:
        if now[part] != then[part]:
            a, b = then[part], now[part]
            if isinstance(a, dict):
                a, b = ({key: side.get(key) for key in b if a.get(key) != b[key]} for side in (a, b))
            raise UserError(f"--resume {path}: its {part} differs, {a}, from this run's, {b}: resume with the same config")


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What differs between two configurations as plain dicts, by dotted path: [before, now]."""
    a, b = (flattened({k: v for k, v in tree.items() if k not in _UNRELATED}) for tree in (before, now))
    return {key: [a.get(key), b.get(key)] for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Of torch's generators of this process."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Puts the generators of this process where they were."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
