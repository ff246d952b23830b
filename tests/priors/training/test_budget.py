"""How long a run is: settings that follow the number of rows, and the rounds that it is cut into."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pose_priors.configs.base import UserError
from pose_priors.configs.schema import load_experiment
from pose_priors.priors.training.budget import Budget, budget, check_done, in_words
from pose_priors.priors.training.config import TrainingConfig

SIZES = [
    {"rows": 10_000, "batch_size": 16, "learning_rate": 1e-3, "max_epochs": 50.0},
    {"rows": 1_000_000, "batch_size": 1024, "learning_rate": 4e-3, "max_epochs": 2.0},
]
AUTO = {"batch_size": "auto", "learning_rate": "auto", "max_epochs": "auto", "by_rows": SIZES}


def config(**given: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"batch_size": 16, "learning_rate": 1e-3, "max_epochs": 3, **given})


def test_settings_are_those_of_the_table_and_between_them_on_logarithmic_scales() -> None:
    automatic = config(**AUTO)
    for rows, expected in [
        (1, (16, 1e-3, 50)),
        (8_000, (16, 1e-3, 50)),
        (10_000, (16, 1e-3, 50)),
        (10**6, (1024, 4e-3, 2)),
        (10**8, (1024, 4e-3, 2)),
    ]:
        found = automatic.for_rows(rows)
        assert (found.batch_size, found.learning_rate, found.max_epochs) == expected, rows
    middle = automatic.for_rows(100_000)  # geometric means: 128, 2e-3, 10
    assert (middle.batch_size, middle.learning_rate, middle.max_epochs) == (128, 2e-3, 10)
    assert middle.by_rows == []
    assert TrainingConfig.model_validate(middle.model_dump(mode="json")) == middle


def test_what_is_given_stays() -> None:
    found = config(**AUTO | {"batch_size": 7}).for_rows(10**6)
    assert (found.batch_size, found.learning_rate, found.max_epochs) == (7, 4e-3, 2)
    found = config(**AUTO, max_steps=5).for_rows(10**6)
    assert (found.max_steps, found.max_epochs) == (5, None)
    found = config(**AUTO | {"max_epochs": 2.5}, max_steps=5).for_rows(10**6)
    assert (found.max_steps, found.max_epochs) == (5, 2.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": "auto"}, "batch_size=auto needs by_rows"),
        ({"max_epochs": None}, "give max_epochs or max_steps"),
        ({**AUTO, "by_rows": SIZES[::-1]}, "ascend"),
        ({"batch_size": 2.5}, "whole number"),
        ({"batch_size": True}, "auto or a number"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"learning_rate": math.nan}, "greater than 0"),
        ({"max_epochs": "often"}, "auto or a number"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**given)


@pytest.mark.parametrize("name", ["joint_flow", "global_flow", "flow_matching"])
def test_up_to_ten_thousand_rows_the_yamls_are_the_documents(name: str) -> None:
    ours = load_experiment(name).training
    for rows in (320, 8_000, 10_000):
        document = {"joint_flow": (16, 50), "global_flow": (32, 30), "flow_matching": (256, 30)}[name]
        found = ours.for_rows(rows)
        assert (found.batch_size, found.max_epochs, found.learning_rate) == (*document, 1e-3)
    if name != "flow_matching":
        assert load_experiment(f"{name}_document").training == ours.for_rows(8_000)
        assert load_experiment(f"{name}_document").model == load_experiment(name).model


@pytest.mark.parametrize("name", ["joint_flow", "global_flow", "flow_matching"])
def test_a_thousand_times_the_rows_take_at_most_a_hundred_times_the_poses(name: str) -> None:
    ours, poses, batches = load_experiment(name).training, [], []
    for rows in (10_000, 100_000, 1_000_000, 10_000_000):
        found = ours.for_rows(rows)
        assert isinstance(found.max_epochs, int | float)
        assert isinstance(found.batch_size, int)
        poses.append(found.max_epochs * rows)
        batches.append(found.batch_size)
    assert poses == sorted(poses)
    assert batches == sorted(batches)
    assert poses[-1] <= 100 * poses[0] + 1e8
    assert poses[-1] / batches[-1] < 60_000  # steps


@pytest.mark.parametrize(
    ("given", "a_pass", "expected"),
    [
        ({}, 500, (3, 500)),  # passes
        ({}, 2000, (3, 2000)),
        ({}, 2001, (6, 1001)),  # a pass in two
        ({"max_epochs": 1}, 62_500, (32, 1954)),
        ({"max_epochs": 2.5}, 100, (3, 84)),  # equal rounds
        ({"max_epochs": 0.01}, 10, (1, 1)),
        ({"max_epochs": None, "max_steps": 45}, 20, (3, 15)),
        ({"max_epochs": None, "max_steps": 7}, 500, (1, 7)),
        ({"max_epochs": None, "max_steps": 5000}, 62_500, (3, 1667)),
        ({"max_epochs": 3, "max_steps": 1000}, 500, (2, 500)),  # the lesser
        ({"max_epochs": 1, "max_steps": 1000}, 500, (1, 500)),
        ({"validation_interval": 100}, 500, (15, 100)),
    ],
)
def test_rounds(given: dict[str, Any], a_pass: int, expected: tuple[int, int]) -> None:
    found = budget(config(**given), a_pass)
    assert (found.rounds, found.batches_a_round) == expected
    assert found.rounds_are_passes == (found.batches_a_round == a_pass)
    wanted = min(given.get("max_steps", math.inf), math.inf if given.get("max_epochs", 3) is None else given.get("max_epochs", 3) * a_pass)
    assert wanted <= found.steps < wanted + found.rounds + 1


def test_accumulated_gradients_make_fewer_steps() -> None:
    assert budget(config(), 501, accumulated=4)[:2] == (3, 501)  # the last step of a pass is of what is left
    found = budget(config(max_epochs=None, max_steps=10), 501, accumulated=4)
    assert (found.rounds, found.batches_a_round, found.steps) == (1, 40, 10)
    found = budget(config(validation_interval=10), 501, accumulated=4)
    assert found.batches_a_round % 4 == 0
    assert found.steps_a_round <= 10


def test_a_limit_of_the_trainer_makes_epochs_of_its_own() -> None:
    assert budget(config(), 9000, limit=200)[:2] == (3, 200)
    assert budget(config(), 100, limit=200)[:2] == (3, 100)
    assert budget(config(), 9000, limit=0.5)[:2] == (3, 4500)
    for given in ({"max_steps": 10}, {"max_epochs": 1.5}):
        with pytest.raises(UserError, match="limit_train_batches"):
            budget(config(**given), 9000, limit=200)
    for nothing in (0, 0.0):  # of which the second was a run that saved what it had not trained
        with pytest.raises(UserError, match="leaves nothing to learn from; give a number, or a share, above 0"):
            budget(config(), 9000, limit=nothing)


def checkpoint(batches: int, a_pass: int | None, **training: Any) -> dict[str, Any]:
    """What a checkpoint says of its rounds, 4 of them done; the first versions did not say how long a pass is."""
    span = {"batches_an_epoch": batches} | ({} if a_pass is None else {"batches_a_pass": a_pass})
    experiment = {"training": {"batch_size": 16, **training}}
    progress = {"fit_loop": {"epoch_progress": {"current": {"processed": 4}}}}
    return {"schedule": span, "prior": {"experiment": experiment}, "loops": progress}


def test_a_run_that_goes_on_keeps_its_rounds() -> None:
    longer = config(max_epochs=None, max_steps=6001)
    assert budget(longer, 62_500)[:2] == (4, 1501)
    assert budget(longer, 62_500, before=checkpoint(2000, 62_500, validation_interval=2000))[:2] == (4, 2000)
    # an epoch of the first versions was a pass, however long
    assert budget(config(), 62_500, before=checkpoint(62_500, None))[:2] == (3, 62_500)
    # passes stay passes, also with other batches
    assert budget(config(), 500, before=checkpoint(1000, 1000, validation_interval=2000))[:2] == (3, 500)


@pytest.mark.parametrize(
    ("given", "a_pass", "before", "named"),
    [
        ({}, 31_250, checkpoint(1954, 62_500, validation_interval=2000), "batch_size or the devices"),
        ({"max_steps": 9000}, 31_250, checkpoint(1000, 1000), "batch_size or the devices"),
        ({"validation_interval": 500}, 62_500, checkpoint(1954, 62_500, validation_interval=2000), "validation_interval"),
    ],
)
def test_rounds_that_cannot_be_kept_are_refused_by_name(given: dict[str, Any], a_pass: int, before: dict[str, Any], named: str) -> None:
    with pytest.raises(
        UserError, match=rf"^training\.{named}: the checkpoint's rounds are of \d+ of the \d+ batches of a pass, this run's of \d+ of"
    ):
        budget(config(**given), a_pass, before=before)


def test_no_run_is_shorter_than_what_is_behind_it() -> None:
    check_done("last.ckpt", checkpoint(500, 500), Budget(4, 500, 500))
    with pytest.raises(UserError, match=r"has 4 epochs behind it, training\.max_epochs=3 is fewer"):
        check_done("last.ckpt", checkpoint(500, 500), Budget(3, 500, 500))
    with pytest.raises(UserError, match=r"has 4 rounds of 500 batches behind it, this run has 3; give a larger"):
        check_done("last.ckpt", checkpoint(500, 9000), Budget(3, 500, 9000))
    assert Budget(9, 500, 500).after(checkpoint(500, 500)).rounds == 5


def test_a_run_is_told_in_a_line() -> None:
    automatic = config(**AUTO)
    line = in_words(automatic, Budget(2, 500, 976), 1_000_000, 125_000)
    assert line == (
        "1,000,000 rows to learn from, batch_size=1024, learning_rate=0.004 (auto): 1,000 steps (2 rounds of 500, 1.02 passes), "
        "validated on 10,000 of 125,000"
    )
    assert in_words(config(), Budget(3, 500, 500), 8000, 1000) == (
        "8,000 rows to learn from: 1,500 steps (3 passes), validated on all of 1,000"
    )
