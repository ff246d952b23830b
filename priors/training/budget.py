"""How long a run is, in rounds: the stretches of steps after which it is validated, its rate of learning looked at, and it is saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from pose_priors.configs.base import UserError
from pose_priors.priors.training.config import TrainingConfig


class Budget(NamedTuple):
    """The length of a run. Lightning calls a round an epoch.

    Attributes:
        rounds: how many.
        batches_a_round, batches_a_pass: batches of a device in a round, and in one pass over its rows (or what is left of these).
        accumulated: batches of a step.
    """

    rounds: int
    batches_a_round: int
    batches_a_pass: int
    accumulated: int = 1

    @property
    def steps_a_round(self) -> int:
        return math.ceil(self.batches_a_round / self.accumulated)

    @property
    def steps(self) -> int:
        """Of the whole run, at most."""
        return self.rounds * self.steps_a_round

    def after(self, checkpoint: Mapping[str, Any]) -> Budget:
        """What is left of it after a checkpoint, a round that it is in the middle of counted whole."""
        return self._replace(rounds=max(0, self.rounds - rounds_done(checkpoint)))

    @property
    def rounds_are_passes(self) -> bool:
        """Whether a round is one pass over the rows, an epoch as most call it."""
        return self.batches_a_round == self.batches_a_pass


def budget(
    config: TrainingConfig,
    batches_a_pass: int,
    accumulated: int = 1,
    limit: float | None = None,
    before: Mapping[str, Any] | None = None,
) -> Budget:
    """The length of a run of settled settings, those of `TrainingConfig.for_rows`.

    A round is a pass over the rows, unless a pass takes more than `validation_interval` steps, or the run is no whole number of passes:
    then rounds are equal stretches of the passes.

    Args:
        batches_a_pass: of each device.
        accumulated: batches whose gradients make a step.
        limit: the number, or as a float the share, of batches that the Trainer leaves of an epoch; rounds are what is left of passes then.
        before: the content of a checkpoint that the run goes on from, whose rounds it keeps.
    Raises:
        UserError: if a limited run has no batches, or is not a number of epochs, or the run cannot keep the rounds of its checkpoint.
    """
    epochs, steps = config.max_epochs, config.max_steps
    assert epochs != "auto"
    if limit is not None:
        if not limit:
            raise UserError(f"trainer.limit_train_batches={limit}: leaves nothing to learn from; give a number, or a share, above 0")
        if steps is not None or epochs is None or epochs != int(epochs):
            raise UserError("trainer.limit_train_batches makes epochs of its own: say how many by training.max_epochs, a whole number")
        left = min(limit, batches_a_pass) if isinstance(limit, int) else max(1, int(limit * batches_a_pass))
        return Budget(int(epochs), left, left, accumulated)
    total = math.inf if steps is None else float(steps * accumulated)
    total = total if epochs is None else min(total, math.ceil(epochs * batches_a_pass))
    longest = config.validation_interval * accumulated
    parts = math.ceil(batches_a_pass / longest)
    rounds = math.ceil(total / math.ceil(batches_a_pass / parts))
    a_round = math.ceil(total / rounds)
    if a_round != batches_a_pass:
        a_round = math.ceil(a_round / accumulated) * accumulated
    fresh = Budget(rounds, a_round, batches_a_pass, accumulated)
    kept = None if before is None else _kept_round(before, fresh, config)
    return fresh if kept is None else fresh._replace(rounds=math.ceil(total / kept), batches_a_round=kept)


def _kept_round(before: Mapping[str, Any], fresh: Budget, config: TrainingConfig) -> int | None:
    """How many batches a round of the checkpoint has; None where rounds are passes, however many batches these take."""
    span, then = before.get("schedule") or {}, before["prior"]["experiment"]["training"]
    kept = span.get("batches_an_epoch", fresh.batches_a_round)
    of_pass = span.get("batches_a_pass", kept)  # the first versions had passes alone
    if kept == of_pass and fresh.rounds_are_passes:
        return None
    if of_pass != fresh.batches_a_pass:
        return _refused("training.batch_size or the devices", kept, of_pass, fresh)
    interval = then.get("validation_interval", config.validation_interval)
    if interval != config.validation_interval and kept != fresh.batches_a_round:
        return _refused("training.validation_interval", kept, of_pass, fresh)
    return int(kept)


def _refused(what: str, kept: int, of_pass: int, fresh: Budget) -> int:
    now = f"{fresh.batches_a_round} of {fresh.batches_a_pass}"
    raise UserError(
        f"{what}: the checkpoint's rounds are of {kept} of the {of_pass} batches of a pass, this run's of {now}; keep what it had"
    )


def check_done(path: object, before: Mapping[str, Any], length: Budget) -> None:
    """Raises `UserError` if a checkpoint has more rounds behind it than a run is to have."""
    done = rounds_done(before)
    if done <= length.rounds:
        return
    if length.rounds_are_passes:
        raise UserError(f"--resume {path}: has {done} epochs behind it, training.max_epochs={length.rounds} is fewer; give more")
    words = f"{done} rounds of {length.batches_a_round} batches behind it, this run has {length.rounds}"
    raise UserError(f"--resume {path}: has {words}; give a larger training.max_epochs or training.max_steps")


def in_words(config: TrainingConfig, length: Budget, num_rows: int, num_held_out: int) -> str:
    """A run's length and settings in a line.

    Args:
        config: as it was given, with `auto` where that was asked for.
        num_rows, num_held_out: rows to learn from, and to validate on.
    """
    settled, passes = config.for_rows(num_rows), length.rounds * length.batches_a_round / length.batches_a_pass
    chosen = [f"{name}={getattr(settled, name):g}" for name in ("batch_size", "learning_rate") if getattr(config, name) == "auto"]
    rounds = (
        f"{length.rounds} passes" if length.rounds_are_passes else f"{length.rounds} rounds of {length.steps_a_round}, {passes:.3g} passes"
    )
    seen = "all" if num_held_out <= config.validation_rows else f"{config.validation_rows:,}"
    return (
        f"{num_rows:,} rows to learn from{''.join(f', {choice}' for choice in chosen)}{' (auto)' if chosen else ''}: "
        f"{length.steps:,} steps ({rounds}), validated on {seen} of {num_held_out:,}"
    )


def rounds_done(checkpoint: Mapping[str, Any]) -> int:
    """How many rounds are behind a checkpoint of Lightning's. Raises `LookupError`, `TypeError` or `ValueError` if it does not say."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
